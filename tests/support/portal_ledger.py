"""The part of a ledger that the portal speaks to, in memory, with switches for bad days."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.ledger.port import SeatAnswer
from broker.policy.limits import LimitsDocument, PopulationLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import SessionRecord


class PortalLedger:
    """``away``: every call fails. ``learning``: nobody new. ``seats``: how many there are."""

    def __init__(self, seats: int = 100, admitted: Sequence[str] = ("managers", "sales")) -> None:
        self.seats = seats
        self.admitted = tuple(admitted)
        self.away = False
        self.learning = False
        self.now_ms = 1_000_000
        self.seated: list[str] = []
        self.queue: list[str] = []
        self.once: dict[tuple[str, str], bytes] = {}
        self.records: dict[str, SessionRecord] = {}

    def _here(self) -> None:
        if self.away:
            raise LedgerAway("the ledger cannot be reached")

    async def limits(self) -> LimitsDocument | None:
        self._here()
        populations = {
            name: PopulationLimits(admitted=name in self.admitted, seats_maximum=self.seats)
            for name in ("managers", "sales", "everyone")
        }
        return LimitsDocument(1, "d", 1.0, self.seats, 100, populations, {})

    async def admit(self, employee: str, population: str) -> SeatAnswer:
        self._here()
        state = await self.look(employee)
        if state.state in ("seated", "learning"):
            return state
        if population not in self.admitted:
            return SeatAnswer("not_admitted", population, ledger_ms=self.now_ms)
        if len(self.seated) < self.seats and self.queue[:1] in ([], [employee]):
            self.queue = [name for name in self.queue if name != employee]
            self.seated.append(employee)
        elif employee not in self.queue:
            self.queue.append(employee)
        return await self.look(employee)

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        self._here()
        answer = SeatAnswer("gone", ledger_ms=self.now_ms)
        if employee in self.seated:
            return replace(answer, state="seated")
        if self.learning:
            return replace(answer, state="learning")
        if employee in self.queue:
            return replace(answer, state="waiting", position=self.queue.index(employee) + 1)
        return answer

    async def put_session(self, record: SessionRecord, *, most: int) -> tuple[str, ...]:
        self._here()
        self.records[record.id] = record
        return ()

    async def session(self, session_id: str) -> SessionRecord | None:
        self._here()
        return self.records.get(session_id)

    async def end_session(self, session_id: str) -> bool:
        self._here()
        record = self.records.pop(session_id, None)
        if record and not any(r.employee == record.employee for r in self.records.values()):
            self.seated = [name for name in self.seated if name != record.employee]
        return record is not None

    async def put_once(self, kind: str, key: str, value: bytes, ttl_ms: int) -> bool:
        self._here()
        self.once.setdefault((kind, key), value)
        return True

    async def take_once(self, kind: str, key: str) -> bytes | None:
        self._here()
        return self.once.pop((kind, key), None)

    async def peek_once(self, kind: str, key: str) -> bytes | None:
        self._here()
        return self.once.get((kind, key))
