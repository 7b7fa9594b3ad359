"""Seats and tickets in memory: the twin of ``book_seats.py``, deciding with the pure policy.

Used by tests, what-if and the model checker; it must answer every call exactly as the Lua does, so
its steps follow ``lua/lib_seats.lua`` and ``lua/lib_calls.lua`` one by one, ties and bounds
included. Plain dictionaries, sorted on demand: correctness first, not speed. It reads no clock:
``state`` tells ledger time, learning and the limits in force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from broker.ledger.port import QueueView, SeatAnswer
from broker.policy.eviction import seats_to_end
from broker.policy.forecast import STRETCHES, stretch_of
from broker.policy.queueing import (
    IdleSeat,
    Strides,
    Waiter,
    claim_left,
    is_absent,
    is_lost,
    next_calls,
)
from broker.policy.seats import may_take
from broker.policy.standing import marked_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.ledger.port import Promise, Touch
    from broker.policy.limits import LimitsDocument
    from broker.policy.seats import SeatState

LOST_AFTER_MS = 1_800_000  # while there are no limits
EXPIRY_ENTRIES = 250
CALL_ENTRIES = 250


class LedgerState(Protocol):
    """What all books of the twin share: ledger time (ms), learning, the document in force."""

    @property
    def now(self) -> int: ...

    @property
    def learning(self) -> bool: ...

    @property
    def limits(self) -> LimitsDocument | None: ...


@dataclass(slots=True)
class Seat:
    population: str
    activity_ms: int


@dataclass(slots=True)
class Ticket:
    """``called_ms``: a seat is reserved. ``silent_ms``: absent, unclaimed or ended since. Neither:
    waiting, last heard of at ``seen_ms``. ``ended``: its population is not admitted any more.
    ``promised_ms``: until when a call was promised; 0: it was called."""

    number: int
    population: str
    seen_ms: int
    called_ms: int | None = None
    silent_ms: int | None = None
    ended: bool = False
    promised_ms: int | None = None

    @property
    def waits(self) -> bool:
        return self.called_ms is None and self.silent_ms is None


class MemorySeats:
    """The seat book of the twin. Methods answer as the port's of the same name."""

    def __init__(self, state: LedgerState) -> None:
        self._state = state
        self._seats: dict[str, Seat] = {}
        self._tickets: dict[str, Ticket] = {}
        self._numbers: dict[str, int] = {}
        self._called_upto: dict[str, int] = {}
        self._populations: set[str] = set()
        self._strides = Strides()
        self._calls: dict[str, dict[int, int]] = {}
        self._put_back: set[str] = set()
        self.ticket_base = 0
        self.estimates_shown = 0
        self.estimates_kept = 0
        self.seats_survived = False
        self.sweeps: list[Callable[[int], int]] = []

    # --- the port

    def admit(self, employee: str, population: str) -> SeatAnswer:
        return self.admit_all(((employee, population),))[0]

    def admit_all(self, asking: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        answers = [self._at_once(employee, population) for employee, population in asking]
        if any(answer is None or answer.state == "not_admitted" for answer in answers):
            self.run_calls()
        return [
            answer or self._after_the_calls(employee)
            for answer, (employee, _) in zip(answers, asking, strict=True)
        ]

    def _at_once(self, employee: str, population: str) -> SeatAnswer | None:
        """What can be said before the calls; None: there is a ticket and the calls decide."""
        seat = self._seats.get(employee)
        if seat is not None:
            seat.activity_ms = max(seat.activity_ms, self._state.now)
            return self._answer("seated", seat.population)
        ticket = self._tickets.get(employee)
        if self._state.learning:
            if ticket is not None:
                self._heard(ticket)
            return self._answer("learning", ticket.population if ticket else population, ticket)
        if ticket is not None and (ticket.ended or not self._admitted(ticket.population)):
            del self._tickets[employee]
            ticket = None
        if ticket is not None:
            if ticket.called_ms is not None and self._claim_left(ticket) > 0:
                return self._claim(employee, ticket)
            if ticket.called_ms is not None:
                self._uncall(ticket)
            self._heard(ticket)
            return None
        if not self._admitted(population):
            return self._answer("not_admitted", population)
        nobody_waits = not any(other.waits for other in self._tickets.values())
        if nobody_waits and self._may_take(population):
            self.occupy(employee, population, self._state.now)
            return self._answer("seated", population)
        number = max(self._numbers.get(population, 0), self.ticket_base) + 1
        self._store_ticket(employee, population, number, self._state.now)
        return None

    def _after_the_calls(self, employee: str) -> SeatAnswer:
        seat = self._seats.get(employee)
        if seat is not None:  # asked twice
            return self._answer("seated", seat.population)
        ticket = self._tickets.get(employee)
        if ticket is None:  # the sweep ended the employee's last session
            return self._answer("gone", "")
        if ticket.called_ms is not None:
            return self._claim(employee, ticket)
        return self._answer("waiting", ticket.population, ticket)

    def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        seat = self._seats.get(employee)
        if seat is not None:
            idle_ms = self._state.now - seat.activity_ms
            return replace(self._answer("seated", seat.population), idle_ms=idle_ms)
        ticket = self._tickets.get(employee)
        if self._state.learning:
            if ticket is not None and present:
                self._heard(ticket)
            return self._answer("learning", ticket.population if ticket else "", ticket)
        if ticket is None:
            return self._answer("gone", "")
        if not self._admitted(ticket.population):
            if not ticket.ended:
                self._end(ticket)
                self.run_calls()
            return self._answer("not_admitted", ticket.population)
        if ticket.ended:
            del self._tickets[employee]
            return self._answer("gone", "")
        unclaimed = ticket.called_ms is not None and self._claim_left(ticket) == 0
        if unclaimed:
            self._uncall(ticket)
        if present:
            self._heard(ticket)
        if present or unclaimed:
            self.run_calls()
        if employee not in self._tickets:  # the sweep ended the employee's last session
            return self._answer("gone", "")
        state: SeatState = "waiting" if ticket.called_ms is None else "called"
        return self._answer(state, ticket.population, ticket)

    def put_back(self, employee: str, population: str, number: int, silent_ms: int) -> None:
        """A ticket of a former epoch; see ``lua/lib_seats.lua``."""
        limits = self._state.limits
        lost_after = limits.ticket_lost_ms if limits is not None else LOST_AFTER_MS
        if silent_ms > lost_after or employee in self._seats or employee in self._put_back:
            return
        self._put_back.add(employee)
        ticket = self._tickets.get(employee)
        if ticket is not None:
            survived = not ticket.ended and ticket.number <= self.ticket_base
            if survived or ticket.called_ms is not None:
                return
        self._store_ticket(employee, population, number, self._state.now - max(0, silent_ms))

    def remove_ticket(self, employee: str) -> bool:
        ticket = self._tickets.get(employee)
        if ticket is None or ticket.ended:
            return False
        del self._tickets[employee]
        self.run_calls()
        return True

    def release(self, employee: str) -> bool:
        if not self.give_back(employee):
            return False
        self.run_calls()
        return True

    def evict_idle(self, most: int) -> int:
        limits = self._state.limits
        if self._state.learning or limits is None:
            return 0
        idle = {name: self._idle_order(name) for name in self.populations()}
        ended = seats_to_end(limits, self._state.now, self._held(), idle, most)
        for _population, employee in ended:
            del self._seats[employee]
        self.run_calls()
        return len(ended)

    def idle(self, idle_ms: Sequence[int]) -> dict[str, tuple[int, ...]]:
        """By population, how many seats are idle for longer than each of the times."""
        now = self._state.now
        return {
            name: tuple(
                sum(now - seat.activity_ms > longer for seat in self._idle_order(name))
                for longer in idle_ms
            )
            for name in self.populations()
        }

    # --- for the other books of the twin

    def give_back(self, employee: str) -> bool:
        """Seat and ticket go; the caller runs the calls."""
        seat = self._seats.pop(employee, None)
        ticket = self._tickets.pop(employee, None)
        return seat is not None or ticket is not None

    def occupy(self, employee: str, population: str, activity_ms: int) -> None:
        self._tickets.pop(employee, None)
        self._seats[employee] = Seat(population, activity_ms)
        self._populations.add(population)

    def restore(self, seats: Iterable[tuple[str, str, int]]) -> None:
        """(employee, population, idle_ms), set if absent; see ``lua/restore_seats.lua``."""
        blank = self._state.learning and not self.seats_survived
        for employee, population, idle_ms in seats:
            activity_ms = self._state.now - max(0, idle_ms)
            held = self._seats.get(employee)
            if held is not None:
                held.activity_ms = max(held.activity_ms, activity_ms)
            elif blank or self._may_take(population):
                self.occupy(employee, population, activity_ms)

    def apply_touches(self, touches: Iterable[Touch]) -> tuple[str, ...]:
        """Activity moves forward only; returns the employees that hold no seat."""
        lost = []
        for touch in touches:
            seat = self._seats.get(touch.employee)
            if seat is None:
                lost.append(touch.employee)
            else:
                activity_ms = self._state.now - max(0, touch.idle_ms)
                seat.activity_ms = max(seat.activity_ms, activity_ms)
        return tuple(lost)

    def apply_presence(self, employees: Iterable[str]) -> tuple[str, ...]:
        """Returns the employees without a ticket that could be called."""
        lost = []
        for employee in employees:
            ticket = self._tickets.get(employee)
            if ticket is not None:
                self._heard(ticket)
            if ticket is None or ticket.ended:
                lost.append(employee)
        return tuple(lost)

    def apply_promises(self, promises: Iterable[Promise]) -> None:
        """The first counts, and only to who waits."""
        for promise in promises:
            ticket = self._tickets.get(promise.employee)
            waits = ticket is not None and ticket.called_ms is None and not ticket.ended
            if ticket is not None and waits and ticket.promised_ms is None:
                ticket.promised_ms = self._state.now + promise.ms

    def epoch_changed(self) -> None:
        self.seats_survived = sum(self._held().values()) > 0
        self.ticket_base = self._state.now
        self._put_back.clear()

    def queues(self, calls_known: int) -> dict[str, QueueView]:
        present = stretch_of(self._state.now)
        views = {}
        for name in self.populations():
            numbers = [ticket.number for _employee, ticket in self._queue(name)]
            if numbers:
                self._enter_calls(name, 0)
            calls = self._calls.get(name, {})
            oldest = max(calls_known + 1, present - STRETCHES)
            views[name] = QueueView(
                len(numbers),
                self._called_upto.get(name, 0),
                tuple((rank, numbers[rank]) for rank in marked_ranks(len(numbers))),
                {at: count for at, count in calls.items() if oldest <= at < present},
            )
        return views

    def _enter_calls(self, population: str, count: int) -> None:
        """Some calls, or none, in the present stretch, in which somebody waits."""
        calls = self._calls.setdefault(population, {})
        present = stretch_of(self._state.now)
        calls[present] = calls.get(present, 0) + count

    def usage(self) -> dict[str, tuple[int, int, int]]:
        """By population: occupied, called, waiting."""
        called = self._count(lambda ticket: ticket.called_ms is not None)
        waiting = self._count(lambda ticket: ticket.waits)
        occupied = self._occupied()
        return {name: (occupied[name], called[name], waiting[name]) for name in self.populations()}

    def populations(self) -> list[str]:
        """Those of the document in its order, then those it no longer names."""
        limits = self._state.limits
        named = list(limits.populations) if limits is not None else []
        return named + sorted(self._populations.difference(named))

    # --- the bounded expiry and call script

    def run_calls(self) -> None:
        if self._state.learning:
            return
        left = EXPIRY_ENTRIES
        for sweep in self.sweeps:
            left -= sweep(left)
        left = self._expire_called(left)
        left = self._end_tickets(left)
        left = self._set_absent_aside(left)
        self._lose_silent(left)
        self._call_waiting()

    def _expire_called(self, left: int) -> int:
        for name in self.populations():
            for _employee, ticket in self._called(name, left):
                if self._claim_left(ticket) == 0:
                    self._uncall(ticket)
                    left -= 1
        return left

    def _end_tickets(self, left: int) -> int:
        for name in self.populations():
            if not self._admitted(name):
                for _employee, ticket in self._called(name, left):
                    self._end(ticket)
                    left -= 1
                for _employee, ticket in islice(self._queue(name), left):
                    self._end(ticket)
                    left -= 1
        return left

    def _set_absent_aside(self, left: int) -> int:
        limits = self._state.limits
        waiting = [(e, t) for e, t in self._tickets.items() if t.waits]
        for _employee, ticket in sorted(waiting, key=lambda entry: (entry[1].seen_ms, entry[0])):
            if left > 0 and (limits is None or is_absent(limits, ticket.seen_ms, self._state.now)):
                ticket.silent_ms = ticket.seen_ms
                left -= 1
        return left

    def _lose_silent(self, left: int) -> None:
        limits = self._state.limits
        silent = [(t.silent_ms, e) for e, t in self._tickets.items() if t.silent_ms is not None]
        for silent_ms, employee in sorted(silent)[:left]:
            if limits is None or is_lost(limits, silent_ms, self._state.now):
                del self._tickets[employee]

    def _call_waiting(self) -> None:
        limits = self._state.limits
        if limits is None or not any(ticket.waits for ticket in self._tickets.values()):
            return
        names = self.populations()
        calls = next_calls(
            limits,
            self._state.now,
            self._held(),
            {name: [Waiter(e, t.seen_ms) for e, t in self._queue(name)] for name in names},
            {name: self._idle_order(name) for name in names},
            self._strides,
            CALL_ENTRIES,
        )
        for _name, employee in calls.absent:
            self._tickets[employee].silent_ms = self._tickets[employee].seen_ms
        for _name, employee in calls.reclaim:
            del self._seats[employee]
        for name, employee in calls.call:
            ticket = self._tickets[employee]
            ticket.called_ms = self._state.now
            self._called_upto[name] = max(self._called_upto.get(name, 0), ticket.number)
            self._enter_calls(name, 1)
            if ticket.promised_ms:
                self.estimates_shown += 1
                self.estimates_kept += self._state.now <= ticket.promised_ms
                ticket.promised_ms = 0
        self._strides = calls.strides

    # --- pieces

    def _admitted(self, population: str) -> bool:
        limits = self._state.limits
        own = limits.populations.get(population) if limits is not None else None
        return own is not None and own.admitted

    def _may_take(self, population: str) -> bool:
        limits = self._state.limits
        return limits is not None and may_take(limits, self._held(), population)

    def _count(self, counts: Callable[[Ticket], bool]) -> dict[str, int]:
        counted = dict.fromkeys(self.populations(), 0)
        for ticket in self._tickets.values():
            counted[ticket.population] += counts(ticket)
        return counted

    def _occupied(self) -> dict[str, int]:
        occupied = dict.fromkeys(self.populations(), 0)
        for seat in self._seats.values():
            occupied[seat.population] += 1
        return occupied

    def _held(self) -> dict[str, int]:
        called = self._count(lambda ticket: ticket.called_ms is not None)
        return {name: count + called[name] for name, count in self._occupied().items()}

    def _queue(self, name: str) -> list[tuple[str, Ticket]]:
        waiting = [(e, t) for e, t in self._tickets.items() if t.waits and t.population == name]
        return sorted(waiting, key=lambda entry: entry[1].number)

    def _called(self, name: str, most: int) -> Sequence[tuple[str, Ticket]]:
        called = [
            (ticket.called_ms, employee, ticket)
            for employee, ticket in self._tickets.items()
            if ticket.called_ms is not None and ticket.population == name
        ]
        return [(employee, ticket) for _ms, employee, ticket in sorted(called)[:most]]

    def _idle_order(self, name: str) -> list[IdleSeat]:
        seats = [(s.activity_ms, e) for e, s in self._seats.items() if s.population == name]
        return [IdleSeat(employee, activity_ms) for activity_ms, employee in sorted(seats)]

    def _claim_left(self, ticket: Ticket) -> int:
        limits = self._state.limits
        if limits is None or ticket.called_ms is None:
            return 0
        return claim_left(limits, ticket.called_ms, self._state.now)

    def _store_ticket(self, employee: str, population: str, number: int, seen_ms: int) -> None:
        self._numbers[population] = max(self._numbers.get(population, 0), number)
        self._tickets[employee] = Ticket(number, population, seen_ms)
        self._populations.add(population)

    def _heard(self, ticket: Ticket) -> None:
        if ticket.called_ms is None and not ticket.ended:
            ticket.silent_ms = None
            ticket.seen_ms = self._state.now

    def _uncall(self, ticket: Ticket) -> None:
        ticket.called_ms = None
        ticket.silent_ms = self._state.now

    def _end(self, ticket: Ticket) -> None:
        ticket.called_ms = None
        ticket.silent_ms = self._state.now
        ticket.number = 0
        ticket.ended = True
        ticket.promised_ms = None

    def _claim(self, employee: str, ticket: Ticket) -> SeatAnswer:
        self.occupy(employee, ticket.population, self._state.now)
        return self._answer("seated", ticket.population)

    def _position(self, ticket: Ticket) -> int:
        ahead = [t for _e, t in self._queue(ticket.population) if t.number < ticket.number]
        return len(ahead) + 1

    def _answer(
        self, state: SeatState, population: str, ticket: Ticket | None = None
    ) -> SeatAnswer:
        if ticket is None or ticket.ended:
            return SeatAnswer(state, population, ledger_ms=self._state.now)
        called = ticket.called_ms is not None
        return SeatAnswer(
            state,
            population,
            number=ticket.number,
            position=None if called else self._position(ticket),
            claim_ms=self._claim_left(ticket) if called else None,
            ledger_ms=self._state.now,
        )
