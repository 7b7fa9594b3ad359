"""A small world of workers, messages and one ledger, for the model checker to explore.

It runs the production code (``WorkerBook`` and ``GrantBook``) on small numbers. Messages may arrive
late, in any order, twice, or never (never is the same as very late); workers crash; Redis forgets
all or its last writes; clocks jump; limits change. Time is real seconds, in steps of ``STEP``;
ledger time is that plus what a jump of the wall clock added. A world is changed by one action at a
time, on a copy.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker.policy.grant_book import GrantBook, Told, Worker
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import CellUse, WorkerBook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from broker.policy.grants import Cell

STEP = 0.5
LEASE_MS = 3000
CELLS: tuple[Cell, ...] = (("p", "c0"), ("p", "c1"))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a scenario may contain, and how often."""

    workers: int = 2
    cells: int = 1
    limits: tuple[int, ...] = (2,)
    demand: int = 2
    syncs: int = 3
    in_flight: int = 2
    doubles: int = 0
    crashes: int = 0
    forgets_all: int = 0
    forgets_last: int = 0
    steps: int = 0
    jumps: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """A reply under way to worker number ``to``."""

    to: int
    sequence: int
    epoch: str
    learning: bool
    caps: dict[Cell, int]
    leases: dict[str, int]
    limits: LimitsDocument | None
    starved: tuple[Cell, ...]
    bases: Mapping[Cell, int]


@dataclass(slots=True)
class Mutation:
    """Production code, except for the rule that a mutation leaves out."""

    name: str = "none"
    worker: type[WorkerBook] = WorkerBook
    book: type[GrantBook] = GrantBook
    buries_the_living: bool = False


def document(number: int, limit: int, cells: int) -> LimitsDocument:
    names = [f"c{index}" for index in range(cells)]
    return LimitsDocument(
        number=number,
        digest="",
        scale=1.0,
        seats_limit=0,
        connections_limit=limit,
        populations={name: PopulationLimits(True, 0) for name in names},
        pools={"p": PoolLimits(Share(9), {name: Share(9) for name in names}, lease_ms=LEASE_MS)},
    )


@dataclass(slots=True)
class World:
    bounds: Bounds
    mutation: Mutation
    book: GrantBook
    workers: list[WorkerBook]
    used: list[dict[Cell, int]]
    alive: list[bool]
    acknowledged: list[int]
    requests: tuple[Told, ...] = ()
    replies: tuple[Said, ...] = ()
    snapshot: GrantBook | None = None
    now: float = 10.0
    ahead_ms: int = 0
    epochs: int = 1
    left: dict[str, int] = field(default_factory=dict)
    book_key: tuple[object, ...] = ()
    worker_keys: list[tuple[object, ...]] = field(default_factory=list)

    # --- the parts

    @property
    def ledger_ms(self) -> int:
        return int(self.now * 1000) + self.ahead_ms

    @property
    def cells(self) -> tuple[Cell, ...]:
        return CELLS[: self.bounds.cells]

    def copy(self) -> World:
        """Shares every part; an action copies the part that it changes."""
        return World(
            self.bounds,
            self.mutation,
            self.book,
            list(self.workers),
            list(self.used),
            list(self.alive),
            list(self.acknowledged),
            self.requests,
            self.replies,
            self.snapshot,
            self.now,
            self.ahead_ms,
            self.epochs,
            dict(self.left),
            self.book_key,
            list(self.worker_keys),
        )

    def key(self) -> tuple[object, ...]:
        """Equal for worlds whose futures are equal."""
        return (
            self.book_key,
            *self.worker_keys,
            *(tuple(sorted(used.items())) for used in self.used),
            *self.alive,
            *self.acknowledged,
            tuple(sorted(told_key(told) for told in self.requests)),
            tuple(sorted(said_key(said) for said in self.replies)),
            None if self.snapshot is None else book_key(self.snapshot),
            self.now,
            self.ahead_ms,
            tuple(sorted(self.left.items())),
        )

    # --- what is claimed

    def holding(self, index: int) -> int:
        """The most that worker number ``index`` has or could begin now."""
        if not self.alive[index]:
            return 0
        worker, used = self.workers[index], self.used[index]
        open_until = worker.fence_at("p")
        return sum(
            max(worker.cap(*cell) if self.now < open_until else 0, used.get(cell, 0))
            for cell in self.cells
        )

    def together(self) -> int:
        return sum(self.holding(index) for index in range(len(self.workers)))

    def bound(self) -> int:
        """The highest limit in force: the newest, and any that a live worker still goes by."""
        newest = self.book.limits.number if self.book.limits else 1
        oldest = min(
            (
                self.acknowledged[i]
                for i, alive in enumerate(self.alive)
                if alive and self.acknowledged[i]
            ),
            default=newest,
        )
        return max(self.bounds.limits[number - 1] for number in range(oldest, newest + 1))

    # --- what may happen

    def actions(self) -> Iterator[tuple[str, Callable[[World], None]]]:
        bounds = self.bounds
        for i, alive in enumerate(self.alive):
            if not alive:
                if self.workers[i].incarnation not in self.book.dead:
                    yield f"tombstone {i}", lambda w, i=i: w.tombstone(i)  # type: ignore[misc]
                continue
            under_way = sum(
                told.incarnation == self.workers[i].incarnation for told in self.requests
            )
            if self.left.get(f"syncs {i}", bounds.syncs) > 0 and under_way < bounds.in_flight:
                yield f"report {i}", lambda w, i=i: w.report(i)  # type: ignore[misc]
            for cell in self.cells:
                has = self.used[i].get(cell, 0)
                if has < self.workers[i].cap(*cell) and self.now < self.workers[i].fence_at("p"):
                    yield (
                        f"spend {i} {cell[1]}",
                        (
                            lambda w, i=i, cell=cell: w.change(i, cell, 1)  # type: ignore[misc]
                        ),
                    )
                if has > 0:
                    yield (
                        f"end {i} {cell[1]}",
                        (
                            lambda w, i=i, cell=cell: w.change(i, cell, -1)  # type: ignore[misc]
                        ),
                    )
            if self.left.get("crashes", bounds.crashes) > 0:
                yield f"crash {i}", lambda w, i=i: w.crash(i)  # type: ignore[misc]
            if (
                self.mutation.buries_the_living
                and self.workers[i].incarnation not in self.book.dead
            ):
                yield f"tombstone {i}", lambda w, i=i: w.tombstone(i)  # type: ignore[misc]
        for told in set_of(self.requests):
            yield (
                f"hear {told.incarnation} {told.sequence}",
                (
                    lambda w, told=told: w.hear(told)  # type: ignore[misc]
                ),
            )
            if self.left.get("doubles", bounds.doubles) > 0:
                yield (
                    f"hear {told.incarnation} {told.sequence} (again later)",
                    (
                        lambda w, told=told: w.hear(told, again=True)  # type: ignore[misc]
                    ),
                )
        for number, said in enumerate(self.replies):
            yield (
                f"reply {said.to} {said.sequence} {said.caps}",
                (
                    lambda w, number=number: w.answer(number)  # type: ignore[misc]
                ),
            )
        limits = self.book.limits
        if limits is not None and limits.number < len(bounds.limits):
            yield "publish", lambda w: w.publish()
        if self.left.get("forgets_all", bounds.forgets_all) > 0:
            yield "redis forgets all", lambda w: w.forget_all()
        if self.left.get("forgets_last", bounds.forgets_last) > 0:
            if self.snapshot is None:
                yield "redis saves", lambda w: w.save()
            else:
                yield "redis forgets its last writes", lambda w: w.forget_last()
        if self.left.get("steps", bounds.steps) > 0:
            yield "time passes", lambda w: w.step()
        if self.left.get("jumps", bounds.jumps) > 0:
            yield "the clock of redis jumps", lambda w: w.jump()

    def spend_budget(self, name: str, whole: int) -> None:
        self.left[name] = self.left.get(name, whole) - 1

    def report(self, i: int) -> None:
        self.spend_budget(f"syncs {i}", self.bounds.syncs)
        uses = []
        for cell in self.cells:
            used = self.used[i].get(cell, 0)
            waiting = max(0, self.bounds.demand - used)
            uses.append(CellUse(*cell, used=used, peak=used, waiting=waiting, oldest_wait=9.0))
        worker = copy_worker_book(self.workers[i])
        self.requests += (worker.report(self.now, uses),)
        self.put_worker(i, worker)

    def put_worker(self, i: int, worker: WorkerBook) -> None:
        self.workers[i] = worker
        self.worker_keys[i] = worker_key(worker)

    @contextmanager
    def changed_book(self) -> Iterator[GrantBook]:
        """A copy to change, at this moment of ledger time."""
        self.book = copy_book(self.book)
        self.book.pass_time(self.ledger_ms)
        yield self.book
        self.book_key = book_key(self.book)

    def change(self, i: int, cell: Cell, by: int) -> None:
        self.used[i] = {**self.used[i], cell: self.used[i].get(cell, 0) + by}

    def spend_all(self, i: int) -> None:
        """Serve everybody who waits, as far as the caps go."""
        for cell in self.cells:
            cap = self.workers[i].cap(*cell) if self.now < self.workers[i].fence_at("p") else 0
            used = self.used[i].get(cell, 0)
            self.used[i] = {**self.used[i], cell: max(used, min(cap, self.bounds.demand))}

    def crash(self, i: int) -> None:
        self.spend_budget("crashes", self.bounds.crashes)
        self.alive[i] = False
        self.used[i] = {}

    def tombstone(self, i: int) -> None:
        with self.changed_book() as book:
            book.bury(self.workers[i].incarnation, self.ledger_ms)

    def hear(self, told: Told, *, again: bool = False) -> None:
        if again:
            self.spend_budget("doubles", self.bounds.doubles)
        else:
            self.requests = tuple(other for other in self.requests if other is not told)
        with self.changed_book() as book:
            answer = book.sync(told, self.ledger_ms)
        limits = self.book.limits
        same = told.epoch == self.book.epoch and limits and told.limits_known == limits.number
        to = int(told.incarnation[1:])
        if not self.alive[to]:
            return
        self.replies += (
            Said(
                to,
                told.sequence,
                self.book.epoch,
                self.book.learning,
                dict(answer.caps),
                dict(answer.leases),
                None if same else limits,
                answer.starved,
                answer.bases,
            ),
        )

    def answer(self, number: int) -> None:
        said = self.replies[number]
        self.replies = self.replies[:number] + self.replies[number + 1 :]
        if not self.alive[said.to]:
            return
        worker = copy_worker_book(self.workers[said.to])
        worker.accept(said)
        self.put_worker(said.to, worker)
        if worker.limits_known:
            self.acknowledged[said.to] = worker.limits_known

    def lose_messages(self) -> None:
        self.requests, self.replies = (), ()

    def publish(self) -> None:
        assert self.book.limits is not None
        number = self.book.limits.number + 1
        limit = self.bounds.limits[number - 1]
        with self.changed_book() as book:
            book.put_limits(document(number, limit, self.bounds.cells))

    def forget_all(self) -> None:
        self.spend_budget("forgets_all", self.bounds.forgets_all)
        limits = self.book.limits
        self.epochs += 1
        self.book = self.mutation.book(f"e{self.epochs}", self.ledger_ms, settling_ms=0)
        self.book.begin_epoch(self.book.epoch, self.ledger_ms)
        if limits is not None:
            self.book.put_limits(limits)
        self.book_key = book_key(self.book)

    def save(self) -> None:
        self.snapshot = self.book

    def forget_last(self) -> None:
        assert self.snapshot is not None
        self.spend_budget("forgets_last", self.bounds.forgets_last)
        limits = self.book.limits
        self.epochs += 1
        self.book, self.snapshot = copy_book(self.snapshot), None
        self.book.begin_epoch(f"e{self.epochs}", self.ledger_ms)
        if limits is not None and limits != self.book.limits:
            self.book.put_limits(limits)
        self.book_key = book_key(self.book)

    def step(self) -> None:
        self.spend_budget("steps", self.bounds.steps)
        self.now += STEP
        for i, worker in enumerate(self.workers):
            # At the fence a worker closes what is in flight.
            if self.now >= worker.fence_at("p"):
                self.used[i] = {}

    def jump(self) -> None:
        self.spend_budget("jumps", self.bounds.jumps)
        self.ahead_ms += 1000


def begin(bounds: Bounds, mutation: Mutation | None = None) -> World:
    """Every worker has been heard, knows the epoch and the first limits, and holds nothing."""
    mutation = mutation or Mutation()
    # Settling is for workers that the ledger does not remember; here it remembers all or nobody.
    book = mutation.book("e1", 10_000, settling_ms=0)
    book.put_limits(document(1, bounds.limits[0], bounds.cells))
    book.start_first()
    count = bounds.workers
    world = World(
        bounds,
        mutation,
        book,
        [mutation.worker(f"w{index}") for index in range(count)],
        [{} for _ in range(count)],
        [True] * count,
        [0] * count,
    )
    world.book_key = book_key(book)
    world.worker_keys = [worker_key(worker) for worker in world.workers]
    idle = replace(bounds, demand=0, syncs=99)
    world.bounds = idle
    for i in range(count):
        for _ in range(2):
            world.report(i)
            world.hear(world.requests[0])
            world.answer(0)
    world.bounds = bounds
    world.left = {}
    return world


def settle_down(world: World) -> None:
    """No more faults: the dead get their tombstones, every message of before is lost, every worker
    syncs until nothing changes any more."""
    world.lose_messages()
    for i, alive in enumerate(world.alive):
        if not alive and world.workers[i].incarnation not in world.book.dead:
            world.tombstone(i)
    for _ in range(12):
        for i, alive in enumerate(world.alive):
            if alive:
                world.report(i)
                world.hear(world.requests[0])
                world.answer(0)
                world.spend_all(i)
        world.now += STEP


# --- copies and keys: plain and fast, because they are most of the checker's time


def copy_book(book: GrantBook) -> GrantBook:
    return type(book)(
        book.epoch,
        book.since_ms,
        book.learning,
        book.limits,
        book.longest_lease_ms,
        {name: copy_worker(worker) for name, worker in book.workers.items()},
        dict(book.leases),
        set(book.unheard),
        book.remembered,
        dict(book.dead),
        book.settling_ms,
    )


def copy_worker(worker: Worker) -> Worker:
    return Worker(
        worker.epoch,
        worker.sequence,
        worker.seen_ms,
        worker.limits_known,
        worker.digest,
        dict(worker.booked),
        dict(worker.caps),
        dict(worker.used),
        worker.wants,
        worker.idle_until_ms,
    )


def copy_worker_book(book: WorkerBook) -> WorkerBook:
    made = type(book)(book.incarnation)
    made.margin = book.margin
    made.epoch, made.sequence, made.sent_at = book.epoch, book.sequence, book.sent_at
    made.learning, made.limits_known, made.starved = book.learning, book.limits_known, book.starved
    made.unanswered, made._bases = book.unanswered, dict(book._bases)
    made._caps, made._fences = dict(book._caps), dict(book._fences)
    return made


def book_key(book: GrantBook) -> tuple[object, ...]:
    return (
        book.epoch,
        book.learning,
        book.since_ms if book.learning else 0,
        book.limits.number if book.limits else 0,
        book.longest_lease_ms,
        tuple(
            (
                name,
                w.epoch,
                w.sequence,
                tuple(sorted(w.booked.items())),
                tuple(sorted(w.caps.items())),
                w.seen_ms,
                w.wants,
            )
            for name, w in sorted(book.workers.items())
        ),
        tuple(sorted(book.leases.items())),
        tuple(sorted(book.unheard)),
        book.remembered,
        tuple(sorted(book.dead)),
    )


def worker_key(book: WorkerBook) -> tuple[object, ...]:
    return (
        book.epoch,
        book.sequence,
        book.limits_known,
        book.starved,
        book.unanswered,
        tuple(sorted(book._caps.items())),
        book.fence_at("p") if book._caps else 0.0,
        book.sent_at,
    )


def told_key(told: Told) -> tuple[object, ...]:
    return (
        told.incarnation,
        told.sequence,
        told.epoch,
        told.limits_known,
        tuple((cell, holding.held, holding.used) for cell, holding in told.cells.items()),
        tuple(told.wants),
    )


def said_key(said: Said) -> tuple[object, ...]:
    return (
        said.to,
        said.sequence,
        said.epoch,
        said.learning,
        tuple(said.caps.items()),
        said.limits.number if said.limits else 0,
        said.starved,
    )


def set_of(requests: tuple[Told, ...]) -> list[Told]:
    """Each message once, however many copies are under way."""
    seen: dict[tuple[str, int], Told] = {}
    for told in requests:
        seen[told.incarnation, told.sequence] = told
    return list(seen.values())
