"""A worker as the site would drive it, without a site: its book, what it uses, one ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger import reporting
from broker.policy.worker_book import Accepted, CellUse, WorkerBook

if TYPE_CHECKING:
    from broker.ledger.port import Ledger, SyncReply
    from broker.policy.grants import Cell
    from tests.support.ledgers import LedgerClock


class Worker:
    """Holds connections that the test begins and ends by hand. Its clock is the ledger's."""

    def __init__(self, incarnation: str, ledger: Ledger, clock: LedgerClock) -> None:
        self.book = WorkerBook(incarnation)
        self.used: dict[Cell, int] = {}
        self.waiting: dict[Cell, list[float]] = {}
        self._ledger = ledger
        self._clock = clock

    @property
    def now(self) -> float:
        return self._clock.now_ms / 1000

    async def join(self) -> None:
        """The first two syncs: hear of the epoch, get the document."""
        assert (await self.sync())[0] is Accepted.EPOCH
        assert (await self.sync())[0] is Accepted.CAPS

    async def sync(self, *, leaving: bool = False) -> tuple[Accepted, SyncReply]:
        """One sync, and a second one when the first says so."""
        accepted, reply = await self.sync_once(leaving=leaving)
        if accepted is Accepted.CAPS and self.book.due:
            accepted, reply = await self.sync_once(leaving=leaving)
        return accepted, reply

    async def sync_once(self, *, leaving: bool = False) -> tuple[Accepted, SyncReply]:
        told = self.book.report(self.now, self.uses(), leaving=leaving)
        reply = await self._ledger.sync(reporting.sync_report(told))
        accepted = self.book.accept(reply)
        for cell in self.waiting:
            while self.waiting[cell] and self.spend(cell):
                self.waiting[cell].pop(0)
        return accepted, reply

    def uses(self) -> list[CellUse]:
        cells = dict.fromkeys([*self.used, *self.waiting])
        return [
            CellUse(
                *cell,
                used=self.used.get(cell, 0),
                peak=self.used.get(cell, 0),
                waiting=len(self.waiting.get(cell, ())),
                oldest_wait=next(iter(self.waiting.get(cell, ())), None),
            )
            for cell in cells
        ]

    def want(self, cell: Cell, count: int = 1) -> None:
        """So many begin to wait now."""
        self.waiting.setdefault(cell, []).extend([self.now] * count)

    def spend(self, cell: Cell) -> bool:
        """Begin one connection if the grant allows."""
        used = self.used.get(cell, 0)
        if used >= self.book.cap(*cell) or self.now >= self.book.fence_at(cell[0]):
            return False
        self.used[cell] = used + 1
        return True

    def end(self, cell: Cell, count: int = 1) -> None:
        self.used[cell] = self.used.get(cell, 0) - count
        assert self.used[cell] >= 0

    async def take(self, cell: Cell, count: int) -> int:
        """Want ``count`` and sync; how many were got."""
        before = self.used.get(cell, 0)
        self.want(cell, count)
        await self.sync()
        return self.used.get(cell, 0) - before
