"""A ledger that says what it was told to say, for tests of the admin application."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import LedgerAway, Stale
from broker.ledger.port import AuditEntry, Ban, SessionRecord, Usage, WorkerView
from broker.policy.limits import LimitsDocument, PoolLimits, PopulationLimits, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import RevocationKind

LIMITS = LimitsDocument(
    number=7,
    digest="d7",
    scale=1.0,
    seats_limit=100,
    connections_limit=200,
    populations={
        "sales": PopulationLimits(admitted=True, seats_maximum=80, seats_guaranteed=10),
        "everyone": PopulationLimits(admitted=False, seats_maximum=100),
    },
    pools={
        "feed": PoolLimits(Share(150), {"sales": Share(90), "everyone": Share(60)}),
        "wiki": PoolLimits(Share(50), {"sales": Share(50), "everyone": Share(50)}),
    },
)
USAGE = Usage(
    ledger_ms=100_000,
    epoch="e1",
    learning=False,
    limits=LIMITS,
    occupied={"sales": 12},
    called={"sales": 1},
    waiting={"everyone": 3},
    held={("feed", "sales"): 20, ("feed", "everyone"): 5},
    used={("feed", "sales"): 9},
)
RECORD = SessionRecord("s1", "amina", "Amina D.", "sales", (), 1, 2, 1, "192.0.2.1", "Firefox")


class FakeLedger:
    """Only what the admin application asks of the port."""

    def __init__(self) -> None:
        self.away = False
        self.snapshot = USAGE
        self.known: list[WorkerView] = []
        self.records = [RECORD]
        self.revoked: list[tuple[str, str]] = []
        self.buried: list[str] = []
        self.marked: list[tuple[str, str]] = []
        self.cleared: list[tuple[str, str]] = []
        self.published: list[LimitsDocument] = []
        self.trail: list[AuditEntry] = []

    def _answer(self) -> None:
        if self.away:
            raise LedgerAway("the ledger does not answer")

    async def usage(self) -> Usage:
        self._answer()
        return self.snapshot

    async def limits(self) -> LimitsDocument | None:
        self._answer()
        return self.snapshot.limits

    async def workers(self) -> Sequence[WorkerView]:
        self._answer()
        return self.known

    async def tombstone(self, incarnation: str) -> bool:
        self._answer()
        self.buried.append(incarnation)
        return True

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        self._answer()
        return [record for record in self.records if record.employee == employee]

    async def session(self, session_id: str) -> SessionRecord | None:
        self._answer()
        return next((record for record in self.records if record.id == session_id), None)

    async def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, Sequence[SessionRecord]]:
        self._answer()
        assert kind in ("population", "everybody")
        return 7, [r for r in self.records if kind == "everybody" or r.population == subject]

    async def mark_due(self, kind: RevocationKind, subject: str) -> int:
        self._answer()
        self.marked.append((kind, subject))
        return 1

    async def bans(self, most: int = 1000) -> Sequence[Ban]:
        self._answer()
        return [
            Ban("pair", "amina", "192.0.2.7", 60_000),
            Ban("browser", "amina", "f00", 30_000),
            Ban("address", "", "2001:db8::/64", 500),
        ]

    async def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        self._answer()
        self.cleared.append((employee, address))
        return 2

    async def revoke(self, kind: RevocationKind, subject: str) -> int:
        self._answer()
        self.revoked.append((kind, subject))
        return len(self.revoked)

    async def record(self, entry: AuditEntry) -> int:
        self._answer()
        self.trail.append(entry)
        return len(self.trail)

    async def publish(
        self, document: LimitsDocument, *, if_match: int, entry: AuditEntry | None = None
    ) -> LimitsDocument:
        self._answer()
        if if_match != self.snapshot.limits.number:
            raise Stale("changed meanwhile")
        if entry is not None:
            self.trail.append(entry)
        numbered = replace(document, number=if_match + 1)
        self.published.append(numbered)
        return numbered
