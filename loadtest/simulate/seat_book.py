"""Seats and tickets of one site, decided by ``broker.policy`` and indexed for a million employees.

It does what ``broker/ledger/memory_seats.py`` (the twin) does, step by step; the twin sorts
everything at each call, which is right for tests and hopeless here. ``tests/unit/loadtest`` holds
the two, and Redis, to the same answers. Only what never changes a decision is left out: an employee
who polls is *present* without a poll being simulated, and calls run only when something changed
that could lead to one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.policy.queueing import (
    IdleSeat,
    Strides,
    Waiter,
    is_lost,
    next_calls,
)
from broker.policy.seats import may_take
from loadtest.simulate.orders import Peek, SortedPeople

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.policy.limits import LimitsDocument

STEPS = 250  # as CALL_ENTRIES of the ledger


@dataclass(slots=True)
class Ticket:
    """As the twin's. ``seen_ms``: None while the browser polls; else when it was last heard of."""

    number: int
    population: str
    seen_ms: int | None = None
    called_ms: int | None = None
    silent_ms: int | None = None

    @property
    def waits(self) -> bool:
        return self.called_ms is None and self.silent_ms is None


class SeatBook:
    """``activity(name, now)``: an occupied seat's last activity. ``called`` and ``reclaimed`` are
    told at once what was decided. ``steps`` counts what the policy decided."""

    def __init__(
        self,
        limits: LimitsDocument,
        activity: Callable[[str, int], int],
        called: Callable[[str, int], None],
        reclaimed: Callable[[str, int], None],
    ) -> None:
        self.limits = limits
        self._activity = activity
        self._told_called = called
        self._told_reclaimed = reclaimed
        self.held = dict.fromkeys(limits.populations, 0)
        self.called = dict.fromkeys(limits.populations, 0)
        self.waiting = dict.fromkeys(limits.populations, 0)
        self._seats: dict[str, str] = {}
        self._tickets: dict[str, Ticket] = {}
        self._numbers = dict.fromkeys(limits.populations, 0)
        self._strides = Strides()
        self._queues = {name: SortedPeople() for name in limits.populations}
        self._idle = {name: SortedPeople() for name in limits.populations}
        self._settled = True
        self.steps = 0

    # --- what the world asks

    def holds(self, name: str) -> bool:
        return name in self._seats

    def ticket(self, name: str) -> Ticket | None:
        return self._tickets.get(name)

    def admit(self, name: str, population: str, now: int) -> str:
        """As ``Ledger.admit``: seated, waiting or not_admitted. This is presence."""
        if name in self._seats:
            return "seated"
        ticket = self._tickets.get(name)
        if ticket is not None and self._lost(ticket, now):
            del self._tickets[name]
            ticket = None
        if ticket is not None and not self.limits.populations[ticket.population].admitted:
            self._drop(name, ticket)
            ticket = None
        if ticket is not None:
            if ticket.called_ms is not None:
                self._occupy(name, ticket, now)
                return "seated"
            self._heard(name, ticket)
        else:
            if not self.limits.populations[population].admitted:
                return "not_admitted"
            if not any(self.waiting.values()) and may_take(self.limits, self.held, population):
                self.held[population] += 1
                self._seat(name, population, now)
                return "seated"
            self._numbers[population] += 1
            ticket = self._tickets[name] = Ticket(self._numbers[population], population)
            self._enqueue(name, ticket)
        self.run_calls(now)
        if ticket.called_ms is not None:
            self._occupy(name, ticket, now)
            return "seated"
        return "waiting"

    def claim(self, name: str, now: int) -> bool:
        """A called browser polls and enters. False: it is not called (any more)."""
        ticket = self._tickets.get(name)
        if ticket is None or ticket.called_ms is None:
            return False
        self._occupy(name, ticket, now)
        return True

    def falls_silent(self, name: str, seen_ms: int) -> None:
        """Its page was closed; the last poll was at ``seen_ms``."""
        ticket = self._tickets.get(name)
        if ticket is not None:
            ticket.seen_ms = seen_ms

    def is_absent(self, name: str, now: int) -> None:
        """``absent_ms`` after its last poll: set aside, the number kept."""
        ticket = self._tickets.get(name)
        if ticket is not None and ticket.waits and ticket.seen_ms is not None:
            self._dequeue(name, ticket)
            ticket.silent_ms = ticket.seen_ms
            self._changed(now)

    def unclaimed(self, name: str, now: int) -> None:
        """The claim window has passed: the reserved seat is free, the number kept."""
        ticket = self._tickets.get(name)
        if ticket is not None and ticket.called_ms is not None:
            self._uncall(ticket, now)
            self._changed(now)

    def release(self, name: str, now: int) -> None:
        """Seat and ticket go; twice changes nothing."""
        population = self._seats.pop(name, None)
        if population is not None:
            self._idle[population].remove(name)
            self.held[population] -= 1
        ticket = self._tickets.get(name)
        if ticket is not None:
            self._drop(name, ticket)
        if population is not None or ticket is not None:
            self._changed(now)

    def put_limits(self, limits: LimitsDocument, now: int) -> list[str]:
        """Another document is in force. Returns those whose tickets ended with their admission."""
        self.limits = limits
        ended = [
            name
            for name, ticket in self._tickets.items()
            if not limits.populations[ticket.population].admitted
        ]
        for name in ended:
            self._drop(name, self._tickets[name])
        self._changed(now)
        return ended

    def next_idle_ms(self, now: int) -> int | None:
        """When the longest idle seat becomes reclaimable, None when no seat is occupied."""
        due: int | None = None
        for order in self._idle.values():
            oldest = order.oldest(now, self._activity)
            if oldest is not None:
                at = max(now + 1, oldest[0] + self.limits.idle_ms + 1)
                due = at if due is None else min(due, at)
        return due

    # --- calls

    def _changed(self, now: int) -> None:
        self._settled = False
        self.run_calls(now)

    def time_passed(self, now: int) -> None:
        """A seat may have become reclaimable."""
        self._changed(now)

    def run_calls(self, now: int) -> None:
        """Decide until nothing is left to decide. The ledger's script takes ``STEPS`` at a call and
        goes on at the next sync of any worker, some ten milliseconds later."""
        while not self._settled and any(self.waiting.values()):
            queues = {name: Peek(order, self._waiter) for name, order in self._queues.items()}
            idle = {
                name: Peek(order, _idle_seat, now, self._activity)
                for name, order in self._idle.items()
            }
            self._now = now
            calls = next_calls(self.limits, now, self.held, queues, idle, self._strides, STEPS)
            for peek in (*queues.values(), *idle.values()):
                peek.put_back()
            self._strides = calls.strides
            for _, name in calls.absent:
                ticket = self._tickets[name]
                self._dequeue(name, ticket)
                ticket.silent_ms = ticket.seen_ms
            for population, name in calls.reclaim:
                del self._seats[name]
                self._idle[population].remove(name)
                self.held[population] -= 1
                self._told_reclaimed(name, now)
            for population, name in calls.call:
                ticket = self._tickets[name]
                self._dequeue(name, ticket)
                ticket.called_ms = now
                self.held[population] += 1
                self.called[population] += 1
                self._told_called(name, now)
            taken = len(calls.absent) + len(calls.reclaim) + len(calls.call)
            self.steps += taken
            self._settled = taken < STEPS

    def _waiter(self, _number: int, name: str) -> Waiter:
        seen = self._tickets[name].seen_ms
        return Waiter(name, self._now if seen is None else seen)

    # --- pieces

    def _seat(self, name: str, population: str, now: int) -> None:
        self._seats[name] = population
        self._idle[population].add(name, now)

    def _occupy(self, name: str, ticket: Ticket, now: int) -> None:
        """A called ticket becomes a seat: held already."""
        del self._tickets[name]
        self.called[ticket.population] -= 1
        self._seat(name, ticket.population, now)

    def _enqueue(self, name: str, ticket: Ticket) -> None:
        queue = self._queues[ticket.population]
        queue.add(name, ticket.number)
        self.waiting[ticket.population] += 1
        first = queue.first()
        if first is not None and first[1] == name:
            self._settled = False  # another head than the last decision saw

    def _dequeue(self, name: str, ticket: Ticket) -> None:
        self._queues[ticket.population].remove(name)
        self.waiting[ticket.population] -= 1

    def _uncall(self, ticket: Ticket, now: int) -> None:
        ticket.called_ms = None
        ticket.silent_ms = now
        self.held[ticket.population] -= 1
        self.called[ticket.population] -= 1

    def _drop(self, name: str, ticket: Ticket) -> None:
        if ticket.called_ms is not None:
            self._uncall(ticket, 0)
        elif ticket.waits:
            self._dequeue(name, ticket)
        del self._tickets[name]

    def _heard(self, name: str, ticket: Ticket) -> None:
        ticket.seen_ms = None
        if ticket.silent_ms is not None:
            ticket.silent_ms = None
            self._enqueue(name, ticket)

    def _lost(self, ticket: Ticket, now: int) -> bool:
        return ticket.silent_ms is not None and is_lost(self.limits, ticket.silent_ms, now)


def _idle_seat(activity_ms: int, name: str) -> IdleSeat:
    return IdleSeat(name, activity_ms)
