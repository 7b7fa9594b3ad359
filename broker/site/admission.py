"""Spending grants and knowing sessions on one worker: the part of admission that never waits.

The gateway's fast path calls ``SessionCache.peek`` and ``Cell.take`` inside a protocol
callback: they are synchronous, touch only memory, and read deadlines against a *fresh* ``now``
(CLOCK_BOOTTIME seconds as float), never a timer. What they cannot decide (unknown cookie, no seat,
spent grant) belongs to the coroutines in ``claims.py`` and to ``Cell.wait``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from broker.site.identity import identity_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Closable(Protocol):
    """Something long-lived that a revocation must end: a tunnel or a streaming exchange."""

    def revoke(self) -> None:
        """Close at once; called from the event loop, must not raise."""
        ...


class Ticket:
    """An employee's place in the waiting room as this worker knows it. ``seen_at``: the last poll
    (CLOCK_BOOTTIME seconds). ``cookie``: the signed value of ``signed_at`` that states it.
    ``promised``: an estimate was shown. ``lost``: the ledger has no such ticket any more."""

    __slots__ = ("cookie", "epoch", "lost", "number", "population", "promised", "seen_at",
                 "signed_at")  # fmt: skip

    def __init__(self, population: str, number: int, epoch: str) -> None:
        self.population = population
        self.number = number
        self.epoch = epoch
        self.seen_at = 0.0
        self.cookie: bytes | None = None
        self.signed_at = 0.0
        self.promised = False
        self.lost = False


class Person:
    """One employee on this worker: all browsers share it, as they share the seat.

    ``seat_until`` is CLOCK_BOOTTIME seconds after which the seat must not be trusted without asking
    (0.0: no seat known). ``last_active`` is the last activity; the sync reads it for touches.
    """

    __slots__ = (
        "in_flight",
        "last_active",
        "log_name",
        "name",
        "population",
        "seat_until",
        "sessions",
        "ticket",
        "touched_at",
        "waiting",
    )

    def __init__(self, name: str, population: str, log_name: str) -> None:
        self.name = name
        self.population = population
        self.log_name = log_name
        self.seat_until = 0.0
        self.last_active = 0.0
        self.touched_at = 0.0
        self.in_flight = 0
        self.waiting = 0
        self.ticket: Ticket | None = None
        self.sessions: set[Session] = set()

    def seated_as(self, population: str) -> None:
        """A seat keeps the population it was taken under: so do the grants it spends and what
        backends are told, whatever the directory has said since."""
        if population and population != self.population:
            self.population = population
            for session in self.sessions:
                session.headers = identity_headers(self.name, session.groups, population)
                session.assertions.clear()


class Session:
    """One logged-in browser on this worker, whichever host's cookie brought it.

    ``headers`` is the ready-made identity block (``X-Remote-User: ...\\r\\n`` and so on), injected
    last; the assertion, which is per pool and expires, comes from ``assertion``. ``poll_after``:
    CLOCK_BOOTTIME seconds before which a poll of the waiting room is too soon. ``tied``: good only
    in the networks from which no second factor is needed.
    """

    __slots__ = (
        "assertions",
        "display_name",
        "ends",
        "groups",
        "headers",
        "id",
        "person",
        "poll_after",
        "streams",
        "tied",
        "valid",
    )

    def __init__(
        self,
        session_id: str,
        person: Person,
        display_name: str,
        groups: tuple[str, ...],
        ends: float,
        headers: bytes,
    ) -> None:
        self.id = session_id
        self.person = person
        self.display_name = display_name
        self.groups = groups
        self.ends = ends
        self.valid = True
        self.tied = False
        self.poll_after = 0.0
        self.headers = headers
        self.assertions: dict[str, tuple[bytes, float]] = {}
        self.streams: set[Closable] = set()


class Hold:
    """One connection in flight, counted once. ``release`` is idempotent: twice changes nothing.
    ``cell`` is where it is counted, None once released."""

    __slots__ = ("_person", "cell")

    def __init__(self, cell: Cell, person: Person) -> None:
        self.cell: Cell | None = cell
        self._person = person
        cell.used += 1
        if cell.used > cell.peak:
            cell.peak = cell.used
        person.in_flight += 1

    def release(self) -> None:
        cell = self.cell
        if cell is None:
            return
        self.cell = None
        cell.used -= 1
        self._person.in_flight -= 1
        if cell.waiters:
            cell.serve_waiters()
        elif cell.return_at_once:
            cell.short()


class Cell:
    """What this worker may spend for one pool x population.

    Spendable while ``used < cap`` and ``now < fence_at`` (CLOCK_BOOTTIME seconds, 2 s early).
    ``short`` asks for a sync at once: the grant is spent, somebody waits, or what ended here is
    wanted elsewhere (``return_at_once``). ``peak``: highest ``used`` since the last report.
    """

    __slots__ = ("cap", "clock", "fence_at", "peak", "pool", "population", "return_at_once",
                 "short", "used", "waiters")  # fmt: skip

    def __init__(
        self, pool: str, population: str, short: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self.pool = pool
        self.population = population
        self.cap = 0
        self.used = 0
        self.peak = 0
        self.fence_at = 0.0
        self.return_at_once = False
        self.waiters: deque[Waiter] = deque()
        self.short = short
        self.clock = clock

    def take(self, person: Person, now: float) -> Hold | None:
        """Spend one now, or None. Whoever already waits goes first."""
        if self.used < self.cap and now < self.fence_at and not self.waiters:
            hold = Hold(self, person)
            if self.used == self.cap:
                self.short()
            return hold
        return None

    async def wait(self, person: Person, seconds: float) -> Hold | None:
        """Spend one within ``seconds``, first come first served; None when it passed."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Hold | None] = loop.create_future()
        waiter = Waiter(person, future, self.clock())
        self.waiters.append(waiter)
        person.waiting += 1
        self.short()
        timer = loop.call_later(seconds, waiter.give_up)
        try:
            self.serve_waiters()
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and (hold := future.result()) is not None:
                hold.release()
            raise
        finally:
            person.waiting -= 1
            timer.cancel()
            waiter.give_up()
            if waiter in self.waiters:
                self.waiters.remove(waiter)

    def serve_waiters(self) -> None:
        """Hand freed or newly granted connections to those who wait, oldest first."""
        now = self.clock()
        while self.waiters and self.used < self.cap and now < self.fence_at:
            waiter = self.waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_result(Hold(self, waiter.person))

    def oldest_want(self) -> float | None:
        """CLOCK_BOOTTIME seconds at which the oldest waiter came, or None."""
        return self.waiters[0].since if self.waiters else None


class Waiter:
    """Somebody inside ``Cell.wait``."""

    __slots__ = ("future", "person", "since")

    def __init__(self, person: Person, future: asyncio.Future[Hold | None], since: float) -> None:
        self.person = person
        self.future = future
        self.since = since

    def give_up(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Spending:
    """All cells of this worker, and the cap per employee (enforced per worker)."""

    def __init__(
        self, per_employee: int, short: Callable[[], None], clock: Callable[[], float]
    ) -> None:
        self.per_employee = per_employee
        self._short = short
        self._clock = clock
        self._cells: dict[str, dict[str, Cell]] = {}

    def cells(self, pool: str) -> dict[str, Cell]:
        """The live mapping population -> Cell of one pool; the gateway keeps a reference to it."""
        return self._cells.setdefault(pool, {})

    def cell(self, pool: str, population: str) -> Cell:
        """The cell, made on first use (with nothing to spend until the next sync)."""
        cells = self.cells(pool)
        found = cells.get(population)
        if found is None:
            found = cells[population] = Cell(pool, population, self._short, self._clock)
        return found

    def all(self) -> Iterator[Cell]:
        for cells in self._cells.values():
            yield from cells.values()
