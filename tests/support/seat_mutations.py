"""The production code of seats and tickets with one of its rules left out: each must be found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.memory_seats import MemorySeats
from broker.policy.queueing import is_absent
from tests.support.grant_mutations import LearnsFromOne, NeverLearns
from tests.support.seat_site import Mutation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broker.ledger.memory_seats import Ticket


class AdmitsAboveTheLimit(MemorySeats):
    """Looks at who waits, not at how many are inside."""

    def _may_take(self, population: str) -> bool:
        return True


class LosesPlaces(MemorySeats):
    """A ticket of a former epoch goes to the end of the queue."""

    def put_back(self, employee: str, population: str, number: int, silent_ms: int) -> None:
        MemorySeats.put_back(self, employee, population, number, silent_ms)
        ticket = self._tickets.get(employee)
        if ticket is not None:
            self._numbers[population] = max(self._numbers[population], self.ticket_base) + 1
            ticket.number = self._numbers[population]


class PutsBackTheSeated(MemorySeats):
    """A ticket is put back although its owner has been called and seated since."""

    def put_back(self, employee: str, population: str, number: int, silent_ms: int) -> None:
        self._store_ticket(employee, population, number, self._state.now - silent_ms)


class CallsTwice(MemorySeats):
    """Whoever is called stays in the queue until the seat is claimed."""

    def _queue(self, name: str) -> list[tuple[str, Ticket]]:
        standing = [
            (employee, ticket)
            for employee, ticket in self._tickets.items()
            if ticket.silent_ms is None and ticket.population == name
        ]
        return sorted(standing, key=lambda entry: entry[1].number)


class EvictsAboveTheLimit(MemorySeats):
    """A lowered limit throws out whoever came last."""

    def run_calls(self) -> None:
        limits = self._state.limits
        if limits is not None and not self._state.learning:
            while len(self._seats) > limits.seats_limit:
                self._seats.popitem()
        MemorySeats.run_calls(self)


class ForgetsTheAbsent(MemorySeats):
    """An absent ticket is deleted, not set aside."""

    def _set_absent_aside(self, left: int) -> int:
        limits = self._state.limits
        for employee, ticket in list(self._tickets.items()):
            silent = limits is not None and is_absent(limits, ticket.seen_ms, self._state.now)
            if ticket.waits and silent:
                del self._tickets[employee]
        return left


class KeepsUnclaimedSeats(MemorySeats):
    """A reserved seat that nobody claims stays reserved."""

    def _expire_called(self, left: int) -> int:
        return left


class ReclaimsAtOnce(MemorySeats):
    """Takes seats that are not idle yet when somebody waits."""

    def run_calls(self) -> None:
        for seat in self._seats.values():
            seat.activity_ms -= 100_000
        MemorySeats.run_calls(self)
        for seat in self._seats.values():
            seat.activity_ms += 100_000


class SleepsOnReleases(MemorySeats):
    """A seat that comes back calls nobody: the next sync would, if it called."""

    def _call_waiting(self) -> None:
        """Nobody."""


class CallsTheLast(MemorySeats):
    """Last come, first served."""

    def _queue(self, name: str) -> list[tuple[str, Ticket]]:
        return MemorySeats._queue(self, name)[::-1]


class RestoresNothing(MemorySeats):
    """Seats that workers write back are not taken for held."""

    def restore(self, seats: Iterable[tuple[str, str, int]]) -> None:
        """Nothing."""


RULES_LEFT_OUT = {
    "no seat above the limit": Mutation(seats=AdmitsAboveTheLimit),
    "a place survives an epoch": Mutation(seats=LosesPlaces),
    "a ticket is put back once": Mutation(seats=PutsBackTheSeated),
    "a ticket is called once": Mutation(seats=CallsTwice),
    "lowering evicts nobody": Mutation(seats=EvictsAboveTheLimit),
    "an absent ticket keeps its number": Mutation(seats=ForgetsTheAbsent),
    "an unclaimed seat is freed": Mutation(seats=KeepsUnclaimedSeats),
    "only idle seats are reclaimed": Mutation(seats=ReclaimsAtOnce),
    "whatever comes back calls": Mutation(seats=SleepsOnReleases),
    "first come, first served": Mutation(seats=CallsTheLast),
    "what was held is written back": Mutation(seats=RestoresNothing),
    "nobody new while learning": Mutation(book=NeverLearns),
    "learn from every worker": Mutation(book=LearnsFromOne),
    "trust ends before the idle time": Mutation(trusts_for_ever=True),
    "an end is compare-and-set": Mutation(publishes_over=True),
    "newer limits are written back": Mutation(keeps_the_older=True),
}
