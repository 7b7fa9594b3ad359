"""The simulation's indexed seat book against the twin: the same people, the same answers.

Both get the same calls at the same ledger time. The twin is told of every poll; the seat book is
told only who closed the page.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from broker.ledger.memory_seats import MemorySeats
from broker.ledger.port import Touch
from broker.policy.shares import PopulationLimits
from loadtest.simulate.seat_book import SeatBook
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from broker.policy.limits import LimitsDocument

NAMES = ("managers", "sales", "everyone")
STEP = 20_000  # between polls, well below absent_ms


@dataclass
class State:
    now: int
    limits: LimitsDocument | None
    learning: bool = False


class Both:
    """One site kept twice. Every difference is an assertion."""

    def __init__(self, limits: LimitsDocument) -> None:
        self.state = State(1_000_000, limits)
        self.twin = MemorySeats(self.state)
        self.active: dict[str, int] = {}
        self.called: dict[str, int] = {}
        self.away: dict[str, int] = {}
        self.book = SeatBook(limits, lambda name, _: self.active[name], self._called, self._gone)
        self.people: dict[str, str] = {}

    def _called(self, name: str, now: int) -> None:
        self.called[name] = now

    def _gone(self, name: str, now: int) -> None:
        del self.active[name]

    def admit(self, name: str, population: str) -> str:
        self.people.setdefault(name, population)
        self.away.pop(name, None)
        self.active.setdefault(name, self.state.now)
        mine = self.book.admit(name, population, self.state.now)
        self.called.pop(name, None)
        if mine == "seated":
            self.active[name] = self.state.now
        theirs = self.twin.admit(name, population).state
        assert mine == theirs
        return mine

    def click(self, name: str) -> None:
        self.active[name] = self.state.now
        self.twin.apply_touches([Touch(name, 0)])

    def close_page(self, name: str) -> None:
        ticket = self.book.ticket(name)
        if ticket is not None and ticket.waits and name not in self.away:
            self._poll()
            self.away[name] = self.state.now
            self.book.falls_silent(name, self.state.now)

    def release(self, name: str) -> None:
        self.book.release(name, self.state.now)
        self.twin.release(name)

    def limits(self, limits: LimitsDocument) -> None:
        self.state.limits = limits
        for name in self.book.put_limits(limits, self.state.now):
            self.called.pop(name, None)
            self.away.pop(name, None)
        self._poll()
        self.twin.run_calls()

    def until(self, then: int) -> None:
        """Time passes, never past something that is due."""
        while self.state.now < then:
            due = [then, self.state.now + STEP]
            absent = self.book.limits.absent_ms + 1
            due += [seen + absent for seen in self.away.values()]
            due += [at + self.book.limits.claim_ms for at in self.called.values()]
            idle = self.book.next_idle_ms(self.state.now)
            due += [idle] if idle is not None and idle > self.state.now + 1 else []
            self.state.now = min(at for at in due if at > self.state.now)
            self._due()
            self._poll()
            self.twin.run_calls()
            self.compare()

    def _due(self) -> None:
        now, limits = self.state.now, self.book.limits
        for name, at in list(self.called.items()):
            if now >= at + limits.claim_ms:
                del self.called[name]
                self.away[name] = now
                self.book.unclaimed(name, now)
        for name, seen in list(self.away.items()):
            if now > seen + limits.absent_ms:
                self.book.is_absent(name, now)
        self.book.time_passed(now)

    def _poll(self) -> None:
        self.twin.apply_presence(
            name
            for name in self.people
            if name not in self.away and (ticket := self.book.ticket(name)) and ticket.waits
        )

    def compare(self) -> None:
        usage = self.twin.usage()
        for name in self.book.limits.populations:
            occupied, called, waiting = usage.get(name, (0, 0, 0))
            assert (self.book.held[name], self.book.called[name]) == (occupied + called, called)
            assert self.book.waiting[name] == waiting
        assert {name for name in self.people if self.book.holds(name)} == {
            name for name in self.people if self.twin.look(name).state == "seated"
        }


def documents(rng: random.Random) -> LimitsDocument:
    seats = rng.randint(2, 8)
    return replace(
        limits_document(
            seats=seats,
            populations={
                name: PopulationLimits(
                    admitted=rng.random() < 0.8,
                    seats_maximum=rng.randint(1, seats),
                    seats_guaranteed=rng.randint(0, seats // 2),
                    lendable=rng.choice((0.0, 0.5, 1.0)),
                    weight=rng.randint(0, 3),
                )
                for name in NAMES
            },
        ),
        idle_ms=300_000,
    )


@pytest.mark.parametrize("seed", range(12))
def test_answers_as_the_twin(seed: int) -> None:
    rng = random.Random(seed)
    both = Both(documents(rng))
    people = {f"e{number:02}": rng.choice(NAMES) for number in range(20)}
    for _ in range(250):
        both.until(both.state.now + rng.randint(1, 60_000))
        name = rng.choice(list(people))
        match rng.randint(0, 9):
            case 0:
                both.release(name)
            case 1:
                both.close_page(name)
            case 2 if rng.random() < 0.2:
                both.limits(documents(rng))
            case 3 | 4 if both.book.holds(name):
                both.click(name)
            case _:
                both.admit(name, people[name])
        both.compare()
    assert both.book.steps > 20
