"""Workers of one site under a demand that none of them expects: how much of the connections' limit
stands unused at one while it is wanted at another.

What runs is what a worker has: its ``Sync``, ``WorkerBook`` and ``Cell``s on a real Redis. Visitors
are events in virtual time, which Redis is told too, so that a busy machine changes nothing. Early
wake-ups by pub/sub are left out: what is measured lasts by ticks alone.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from redis import Redis

from broker.ledger.redis_ledger import RedisLedger
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import WorkerBook
from broker.site.admission import Person, Spending, Waiter
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.sync import SPACING, Sync
from broker.site.tokens import KeyRing, Tokens
from broker.site.waiting_room import WaitingRoom

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.policy.grants import Cell as Name
    from broker.site.admission import Hold

POOLS = ("feed", "wiki")
POPULATIONS = ("managers", "sales", "everyone")
CELLS = [(pool, population) for pool in POOLS for population in POPULATIONS]
PLENTY = 50  # the limit, for each cell of each worker
HOLD = 0.4  # seconds that a connection lasts on average
START_MS = 1_800_000_000_000


@dataclass(frozen=True, slots=True)
class Demand:
    """``workers`` in all. ``hot_cells`` at ``hot_workers`` are wanted by twice as many visitors as
    the limit has connections, who come back for ever, with ``moves_every`` (seconds) at the next
    worker. ``light``: connections in use on average besides, in each cell of each worker."""

    workers: int
    hot_cells: int = 1
    hot_workers: int = 1
    light: float = 4.0
    moves_every: float | None = None

    @property
    def limit(self) -> int:
        return PLENTY * self.workers * len(CELLS)


@dataclass(frozen=True, slots=True)
class Stranded:
    """Parts of the limit. ``unused``: free while somebody waited, averaged over time. ``above``:
    the most that was in use beyond it (0: never any)."""

    unused: float
    above: int


def measure(socket: Path, site: str, demand: Demand, *, seconds: float, seed: int) -> Stranded:
    """``seconds`` of virtual time, after as long again that is not counted."""
    return asyncio.run(_measure(socket, site, demand, seconds, seed))


async def _measure(socket: Path, site: str, demand: Demand, seconds: float, seed: int) -> Stranded:
    key = f"broker:{{{site}}}:bench:wall"
    clock = f"return tonumber(redis.call('GET', '{key}'))"
    with Redis(unix_socket_path=str(socket)) as redis:
        redis.set(key, START_MS)
        url = f"unix://{socket}"
        ledger = await RedisLedger.connect(url, site, 10.0, wall_clock=clock)
        try:
            await ledger.publish(_limits(demand.limit), if_match=0, first_start=True)
            day = Day(ledger, demand, seed, lambda ms: redis.set(key, START_MS + ms))
            return await day.run(seconds)
        finally:
            await ledger.close()


def _limits(limit: int) -> LimitsDocument:
    whole = Share(limit)
    pools = {pool: PoolLimits(whole, dict.fromkeys(POPULATIONS, whole)) for pool in POOLS}
    people = {name: PopulationLimits(admitted=True, seats_maximum=0) for name in POPULATIONS}
    return LimitsDocument(0, "bench", 1.0, 0, limit, people, pools)


class _Worker:
    """One worker without its gateway."""

    def __init__(self, name: str, ledger: RedisLedger, tokens: Tokens, day: Day) -> None:
        def now() -> float:
            return day.now

        self.wake = asyncio.Event()
        self.spending = Spending(10**6, self.wake.set, now)
        self.cells = {name: self.spending.cell(*name) for name in CELLS}
        self.visitor = Person(name, "everyone", name)
        time = LedgerTime(now)
        sessions = SessionCache(
            tokens, ledger, time, str, clock=now, wall_clock=now, token_refresh=300, lifetime=43_200
        )
        room = WaitingRoom(tokens, time, sessions.is_ended, now)
        book = WorkerBook(name)
        self.sync = Sync(book, ledger, self.spending, sessions, time, room, self.wake, now)
        self.synced_at = -1.0
        self.due_at = 0.0


class _Turn:
    """Stands for the future of somebody who waits: the connection begins when it is given."""

    __slots__ = ("begin",)

    def __init__(self, begin: Callable[[Hold], None]) -> None:
        self.begin = begin

    def done(self) -> bool:
        return False

    def set_result(self, hold: Hold) -> None:
        self.begin(hold)


class Day:
    """Events in virtual seconds."""

    def __init__(
        self, ledger: RedisLedger, demand: Demand, seed: int, set_clock: Callable[[int], object]
    ) -> None:
        self.now = 0.0
        self._demand = demand
        self._random = random.Random(seed)
        self._set_clock = set_clock
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._in_use = 0
        self._highest = 0
        self._waiting = 0
        self._hot_at = 0
        tokens = Tokens(KeyRing.from_json(KeyRing.generate()), "bench", lambda: self.now, 900)
        self.workers = [
            _Worker(f"h/b/{number}", ledger, tokens, self) for number in range(demand.workers)
        ]

    async def run(self, seconds: float) -> Stranded:
        for number, worker in enumerate(self.workers):
            worker.due_at = number * 0.25 / len(self.workers)
        self._at(1.0, self._open)
        unused = counted = 0.0
        while self.now < 1.0 + 2 * seconds:
            event_at = self._events[0][0]
            sync_at = min(worker.due_at for worker in self.workers)
            before, self.now = self.now, max(self.now, min(event_at, sync_at))
            if self._waiting > 0 and before >= 1.0 + seconds:
                counted += self.now - before
                unused += (self.now - before) * (self._demand.limit - self._in_use)
            if event_at <= sync_at:
                heapq.heappop(self._events)[2]()
            else:
                await self._sync(min(self.workers, key=lambda worker: worker.due_at))
            for worker in self.workers:
                if worker.wake.is_set():
                    worker.wake.clear()
                    worker.due_at = min(worker.due_at, max(self.now, worker.synced_at + SPACING))
        if counted < seconds / 2:
            raise RuntimeError("the demand is too small: hardly anybody waited")
        above = max(0, self._highest - self._demand.limit)
        return Stranded(unused / counted / self._demand.limit, above)

    async def _sync(self, worker: _Worker) -> None:
        self._set_clock(round(self.now * 1000))
        worker.synced_at = self.now
        again = await worker.sync.once()
        worker.due_at = self.now + (SPACING if again else 0.25)

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (when, self._count, what))

    def _open(self) -> None:
        demand = self._demand
        for number, worker in enumerate(self.workers):
            for name in CELLS:
                self._next_light(worker, name)
            if number < demand.hot_workers:
                for name in CELLS[-demand.hot_cells :]:
                    for _ in range(2 * demand.limit // (demand.hot_workers * demand.hot_cells)):
                        self._want(number, name, again=True)
        if demand.moves_every is not None:
            self._at(self.now + demand.moves_every, self._move)

    def _move(self) -> None:
        """Those who come back from now on come to the next worker."""
        self._hot_at += 1
        assert self._demand.moves_every is not None
        self._at(self.now + self._demand.moves_every, self._move)

    def _next_light(self, worker: _Worker, name: Name) -> None:
        pause = self._random.expovariate(self._demand.light / HOLD)

        def come() -> None:
            self._want(self.workers.index(worker), name, again=False)
            self._next_light(worker, name)

        self._at(self.now + pause, come)

    def _want(self, number: int, name: Name, *, again: bool) -> None:
        """Somebody wants a connection at worker ``number``, as ``Cell.wait`` has it; ``again``:
        and the next one right after it, wherever the crowd is by then."""
        shift = self._hot_at if again else 0
        worker = self.workers[(number + shift) % len(self.workers)]
        cell = worker.cells[name]

        def begin(hold: Hold) -> None:
            self._waiting -= 1
            self._in_use += 1
            self._highest = max(self._highest, self._in_use)
            self._at(self.now + self._random.expovariate(1 / HOLD), lambda: end(hold))

        def end(hold: Hold) -> None:
            self._in_use -= 1
            hold.release()
            if again:
                self._want(number, name, again=True)

        self._waiting += 1
        hold = cell.take(worker.visitor, self.now)
        if hold is not None:
            begin(hold)
            return
        cell.waiters.append(Waiter(worker.visitor, _Turn(begin), self.now))  # type: ignore[arg-type]
        cell.short()
        cell.serve_waiters()
