"""Invariants 2 and 7 where grants are scarce: one worker saturates, everybody is served in time.

Virtual time: the workers sync by their ticks and when they have a reason to, as the site does. An
oracle counts what is in use at all workers together.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.ledger import reporting
from broker.ledger.memory import MemoryLedger
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import CellUse, WorkerBook
from tests.support.ledgers import LedgerClock
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

TICK = 250
QUEUE_TIMEOUT = 2000
POPULATIONS = ("managers", "sales", "everyone")


def scarce(limit: int, *, weights: tuple[int, ...] = (1, 1, 1)) -> LimitsDocument:
    return LimitsDocument(
        number=0,
        digest="",
        scale=1.0,
        seats_limit=0,
        connections_limit=limit,
        populations={
            name: PopulationLimits(True, 0, weight=weight)
            for name, weight in zip(POPULATIONS, weights, strict=True)
        },
        pools={"p": PoolLimits(Share(limit), {name: Share(limit) for name in POPULATIONS})},
    )


class Site:
    """Workers on one ledger in virtual milliseconds."""

    def __init__(self, limits: LimitsDocument, workers: int, *, wakeups: bool) -> None:
        self.now = 1_000_000
        self.ledger = MemoryLedger(lambda: self.now)
        self.limits = limits
        self.wakeups = wakeups
        self.books = [WorkerBook(f"w{index}") for index in range(workers)]
        self.used: list[dict[str, int]] = [dict.fromkeys(POPULATIONS, 0) for _ in self.books]
        self.peak: list[dict[str, int]] = [dict.fromkeys(POPULATIONS, 0) for _ in self.books]
        self.queues: list[dict[str, list[tuple[int, Callable[[], None]]]]] = [
            {name: [] for name in POPULATIONS} for _ in self.books
        ]
        self.asked = [False] * workers
        self.last_sync = [-(10**9)] * workers
        self.most_in_use = 0
        self.longest_wait: dict[tuple[int, str], int] = {}
        self.served: dict[tuple[int, str], int] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: int, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    async def run(self, until: int) -> None:
        await self.ledger.publish(self.limits, if_match=0, first_start=True)
        start = self.now
        for index in range(len(self.books)):
            self.at(start + 10 * index, lambda index=index: self._tick(index))  # type: ignore[misc]
        while self._events and self._events[0][0] <= start + until:
            self.now, _, what = heapq.heappop(self._events)
            what()
            for index, asked in enumerate(self.asked):
                if asked:
                    self.asked[index] = False
                    await self._sync(index)

    def _tick(self, index: int) -> None:
        self.asked[index] = True
        self.at(self.now + TICK, lambda: self._tick(index))

    def _ask(self, index: int) -> None:
        """Sync soon, but not within 10 ms of the last."""
        if not self.wakeups:
            return
        when = max(self.now, self.last_sync[index] + 10)
        self.at(when, lambda: self.asked.__setitem__(index, True))

    async def _sync(self, index: int) -> None:
        book, used, peak = self.books[index], self.used[index], self.peak[index]
        uses = [
            CellUse(
                "p",
                name,
                used=used[name],
                peak=peak[name],
                waiting=len(self.queues[index][name]),
                oldest_wait=self.queues[index][name][0][0] / 1000
                if self.queues[index][name]
                else None,
            )
            for name in POPULATIONS
        ]
        self.last_sync[index] = self.now
        self.peak[index] = dict(used)
        told = book.report(self.now / 1000, uses)
        book.accept(await self.ledger.sync(reporting.sync_report(told)))
        if book.due:
            self._ask(index)
        for name in POPULATIONS:
            self._serve(index, name)

    def want(self, index: int, name: str, *, lasting: int, again: bool = False) -> None:
        """Somebody wants a connection that lasts so many ms; ``again``: then wants the next."""

        def begin() -> None:
            self.used[index][name] += 1
            self.peak[index][name] = max(self.peak[index][name], self.used[index][name])
            self.served[index, name] = self.served.get((index, name), 0) + 1
            in_use = sum(sum(used.values()) for used in self.used)
            self.most_in_use = max(self.most_in_use, in_use)
            self.at(self.now + lasting, end)

        def end() -> None:
            self.used[index][name] -= 1
            if again:
                self.want(index, name, lasting=lasting, again=True)
            self._serve(index, name)
            self._ask(index)

        self.queues[index][name].append((self.now, begin))
        self._serve(index, name)
        if self.queues[index][name]:
            self._ask(index)

    def _serve(self, index: int, name: str) -> None:
        queue, book = self.queues[index][name], self.books[index]
        while (
            queue
            and self.used[index][name] < book.cap("p", name)
            and self.now / 1000 < book.fence_at("p")
        ):
            since, begin = queue.pop(0)
            key = (index, name)
            self.longest_wait[key] = max(self.longest_wait.get(key, 0), self.now - since)
            begin()


@pytest.mark.parametrize("wakeups", [True, False], ids=["woken", "ticks only"])
async def test_limit_8_with_8_workers_and_one_that_saturates(wakeups: bool) -> None:
    site = Site(scarce(8), 8, wakeups=wakeups)

    def saturate() -> None:
        for _ in range(40):
            site.want(0, "everyone", lasting=50, again=True)

    def others() -> None:
        for index in range(8):
            for name in POPULATIONS:
                site.want(index, name, lasting=20)
        site.at(site.now + 3000, others)

    site.at(site.now + 1000, saturate)
    site.at(site.now + 2000, others)
    await site.run(20_000)

    assert site.most_in_use == 8
    for index in range(8):
        for name in POPULATIONS:
            if (index, name) != (0, "everyone"):
                assert site.served[index, name] >= 5
                assert site.longest_wait[index, name] <= QUEUE_TIMEOUT, (index, name)


async def test_what_one_pool_leaves_another_uses_within_a_second() -> None:
    share = Share(6)
    limits = replace(
        scarce(6), pools={name: PoolLimits(share, {"sales": share}) for name in ("p", "q")}
    )
    clock = LedgerClock()
    ledger = MemoryLedger(lambda: clock.now_ms)
    await ledger.publish(limits, if_match=0, first_start=True)
    busy, other = (Worker(f"h/b/{number}", ledger, clock) for number in (1, 2))
    await busy.join()
    await other.join()
    assert await busy.take(("p", "sales"), 6) == 6
    assert await other.take(("q", "sales"), 6) == 0

    busy.end(("p", "sales"), 6)
    left_at = clock.now_ms
    while other.used.get(("q", "sales"), 0) < 6:
        # No wake-up reaches anybody: ticks only.
        clock.advance(TICK // 2)
        await busy.sync()
        clock.advance(TICK // 2)
        await other.sync()
        assert clock.now_ms - left_at <= 1000


async def test_weights_share_what_is_scarce() -> None:
    site = Site(scarce(12, weights=(2, 1, 1)), 3, wakeups=True)

    def everybody() -> None:
        for index in range(3):
            for name in POPULATIONS:
                for _ in range(12):
                    site.want(index, name, lasting=40, again=True)

    site.at(site.now + 1000, everybody)
    await site.run(20_000)
    by_name = {
        name: sum(site.served.get((index, name), 0) for index in range(3)) for name in POPULATIONS
    }
    assert site.most_in_use == 12
    assert by_name["managers"] / by_name["sales"] == pytest.approx(2, rel=0.25)
    assert by_name["sales"] / by_name["everyone"] == pytest.approx(1, rel=0.25)
    # Most of the capacity works most of the time: 12 slices, 40 ms each, 19 s.
    assert sum(by_name.values()) > 0.6 * 12 * 19_000 / 40
