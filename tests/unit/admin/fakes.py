"""A ledger that says what it was told to say, for tests of the admin application."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import LedgerAway, LedgerLearning, Stale
from broker.ledger.port import (
    AdminToken,
    AuditEntry,
    Ban,
    FactorView,
    SeatAnswer,
    SessionRecord,
    Usage,
    WorkerView,
)
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.ledger.port import RevocationKind
    from broker.policy.guard import Figures

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
    estimates_shown=10,
    estimates_kept=9,
)
RECORD = SessionRecord("s1", "amina", "Amina D.", "sales", (), 1, 2, 1, "192.0.2.1", "Firefox")


class FakeLedger:
    """Only what the admin application asks of the port."""

    def __init__(self) -> None:
        self.away = self.learning = False
        self.snapshot = USAGE
        self.known: list[WorkerView] = []
        self.records = [RECORD]
        self.revoked: list[tuple[str, str]] = []
        self.buried: list[str] = []
        self.factors: dict[str, FactorView] = {}
        self.tickets = {"zoë": SeatAnswer("waiting", "everyone", number=7, position=2)}
        self.marked: list[tuple[str, str]] = []
        self.cleared: list[tuple[str, str]] = []
        self.published: list[LimitsDocument] = []
        self.trail: list[AuditEntry] = []
        self.admin_tokens: dict[str, AdminToken] = {}
        self.told: dict[str, tuple[int, Mapping[str, Figures]]] = {}

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

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        self._answer()
        assert not present, "looking on is no presence"
        return self.tickets.get(employee, SeatAnswer("gone"))

    async def factor(self, employee: str) -> FactorView:
        self._answer()
        if self.learning:
            raise LedgerLearning("the ledger is learning")
        return self.factors.get(employee, FactorView(None))

    async def remove_ticket(self, employee: str) -> bool:
        self._answer()
        return self.tickets.pop(employee, None) is not None

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        self._answer()
        return [record for record in self.records if record.employee == employee]

    async def session(self, session_id: str) -> SessionRecord | None:
        self._answer()
        if self.learning:
            raise LedgerLearning("the ledger is learning")
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

    async def tokens(self) -> Sequence[AdminToken]:
        self._answer()
        return list(self.admin_tokens.values())

    async def put_token(self, token: AdminToken, entry: AuditEntry) -> bool:
        self._answer()
        if token.name in self.admin_tokens:
            return False
        self.admin_tokens[token.name] = token
        self.trail.append(entry)
        return True

    async def drop_token(self, name: str, entry: AuditEntry) -> bool:
        self._answer()
        if self.admin_tokens.pop(name, None) is None:
            return False
        self.trail.append(entry)
        return True

    async def figures(self) -> Mapping[str, tuple[int, Mapping[str, Figures]]]:
        self._answer()
        return self.told

    async def audit(self, *, most: int, before: int = 0) -> Sequence[AuditEntry]:
        self._answer()
        numbered = [replace(each, number=at) for at, each in enumerate(self.trail, start=1)]
        return [each for each in numbered if not before or each.number < before][-most:]
