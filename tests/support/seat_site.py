"""A small site of seats, tickets and levels, for the model checker to explore.

The ledger is production code: ``MemorySeats`` (the twin, which decides with ``policy/queueing.py``
and ``policy/seats.py``), ``GrantBook`` for epochs and learning, ``orders`` and ``ramp`` for raises
and their ends. Of a worker ``WorkerBook`` is production code too; what it remembers of seats and
tickets is written down here as ``site/claims.py``, ``site/sync.py`` and ``site/waiting_room.py``
have it. Replies may be lost, workers crash, Redis forgets all or its last writes, people come,
poll, fall silent, log out. Time passes in steps of ``STEP_MS`` that fall between all windows: a
claim lasts one of them, a seat is idle and a lease over after two, a ticket is lost after three. A
site is changed by one action at a time, on a copy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker.ledger.memory_seats import MemorySeats, Seat, Ticket
from broker.policy.capacity import Base, Capacity, Level
from broker.policy.grant_book import GrantBook
from broker.policy.levels import in_force
from broker.policy.limits import LimitsDocument
from broker.policy.orders import Order, level, lower, raise_to
from broker.policy.ramp import next_move
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import Accepted, WorkerBook
from broker.site.claims import trusted_for
from tests.support.grant_world import Said, book_key, copy_book, copy_worker_book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.ledger.port import SeatAnswer

STEP_MS = 50_000
CLAIM_MS = ABSENT_MS = 60_000
IDLE_MS = LEASE_MS = 90_000
LOST_MS = 120_000
START_MS = 1_000_000
PEOPLE = ("ann", "bob", "eve", "kim")
HOME = ("c0", "c0", "c0", "c1")
"""The population of each of them; the last one's is admitted only in the level ``open``."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a scenario may contain, and how often. ``seated``: who has a seat in the beginning, the
    others of ``people`` wait in this order; ``scale``: a raise in force from the beginning."""

    people: int = 3
    seated: int = 1
    waiting: int = 0
    workers: int = 2
    seats: int = 1
    scale: float = 1.0
    asks: int = 3
    polls: int = 0
    leaves: int = 0
    syncs: int = 2
    losses: int = 0
    steps: int = 0
    crashes: int = 0
    raises: int = 0
    lowers: int = 0
    opens: int = 0
    ends: int = 0
    forgets_all: int = 0
    forgets_last: int = 0


@dataclass(slots=True)
class Place:
    """A ticket as a worker or a browser knows it. ``heard_ms``: when its owner was last heard."""

    number: int
    population: str
    epoch: str
    heard_ms: int


@dataclass(slots=True)
class Memory:
    """One worker's: who is let in without asking and until when, who was active when, of whom the
    ledger was not told since (``untold``), whose ticket is known. ``owes``: to write that back."""

    book: WorkerBook
    alive: bool = True
    trusted: dict[str, int] = field(default_factory=dict)
    active: dict[str, int] = field(default_factory=dict)
    untold: set[str] = field(default_factory=set)
    places: dict[str, Place] = field(default_factory=dict)
    limits: LimitsDocument | None = None
    acknowledged: int = 0
    owes: bool = False


@dataclass(slots=True)
class Mutation:
    """Production code, except for the rule that a mutation leaves out."""

    seats: type[MemorySeats] = MemorySeats
    book: type[GrantBook] = GrantBook
    trusts_for_ever: bool = False
    publishes_over: bool = False
    writes_nothing_back: bool = False
    keeps_the_older: bool = False


@dataclass(slots=True)
class Ledger:
    """What the parts of the twin share, and those parts."""

    grants: GrantBook
    seats: MemorySeats = field(init=False)
    now: int = START_MS

    @property
    def learning(self) -> bool:
        return self.grants.learning

    @property
    def limits(self) -> LimitsDocument | None:
        return self.grants.limits


def first_capacity(seats: int) -> Capacity:
    names = ("c0", "c1")
    pool = PoolLimits(Share(9), {name: Share(9) for name in names}, lease_ms=LEASE_MS)
    populations = {
        "c0": PopulationLimits(admitted=True, seats_maximum=seats),
        "c1": PopulationLimits(admitted=False, seats_maximum=seats),
    }
    levels = {"open": Level(1.0, names)}
    return Capacity(Base(seats, 9, populations, {"p": pool}, levels=levels))


def first_document(seats: int) -> LimitsDocument:
    blank = LimitsDocument(
        1, "", 1.0, 0, 0, {}, {}, idle_ms=IDLE_MS, claim_ms=CLAIM_MS, absent_ms=ABSENT_MS,
        ticket_lost_ms=LOST_MS,
    )  # fmt: skip
    return in_force(first_capacity(seats), blank)


@dataclass(slots=True)
class Site:
    bounds: Bounds
    mutation: Mutation
    ledger: Ledger
    workers: list[Memory]
    cookies: dict[str, Place] = field(default_factory=dict)
    first_told: dict[str, int] = field(default_factory=dict)
    """The first number that each waiting browser was told: the order of the queue, for ever."""
    gone: set[str] = field(default_factory=set)
    """Who logged out and did not come again: what workers know of revocations."""
    published: dict[int, LimitsDocument] = field(default_factory=dict)
    ended: dict[int, int] = field(default_factory=dict)
    saved: Ledger | None = None
    epochs: int = 1
    left: dict[str, int] = field(default_factory=dict)

    # --- the parts

    @property
    def now(self) -> int:
        return self.ledger.now

    def copy(self) -> Site:
        return Site(
            self.bounds,
            self.mutation,
            copy_ledger(self.ledger),
            [copy_memory(worker) for worker in self.workers],
            dict(self.cookies),
            dict(self.first_told),
            set(self.gone),
            dict(self.published),
            dict(self.ended),
            self.saved,
            self.epochs,
            dict(self.left),
        )

    def key(self) -> tuple[object, ...]:
        """Equal for sites whose futures are equal."""
        return (
            ledger_key(self.ledger),
            *(memory_key(worker) for worker in self.workers),
            _places(self.cookies),
            tuple(sorted(self.first_told.items())),
            tuple(sorted(self.gone)),
            tuple((n, d.seats_limit) for n, d in sorted(self.published.items())),
            *(worker.acknowledged for worker in self.workers),
            tuple(sorted(self.ended.items())),
            None if self.saved is None else ledger_key(self.saved),
            tuple(sorted(self.left.items())),
        )

    def inside(self) -> set[str]:
        """Whoever counts: seated or called by the ledger, or let in by a live worker's trust, as
        far as it may begin anything there (before its fence)."""
        seats = self.ledger.seats
        inside = set(seats._seats)
        inside.update(e for e, t in seats._tickets.items() if t.called_ms is not None)
        for worker in self.workers:
            if worker.alive and self.now / 1000 < worker.book.fence_at("p"):
                inside.update(e for e, until in worker.trusted.items() if until > self.now)
        return inside - self.gone

    def in_force(self) -> list[LimitsDocument]:
        """The newest limits, and any that a live worker still goes by: a lowered one is in force
        when all of them have acknowledged it. What was acknowledged, no fault of Redis undoes."""
        known = [w.acknowledged for w in self.workers if w.alive and w.acknowledged]
        newest = max(self.published)
        oldest = min(known, default=newest)
        return [document for n, document in self.published.items() if n >= oldest]

    # --- what may happen

    def actions(self) -> Iterator[tuple[str, Callable[[Site], None]]]:
        for i, worker in enumerate(self.workers):
            if not worker.alive:
                yield f"worker {i} is buried and replaced", _call(Site.replace_worker, i)
                continue
            for e in self._known_people():
                if self._may("asks"):
                    yield f"{e} asks {i}", _call(Site.ask, i, e)
                    if self._may("losses"):
                        yield f"{e} asks {i}, reply lost", _call(Site.ask, i, e, False)
                if self._may("polls") and e in self.cookies:
                    yield f"{e} polls {i}", _call(Site.poll, i, e)
            if self._may("syncs"):
                yield f"sync {i}", _call(Site.sync, i)
                if self._may("losses"):
                    yield f"sync {i}, reply lost", _call(Site.sync, i, False)
            if self._may("crashes"):
                yield f"crash {i}", _call(Site.crash, i)
            if self._may("ends") and self._end_is_due(worker):
                yield f"steward {i}", _call(Site.steward, i)
        for e in self._known_people():
            if self._may("leaves"):
                yield f"{e} logs out", _call(Site.leave, e)
        if self.ledger.limits is not None and not self.ledger.learning:
            for what, change in (("raises", 2.0), ("lowers", None), ("opens", 1.0)):
                if self._may(what) and self._order(what, change) is not None:
                    yield what, _call(Site.publish_order, what, change)
        if self._may("forgets_all"):
            yield "redis forgets all", Site.forget_all
        if self._may("forgets_last"):
            if self.saved is None:
                yield "redis saves", Site.save
            else:
                yield "redis forgets its last writes", Site.forget_last
        if self._may("steps"):
            yield "time passes", Site.step

    def _may(self, what: str) -> bool:
        return bool(self.left.get(what, getattr(self.bounds, what)) > 0)

    def _spend(self, what: str) -> None:
        self.left[what] = self.left.get(what, getattr(self.bounds, what)) - 1

    def _known_people(self) -> tuple[str, ...]:
        return (
            PEOPLE[len(PEOPLE) - self.bounds.people :]
            if self.bounds.opens
            else PEOPLE[: self.bounds.people]
        )

    # --- people

    def ask(self, i: int, e: str, heard: bool = True) -> None:
        """A request, or the waiting page: takes, keeps or claims the seat, else a ticket."""
        self._spend("asks")
        if not heard:
            self._spend("losses")
        worker = self.workers[i]
        worker.active[e] = self.now
        self.gone.discard(e)
        if worker.trusted.get(e, 0) > self.now:
            worker.untold.add(e)
            self._told(i, e, None)
            return
        self._put_back(i, e)
        self._pass_time()
        answer = self.ledger.seats.admit(e, HOME[PEOPLE.index(e)])
        if heard:
            self._hear(i, e, answer)

    def poll(self, i: int, e: str) -> None:
        self._spend("polls")
        self._put_back(i, e)
        self._pass_time()
        self._hear(i, e, self.ledger.seats.look(e, present=True))

    def leave(self, e: str) -> None:
        """Logged out; every worker has heard of it."""
        self._spend("leaves")
        self._pass_time()
        self.ledger.seats.release(e)
        for worker in self.workers:
            worker.untold.discard(e)
            for known in (worker.trusted, worker.active, worker.places):
                known.pop(e, None)
        self._told(0, e, None)
        self.gone.add(e)

    def _hear(self, i: int, e: str, answer: SeatAnswer) -> None:
        """As ``Claims._ask`` and ``WaitingRoom.met``."""
        worker = self.workers[i]
        if answer.state == "seated":
            worker.trusted[e] = self.now + self._trusted_ms()
            worker.untold.discard(e)
            worker.places.pop(e, None)
            self._told(i, e, None)
        elif answer.number is not None:
            epoch = worker.book.epoch
            place = Place(answer.number, answer.population, epoch, self.now)
            worker.places[e] = place
            self._told(i, e, replace(place))
        elif answer.state != "learning":
            worker.places.pop(e, None)
            self._told(i, e, None)

    def _trusted_ms(self) -> int:
        return 10**9 if self.mutation.trusts_for_ever else int(1000 * trusted_for(IDLE_MS / 1000))

    def _told(self, i: int, e: str, place: Place | None) -> None:
        if place is None:
            self.cookies.pop(e, None)
            self.first_told.pop(e, None)
        else:
            self.cookies[e] = place
            self.first_told.setdefault(e, place.number)

    def _put_back(self, i: int, e: str) -> None:
        """As ``WaitingRoom.former``: what the worker knows, else what the browser shows."""
        worker = self.workers[i]
        place = worker.places.get(e) or self.cookies.get(e)
        if place is not None and place.epoch != worker.book.epoch:
            self._write_place(e, place)
            if e in worker.places:
                worker.places[e].epoch = worker.book.epoch

    def _write_place(self, e: str, place: Place) -> None:
        self._pass_time()
        if place.epoch != self.ledger.grants.epoch:
            silent_ms = self.now - place.heard_ms
            self.ledger.seats.put_back(e, place.population, place.number, silent_ms)

    # --- workers

    def sync(self, i: int, heard: bool = True) -> None:
        """As ``Sync.once``: what is owed after an epoch change is written back first."""
        self._spend("syncs")
        if not heard:
            self._spend("losses")
        worker, ledger = self.workers[i], self.ledger
        if worker.owes:
            self._write_back(worker)
        told = worker.book.report(self.now / 1000, [])
        touches = {e: worker.active[e] for e in worker.untold}
        self._pass_time()
        same_epoch = told.epoch == ledger.grants.epoch
        lost: set[str] = set()
        if same_epoch:
            for e, at in touches.items():
                seat = ledger.seats._seats.get(e)
                if seat is None:
                    lost.add(e)
                else:
                    seat.activity_ms = max(seat.activity_ms, at)
        answer = ledger.grants.sync(told, self.now)
        ledger.seats.run_calls()
        if not heard:
            return
        limits = ledger.grants.limits
        said = Said(
            i, told.sequence, ledger.grants.epoch, ledger.grants.learning, dict(answer.caps),
            dict(answer.leases), limits, answer.starved, answer.bases,
        )  # fmt: skip
        accepted = worker.book.accept(said)
        if accepted is Accepted.EPOCH:
            worker.owes = worker.limits is not None
            return
        for e in touches:
            worker.untold.discard(e)
            if e in lost:
                worker.trusted.pop(e, None)
            else:
                worker.trusted[e] = max(worker.trusted[e], touches[e] + self._trusted_ms())
        if limits is not None:
            worker.limits = limits
            worker.acknowledged = max(worker.acknowledged, limits.number)

    def _write_back(self, worker: Memory) -> None:
        """As ``Sync._write_back``."""
        worker.owes = False
        if not self.mutation.writes_nothing_back:
            self._pass_time()
            for e in self.gone:
                self.ledger.seats.give_back(e)
            held = [
                (e, HOME[PEOPLE.index(e)], self.now - worker.active[e])
                for e, until in worker.trusted.items()
                if until > self.now
            ]
            self.ledger.seats.restore(held)
            for e, place in worker.places.items():
                if place.epoch != worker.book.epoch:
                    self._write_place(e, place)
                    place.epoch = worker.book.epoch
        known, present = worker.limits, self.ledger.limits
        if known is None:
            return
        number = 0 if present is None else present.number
        if present is None or (number < known.number and not self.mutation.keeps_the_older):
            self._publish(known, number)

    def crash(self, i: int) -> None:
        self._spend("crashes")
        self.workers[i] = Memory(self.workers[i].book, alive=False)

    def replace_worker(self, i: int) -> None:
        """The supervisor's tombstone; another incarnation in its place."""
        book = self.workers[i].book
        self._pass_time()
        self.ledger.grants.bury(book.incarnation, self.now)
        self.ledger.grants.pass_time(self.now)
        self.ledger.seats.run_calls()
        self.workers[i] = Memory(WorkerBook(f"{book.incarnation}'"))

    # --- limits

    def publish_order(self, what: str, change: float | None) -> None:
        self._spend(what)
        capacity = self._order(what, change)
        assert capacity is not None
        assert self.ledger.limits is not None
        self._publish(in_force(capacity, self.ledger.limits), self.ledger.limits.number)

    def _order(self, what: str, change: float | None) -> Capacity | None:
        """None: refused, for there is nothing to lower."""
        limits = self.ledger.limits
        assert limits is not None
        assert limits.capacity is not None
        order = Order("op", "why", limits.number, self.now, self.now, factor=None)
        capacity = limits.capacity
        if what == "raises":
            ends = self.now + STEP_MS if self.bounds.ends else None
            return None if capacity.site else raise_to(capacity, order, change or 1.0, ends_ms=ends)
        if what == "lowers":
            return lower(capacity, order) if capacity.site else None
        return level(capacity, order, "normal" if capacity.level else "open")

    def _publish(self, document: LimitsDocument, if_match: int) -> bool:
        """As ``Ledger.publish``: False where the number is stale."""
        self._pass_time()
        present = self.ledger.limits
        number = present.number if present is not None else 0
        if number != if_match and not self.mutation.publishes_over:
            return False
        published = replace(document, number=max(number, document.number) + 1)
        self.ledger.grants.put_limits(published)
        self.ledger.seats.run_calls()
        self.published[published.number] = published
        return True

    def _end_is_due(self, worker: Memory) -> bool:
        limits = worker.limits
        if limits is None or limits.capacity is None or worker.book.learning:
            return False
        return next_move(limits.capacity, {}, self.now, self.now) is not None

    def steward(self, i: int) -> None:
        """Believes that it is the steward, and acts on the document that it knows."""
        self._spend("ends")
        limits = self.workers[i].limits
        assert limits is not None
        assert limits.capacity is not None
        move = next_move(limits.capacity, {}, self.now, self.now)
        assert move is not None
        if self._publish(in_force(move.capacity, limits), limits.number):
            self.ended[move.change.name] = self.ended.get(move.change.name, 0) + 1

    # --- Redis and time

    def forget_all(self) -> None:
        self._spend("forgets_all")
        self.epochs += 1
        grants = self.mutation.book(f"e{self.epochs}", self.now, settling_ms=0)
        grants.begin_epoch(grants.epoch, self.now)
        # Until the limits are written back the longest lease is not known; here it is short.
        grants.longest_lease_ms = LEASE_MS
        self.ledger = Ledger(grants, self.now)
        self.ledger.seats = self.mutation.seats(self.ledger)
        self.ledger.seats.epoch_changed()

    def save(self) -> None:
        self.saved = copy_ledger(self.ledger)

    def forget_last(self) -> None:
        assert self.saved is not None
        self._spend("forgets_last")
        now, self.epochs = self.now, self.epochs + 1
        self.ledger, self.saved = copy_ledger(self.saved), None
        self.ledger.now = now
        self.ledger.grants.begin_epoch(f"e{self.epochs}", now)
        self.ledger.seats.epoch_changed()

    def step(self) -> None:
        self._spend("steps")
        self.ledger.now += STEP_MS
        for e, place in list(self.cookies.items()):
            if self.now - place.heard_ms > LOST_MS:
                self.first_told.pop(e, None)  # silent for so long the place is lost

    def _pass_time(self) -> None:
        self.ledger.grants.pass_time(self.now)


def _call(what: Callable[..., None], *arguments: object) -> Callable[[Site], None]:
    return lambda site: what(site, *arguments)


def begin(bounds: Bounds, mutation: Mutation | None = None) -> Site:
    """Every worker has been heard and knows the limits; ``seated`` people have a seat by worker 0,
    ``waiting`` more of them wait, by the last worker."""
    mutation = mutation or Mutation()
    grants = mutation.book("e1", START_MS, settling_ms=0)
    ledger = Ledger(grants)
    ledger.seats = mutation.seats(ledger)
    site = Site(
        replace(bounds, syncs=99, asks=99, raises=1, ends=0),
        mutation,
        ledger,
        [Memory(WorkerBook(f"w{number}")) for number in range(bounds.workers)],
    )
    document = first_document(bounds.seats)
    grants.put_limits(document)
    grants.start_first()
    site.published[document.number] = document
    if bounds.scale > 1:
        site.publish_order("raises", bounds.scale)
    for i in range(bounds.workers):
        for _ in range(2):
            site.sync(i)
    people = site._known_people()
    for number, e in enumerate(people[: bounds.seated + bounds.waiting]):
        site.ask(0 if number < bounds.seated else bounds.workers - 1, e)
    site.bounds, site.left = bounds, {}
    return site


# --- copies and keys: plain and fast, because they are most of the checker's time


def copy_ledger(ledger: Ledger) -> Ledger:
    made = Ledger(copy_book(ledger.grants), ledger.now)
    old = ledger.seats
    seats = made.seats = type(old)(made)
    seats._seats = {e: Seat(s.population, s.activity_ms) for e, s in old._seats.items()}
    seats._tickets = {
        e: Ticket(t.number, t.population, t.seen_ms, t.called_ms, t.silent_ms, t.ended)
        for e, t in old._tickets.items()
    }
    seats._numbers = dict(old._numbers)
    seats._called_upto = dict(old._called_upto)
    seats._populations = set(old._populations)
    seats._strides = old._strides
    seats._calls = {name: dict(calls) for name, calls in old._calls.items()}
    seats._put_back = set(old._put_back)
    seats.ticket_base = old.ticket_base
    seats.seats_survived = old.seats_survived
    return made


def copy_memory(worker: Memory) -> Memory:
    return Memory(
        copy_worker_book(worker.book),
        worker.alive,
        dict(worker.trusted),
        dict(worker.active),
        set(worker.untold),
        {e: replace(place) for e, place in worker.places.items()},
        worker.limits,
        worker.acknowledged,
        worker.owes,
    )


def ledger_key(ledger: Ledger) -> tuple[object, ...]:
    seats = ledger.seats
    return (
        ledger.now,
        book_key(ledger.grants),
        tuple(sorted((e, s.population, s.activity_ms) for e, s in seats._seats.items())),
        tuple(
            (e, t.number, t.population, t.seen_ms, t.called_ms, t.silent_ms, t.ended)
            for e, t in sorted(seats._tickets.items())
        ),
        tuple(sorted(seats._numbers.items())),
        tuple(sorted(seats._put_back)),
        seats.ticket_base,
        seats.seats_survived,
    )


def memory_key(worker: Memory) -> tuple[object, ...]:
    book = worker.book
    return (
        worker.alive,
        book.incarnation,
        book.epoch,
        book.sequence,
        book.learning,
        book.fence_at("p"),
        tuple(sorted(worker.trusted.items())),
        tuple(sorted(worker.active.items())),
        tuple(sorted(worker.untold)),
        _places(worker.places),
        worker.limits.number if worker.limits else 0,
        worker.owes,
    )


def _places(places: dict[str, Place]) -> tuple[object, ...]:
    return tuple((e, p.number, p.epoch, p.heard_ms) for e, p in sorted(places.items()))
