"""A few minutes of connections at the worst moment: workers of several hosts spend real grants.

Each worker has the broker's ``WorkerBook``, all share one ledger (by default a ``GrantBook``, the
twin's; a test gives it Redis and finds the same figures). Requests are not simulated one by one but
by steps of 50 ms and by cell: how many begin (Poisson), how many end (exponential hold). What finds
no connection waits up to ``queue_timeout``, then is refused. A worker syncs every tick, and in the
next step when it runs short, where the real one waits 10 ms.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from broker.policy.grant_book import GrantBook
from broker.policy.worker_book import Accepted, CellUse, WorkerBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.policy.grant_book import Told
    from broker.policy.grants import Cell
    from broker.policy.limits import LimitsDocument
    from broker.policy.worker_book import Reply

STEP = 0.05  # seconds
REQUEST, TUNNEL = 0, 1


@dataclass(frozen=True, slots=True)
class Demand:
    """What employees want at this hour. ``requests``: begun per second by cell, each held for
    ``hold`` seconds on average; ``tunnels``: WebSockets open by cell, each for ``tunnel_hold``."""

    requests: Mapping[Cell, float]
    tunnels: Mapping[Cell, int]
    hold: float = 0.4
    tunnel_hold: float = 600.0
    reconnect: float = 60.0
    queue_timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class Loss:
    """A host is lost at ``at`` seconds. ``tombstone_after``: seconds until the ledger is told that
    its workers are dead (by its supervisor, or by an operator: ``broker workers forget``); None:
    nobody says so, and the lease decides."""

    at: float
    tombstone_after: float | None = None


@dataclass(slots=True)
class Figures:
    """By second: ``used`` by live workers, ``held`` as the ledger books it, ``dead`` of that booked
    for lost workers, ``waiting`` for a connection. Totals: ``begun``, ``refused`` after waiting."""

    limit: int
    used: list[int] = field(default_factory=list)
    held: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    refused_by_second: list[int] = field(default_factory=list)
    begun: int = 0
    refused: int = 0
    highest_used: int = 0
    over_admissions: int = 0
    syncs: int = 0


@dataclass(slots=True)
class Queued:
    since: float
    kind: int
    count: int


class Worker:
    """One worker: its book, and what is in flight by cell (requests, tunnels)."""

    def __init__(self, incarnation: str, cells: list[Cell], phase: float) -> None:
        self.incarnation = incarnation
        self.book = WorkerBook(incarnation)
        self.cells = cells
        self.flying = np.zeros((len(cells), 2), dtype=np.int64)
        self.peak = [0] * len(cells)
        self.queues: list[deque[Queued]] = [deque() for _ in cells]
        self.next_sync = phase
        self.short = True

    def uses(self) -> list[CellUse]:
        uses = []
        for index, (pool, population) in enumerate(self.cells):
            used = int(self.flying[index].sum())
            queue = self.queues[index]
            waiting = sum(each.count for each in queue)
            since = queue[0].since if queue else None
            uses.append(CellUse(pool, population, used, self.peak[index], waiting, since))
            self.peak[index] = used
        return uses

    def serve(self, now: float) -> int:
        """Begin what waits, as far as the caps allow. Returns how many began."""
        begun = 0
        for index, cell in enumerate(self.cells):
            queue = self.queues[index]
            if not queue:
                continue
            used = int(self.flying[index].sum())
            free = self.book.cap(*cell) - used if now < self.book.fence_at(cell[0]) else 0
            while queue and free > 0:
                first = queue[0]
                some = min(free, first.count)
                self.flying[index, first.kind] += some
                first.count -= some
                free -= some
                begun += some
                if first.count == 0:
                    queue.popleft()
            self.peak[index] = max(self.peak[index], int(self.flying[index].sum()))
            if queue or free == 0:
                self.short = True
        return begun


class Grants(Protocol):
    """The ledger as far as grants go. Times are ledger time in milliseconds."""

    def exchange(self, told: Told, now_ms: int) -> Reply: ...

    def bury(self, incarnation: str, now_ms: int) -> None: ...

    def booked(self) -> dict[str, int]:
        """By incarnation, over all cells."""
        ...


class TwinGrants:
    """The twin's ``GrantBook``."""

    def __init__(self, limits: LimitsDocument) -> None:
        self._book = GrantBook(epoch="simulated", since_ms=0)
        self._book.put_limits(limits)
        self._book.start_first()

    def exchange(self, told: Told, now_ms: int) -> Reply:
        self._book.pass_time(now_ms)
        answer = self._book.sync(told, now_ms)
        known = self._book.limits
        news = known if known is not None and told.limits_known != known.number else None
        return Answered(
            told.sequence, self._book.epoch, self._book.learning, answer.caps, answer.leases, news,
            answer.starved, answer.bases,
        )  # fmt: skip

    def bury(self, incarnation: str, now_ms: int) -> None:
        self._book.bury(incarnation, now_ms)

    def booked(self) -> dict[str, int]:
        return {name: sum(each.booked.values()) for name, each in self._book.workers.items()}


@dataclass(frozen=True, slots=True)
class Answered:
    sequence: int
    epoch: str
    learning: bool
    caps: Mapping[Cell, int]
    leases: Mapping[str, int]
    limits: LimitsDocument | None
    starved: tuple[Cell, ...]
    bases: Mapping[Cell, int]


class Fleet:
    """``hosts`` x ``each`` workers on one ledger (``grants``; None: the twin's)."""

    def __init__(
        self,
        limits: LimitsDocument,
        demand: Demand,
        *,
        hosts: int,
        each: int,
        seed: int,
        grants: Grants | None = None,
    ) -> None:
        self._limits = limits
        self._demand = demand
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._cells = list(dict.fromkeys([*demand.requests, *demand.tunnels]))
        self._grants = TwinGrants(limits) if grants is None else grants
        count = hosts * each
        self.workers = [
            Worker(f"host{number // each}/b/{number}", self._cells, number * 0.25 / count)
            for number in range(count)
        ]
        self._each = each
        self._lost: list[Worker] = []
        self._reconnecting = np.zeros(len(self._cells))
        self._reconnected_at = 0.0
        self.figures = Figures(limits.connections_limit)

    def run(self, seconds: float, *, loss: Loss | None = None, settle: float = 20.0) -> Figures:
        """``settle`` seconds at first are not counted: all tunnels open then."""
        self._reconnect([self._demand.tunnels.get(cell, 0) for cell in self._cells], 0, settle / 2)
        for step in range(round(settle / STEP)):
            self._step(step * STEP)
        self.figures = Figures(self._limits.connections_limit)
        buried = False
        refused_before = 0
        for step in range(round(seconds / STEP)):
            since, now = step * STEP, settle + step * STEP
            if loss is not None and since >= loss.at:
                if not self._lost:
                    self._lose_host(now)
                after = math.inf if loss.tombstone_after is None else loss.tombstone_after
                if not buried and since >= loss.at + after:
                    buried = True
                    for worker in self._lost:
                        self._grants.bury(worker.incarnation, round(now * 1000))
            self._step(now)
            if step % round(1 / STEP) == 0:
                self._note(self.figures.refused - refused_before)
                refused_before = self.figures.refused
        return self.figures

    def _step(self, now: float) -> None:
        demand, random = self._demand, self._random
        ends = (1 - np.exp(-STEP / demand.hold), 1 - np.exp(-STEP / demand.tunnel_hold))
        back = self._reconnecting if now < self._reconnected_at else np.zeros(len(self._cells))
        for worker in self.workers:
            worker.flying -= random.binomial(worker.flying, ends)
            share = STEP / len(self.workers)
            for index, cell in enumerate(self._cells):
                tunnels = demand.tunnels.get(cell, 0) / demand.tunnel_hold * share
                tunnels += back[index] * share
                for kind, rate in (
                    (REQUEST, demand.requests.get(cell, 0.0) * share),
                    (TUNNEL, tunnels),
                ):
                    if count := int(random.poisson(rate)):
                        worker.queues[index].append(Queued(now, kind, count))
            self.figures.begun += worker.serve(now)
            self.figures.refused += self._give_up(worker, now)
            if worker.short or now >= worker.next_sync:
                self._sync(worker, now)
        used = sum(int(worker.flying.sum()) for worker in self.workers)
        self.figures.highest_used = max(self.figures.highest_used, used)
        self.figures.over_admissions += max(0, used - self._limits.connections_limit)

    def _give_up(self, worker: Worker, now: float) -> int:
        refused = 0
        for queue in worker.queues:
            while queue and now - queue[0].since > self._demand.queue_timeout:
                refused += queue.popleft().count
        return refused

    def _sync(self, worker: Worker, now: float) -> None:
        worker.next_sync = now + worker.book.tick
        worker.short = False
        told = worker.book.report(now, worker.uses())
        reply = self._grants.exchange(told, round(now * 1000))
        self.figures.syncs += 1
        accepted = worker.book.accept(reply)
        if accepted is Accepted.EPOCH or worker.book.due:
            worker.short = True
        self.figures.begun += worker.serve(now)

    def _lose_host(self, now: float) -> None:
        """Its connections break; its WebSockets come back elsewhere."""
        self._lost, self.workers = self.workers[: self._each], self.workers[self._each :]
        broken = [sum(int(worker.flying[index, TUNNEL]) for worker in self._lost)
                  for index in range(len(self._cells))]  # fmt: skip
        self._reconnect(broken, now, self._demand.reconnect)

    def _reconnect(self, tunnels: list[int], now: float, within: float) -> None:
        self._reconnecting = np.array(tunnels) / within
        self._reconnected_at = now + within

    def _note(self, refused: int) -> None:
        figures = self.figures
        booked = self._grants.booked()
        figures.used.append(sum(int(worker.flying.sum()) for worker in self.workers))
        figures.held.append(sum(booked.values()))
        figures.dead.append(sum(booked.get(worker.incarnation, 0) for worker in self._lost))
        figures.waiting.append(
            sum(each.count for worker in self.workers for queue in worker.queues for each in queue)
        )
        figures.refused_by_second.append(refused)
