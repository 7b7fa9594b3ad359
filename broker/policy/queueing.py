"""Who is called next when seats are free or can be reclaimed: a decision over explicit state.

Inside a population the order is that of the ticket numbers (FIFO). Across populations:

0. *On-call* staff: a population that holds fewer seats than its ``seats_on_call`` goes before all
   others, and what it gets so costs nobody a turn. After ``ON_CALL_IN_A_ROW`` such calls that
   passed over somebody, one of the others goes first: staff that comes and goes starves nobody.
1. *Owners*, populations below their guarantee, come first; then *borrowers* of weight above 0;
   then those of weight 0, whom only their guarantee or an otherwise empty queue serves.
2. Inside each of these tiers the stride scheduler decides (Waldspurger and Weihl, "Stride
   Scheduling", 1995): each call moves a population's *pass* by ``STRIDE / weight`` and the lowest
   pass is next. Nobody saves up credit: a pass lags at most ``LAG`` behind the front. Owners and
   borrowers have passes of their own: what one gets as an owner neither costs nor brings it turns
   as a borrower, and a busy owner cannot move the front away from two borrowers so that ties
   between them always fall the same way.
3. After ``OWNERS_IN_A_ROW`` calls of owners that passed over a waiting borrower, one borrower goes
   first. So guarantees that add up to the whole site cannot starve a population of weight above 0.

An absent ticket at the head is skipped and keeps its number; it comes back before everybody with a
higher one. When nobody may take a free seat, the longest idle reclaimable seat goes whose return
brings a present waiting employee nearer; never one that helps nobody. The Lua of
``ledger/lua/lib_calls.lua`` repeats this (kept equal by a differential property test).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.policy.seats import is_owner, may_take, reclaimable, shortage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.limits import LimitsDocument

STRIDE = 1 << 20
LAG = 8 * STRIDE
OWNERS_IN_A_ROW = 8
ON_CALL_IN_A_ROW = 8


@dataclass(frozen=True, slots=True)
class Waiter:
    """A ticket in the queue of its population, and when its owner was last heard of."""

    employee: str
    seen_ms: int


@dataclass(frozen=True, slots=True)
class IdleSeat:
    """An occupied seat and its last activity."""

    employee: str
    activity_ms: int


@dataclass(frozen=True, slots=True)
class Turns:
    """One stride scheduler: the pass of each population, and the highest so far."""

    passes: Mapping[str, int] = field(default_factory=dict)
    front: int = 0

    def pass_of(self, name: str) -> int:
        return max(self.passes.get(name, 0), self.front - LAG)

    def after(self, name: str, weight: int) -> Turns:
        """After ``name`` had its turn; weight 0 moves like weight 1."""
        moved = self.pass_of(name) + max(1, STRIDE // max(1, weight))
        return Turns({**self.passes, name: moved}, max(self.front, moved))


@dataclass(frozen=True, slots=True)
class Strides:
    """What is remembered between decisions: the turns of owners and of borrowers, how many owners
    in a row were called while a borrower waited, and how many of on-call staff while anybody did.
    """

    owners: Turns = field(default_factory=Turns)
    borrowers: Turns = field(default_factory=Turns)
    owners_in_a_row: int = 0
    on_call_in_a_row: int = 0


@dataclass(frozen=True, slots=True)
class Calls:
    """What to do, in order within each field: (population, employee) of tickets found ``absent``,
    of seats to ``reclaim``, of tickets to call; and what the scheduler remembers afterwards."""

    absent: tuple[tuple[str, str], ...]
    reclaim: tuple[tuple[str, str], ...]
    call: tuple[tuple[str, str], ...]
    strides: Strides


def is_absent(limits: LimitsDocument, seen_ms: int, now_ms: int) -> bool:
    """Silent for longer than ``absent_ms``."""
    return now_ms - seen_ms > limits.absent_ms


def is_lost(limits: LimitsDocument, silent_since_ms: int, now_ms: int) -> bool:
    """Silent for longer than ``ticket_lost_ms``: the number is given up."""
    return now_ms - silent_since_ms > limits.ticket_lost_ms


def claim_left(limits: LimitsDocument, called_ms: int, now_ms: int) -> int:
    """Milliseconds left of the claim window; 0 when the reserved seat is to be freed."""
    return max(0, called_ms + limits.claim_ms - now_ms)


def next_calls(
    limits: LimitsDocument,
    now_ms: int,
    held: Mapping[str, int],
    queues: Mapping[str, Sequence[Waiter]],
    seats: Mapping[str, Sequence[IdleSeat]],
    strides: Strides,
    most: int,
) -> Calls:
    """Decide at most ``most`` steps (tickets skipped, seats reclaimed, tickets called, together).

    ``held``: occupied + called by population. ``queues``: tickets by number, the lowest first.
    ``seats``: occupied seats by activity, the longest idle first.
    """
    return _Run(limits, now_ms, held, queues, seats, strides, most).calls()


class _Run:
    """The working state of one decision; nothing outlives it."""

    def __init__(
        self,
        limits: LimitsDocument,
        now_ms: int,
        held: Mapping[str, int],
        queues: Mapping[str, Sequence[Waiter]],
        seats: Mapping[str, Sequence[IdleSeat]],
        strides: Strides,
        most: int,
    ) -> None:
        self.limits = limits
        self.now_ms = now_ms
        self.held = dict(held)
        self.queues = queues
        self.seats = seats
        self.next_in_queue = dict.fromkeys(queues, 0)
        self.next_idle = dict.fromkeys(seats, 0)
        self.owners = strides.owners
        self.borrowers = strides.borrowers
        self.owners_in_a_row = strides.owners_in_a_row
        self.on_call_in_a_row = strides.on_call_in_a_row
        self.left = most
        self.absent: list[tuple[str, str]] = []
        self.reclaim: list[tuple[str, str]] = []
        self.call: list[tuple[str, str]] = []

    def calls(self) -> Calls:
        while self.left > 0:
            waiting = self._order([name for name in self.limits.populations if self._head(name)])
            if self.left <= 0:
                break
            free = next((name for name in waiting if may_take(self.limits, self.held, name)), None)
            if free is not None:
                self._call(free, waiting)
            elif not any(self._reclaim_for(name) for name in waiting):
                break
        strides = Strides(self.owners, self.borrowers, self.owners_in_a_row, self.on_call_in_a_row)
        return Calls(tuple(self.absent), tuple(self.reclaim), tuple(self.call), strides)

    def _head(self, name: str) -> Waiter | None:
        """The first present ticket of a population that is admitted; absent ones are set aside."""
        queue = self.queues.get(name, ())
        if not self.limits.populations[name].admitted:
            return None
        while self.left > 0 and self.next_in_queue.get(name, 0) < len(queue):
            waiter = queue[self.next_in_queue[name]]
            if not is_absent(self.limits, waiter.seen_ms, self.now_ms):
                return waiter
            self.absent.append((name, waiter.employee))
            self.next_in_queue[name] += 1
            self.left -= 1
        return None

    def _is_owner(self, name: str) -> bool:
        return is_owner(self.limits, self.held, name)

    def _on_call(self, name: str) -> bool:
        return self.held.get(name, 0) < self.limits.populations[name].seats_on_call

    def _tier(self, name: str) -> int:
        if self._on_call(name):
            return -1 if self.on_call_in_a_row < ON_CALL_IN_A_ROW else 4
        if self._is_owner(name):
            return 1
        if self.limits.populations[name].weight == 0:
            return 3
        return 0 if self.owners_in_a_row >= OWNERS_IN_A_ROW else 2

    def _order(self, waiting: list[str]) -> list[str]:
        """Best first. The sort is stable, so the order of configuration breaks ties."""

        def rank(name: str) -> tuple[int, int]:
            turns = self.owners if self._is_owner(name) else self.borrowers
            return self._tier(name), turns.pass_of(name)

        return sorted(waiting, key=rank)

    def _call(self, name: str, waiting: list[str]) -> None:
        weight = self.limits.populations[name].weight
        if self._tier(name) == -1:  # not a turn of any scheduler
            self.on_call_in_a_row += len(waiting) > 1
        else:
            self.on_call_in_a_row = 0
            self._take_turn(name, weight, waiting)
        waiter = self.queues[name][self.next_in_queue[name]]
        self.next_in_queue[name] += 1
        self.held[name] = self.held.get(name, 0) + 1
        self.call.append((name, waiter.employee))
        self.left -= 1

    def _take_turn(self, name: str, weight: int, waiting: list[str]) -> None:
        if self._is_owner(name):
            self.owners = self.owners.after(name, weight)
            if any(self._contends_as_borrower(other) for other in waiting):
                self.owners_in_a_row = min(self.owners_in_a_row + 1, OWNERS_IN_A_ROW)
        else:
            self.borrowers = self.borrowers.after(name, weight)
            self.owners_in_a_row = 0

    def _contends_as_borrower(self, name: str) -> bool:
        own = self.limits.populations[name]
        below_maximum = self.held.get(name, 0) < own.seats_maximum
        return own.weight > 0 and below_maximum and not self._is_owner(name)

    def _reclaim_for(self, name: str) -> bool:
        """Reclaim the seats whose return lets ``name`` take one; none when they do not suffice. If
        the steps run out first, what was found goes: the next run continues."""
        lacking = shortage(self.limits, self.held, name)
        if lacking is None:
            return False
        held, next_idle = dict(self.held), dict(self.next_idle)
        found: list[tuple[str, str]] = []
        while lacking and len(found) < self.left:
            source = self._source(name, lacking, held, next_idle)
            if source is None:
                return False
            found.append((source, self.seats[source][next_idle[source]].employee))
            next_idle[source] += 1
            held[source] -= 1
            lacking = shortage(self.limits, held, name)
        self.held, self.next_idle = held, next_idle
        self.reclaim += found
        self.left -= len(found)
        return True

    def _source(
        self, name: str, lacking: int, held: Mapping[str, int], next_idle: Mapping[str, int]
    ) -> str | None:
        """The population whose longest idle seat, among those that bring ``name`` nearer, is the
        longest idle of all."""
        best: str | None = None
        best_ms = 0
        for source, seats in self.seats.items():
            if next_idle[source] >= len(seats):
                continue
            activity_ms = seats[next_idle[source]].activity_ms
            if not reclaimable(self.limits, activity_ms, self.now_ms):
                continue
            after = shortage(self.limits, {**held, source: held[source] - 1}, name)
            brings_nearer = after is not None and after < lacking
            if brings_nearer and (best is None or activity_ms < best_ms):
                best, best_ms = source, activity_ms
        return best
