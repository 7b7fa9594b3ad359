"""One morning of one site in virtual time: employees come, wait, work, pause; capacity is raised.

A heap of events; between two of them nothing happens. Knows the seat book and the employees, not
where the documents in ``changes`` come from. Each run checks what it drives, from the outside:
seats are counted a second time, and nobody who stayed on the page may be overtaken.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from typing import TYPE_CHECKING

from loadtest.simulate.measures import Measures
from loadtest.simulate.people import MINUTE, Employee, Habits
from loadtest.simulate.seat_book import SeatBook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.policy.limits import LimitsDocument

# What an event is; the order is that of happening within one millisecond.
LIMITS, VISIT, CLAIM, UNCLAIMED, LEAVE, ABSENT, RETURN, LOGOUT, IDLE, SAMPLE = range(10)

NOTHING_CAME_MS = 250  # a tick: until idle seats that helped nobody are looked at again


class Morning:
    """``changes``: (when in ms, document), the first at 0. ``people`` are used up by one run."""

    def __init__(
        self,
        people: Sequence[Employee],
        habits: Habits,
        changes: Sequence[tuple[int, LimitsDocument]],
        *,
        minutes: float,
        sample_seconds: float = 15.0,
    ) -> None:
        self._habits = habits
        self._changes = changes
        self._ends_ms = round(minutes * MINUTE)
        self._sample_ms = round(sample_seconds * 1000)
        self._people = {employee.name: employee for employee in people}
        limits = changes[0][1]
        self.book = SeatBook(limits, self._activity, self._called, self._reclaimed)
        self.measures = Measures(list(limits.populations), self._ends_ms, self._sample_ms)
        self._events: list[tuple[int, int, int, Employee | None, int]] = []
        self._pushed = 0
        self._idle_at: int | None = None
        self._seated = 0  # occupied and reserved, by our own count
        self._reserved: set[str] = set()
        self._last_called = dict.fromkeys(limits.populations, 0)
        self.events = 0

    def run(self) -> Measures:
        for number, (at, _) in enumerate(self._changes[1:], start=1):
            self._push(at, LIMITS, None, number)
        self._push(0, SAMPLE, None, 0)
        for employee in self._people.values():
            self._push(employee.arrival(self._habits), VISIT, employee, 0)
        events = self._events
        while events:
            now, kind, _, who, turn = heapq.heappop(events)
            if now > self._ends_ms:
                break
            self.events += 1
            if who is None:
                self._site(now, kind, turn)
            elif who.turn == turn:
                self._employee(now, kind, who)
            if self._idle_at is None and any(self.book.waiting.values()):
                self._watch_idle(now, self.book.steps)
        still = [each for each in self._people.values() if each.asked_ms is not None]
        for employee in still:
            if employee.asked_ms is not None:
                self.measures.unserved(employee.population, self._ends_ms - employee.asked_ms)
        return self.measures

    # --- events

    def _push(self, at: int, kind: int, employee: Employee | None, turn: int) -> None:
        self._pushed += 1
        heapq.heappush(self._events, (at, kind, self._pushed, employee, turn))

    def _plan(self, at: int, kind: int, employee: Employee) -> None:
        self._push(at, kind, employee, employee.turn)

    def _site(self, now: int, kind: int, number: int) -> None:
        if kind == LIMITS:
            for name in self.book.put_limits(self._changes[number][1], now):
                self._gives_up_call(name)
                self._told_no(self._people[name], now)
            self._idle_at = None
        elif kind == SAMPLE:
            book = self.book
            self.measures.sample(book.limits, book.held, book.called, book.waiting)
            self._push(now + self._sample_ms, SAMPLE, None, 0)
        elif now == self._idle_at:
            before = self.book.steps
            self._idle_at = None
            self.book.time_passed(now)
            if any(self.book.waiting.values()):
                self._watch_idle(now, before)

    def _watch_idle(self, now: int, steps_before: int) -> None:
        due = self.book.next_idle_ms(now)
        if due is None:
            return
        if due == now + 1 and self.book.steps == steps_before:
            due = now + NOTHING_CAME_MS
        self._idle_at = due
        self._push(due, IDLE, None, 0)

    def _employee(self, now: int, kind: int, employee: Employee) -> None:
        if kind == VISIT:
            self._wants(employee, now)
        elif kind == CLAIM:
            if self.book.claim(employee.name, now):
                self._enters(employee, now)
        elif kind == UNCLAIMED:
            self._gives_up_call(employee.name)
            self.measures.unclaimed += 1
            self.book.unclaimed(employee.name, now)
        elif kind == LEAVE:
            self._leaves(employee, now)
        elif kind == ABSENT:
            self.book.is_absent(employee.name, now)
        elif kind == RETURN:
            employee.turn += 1
            employee.away = False
            self._wants(employee, now)
        elif kind == LOGOUT and self.book.holds(employee.name):
            self._seated -= 1
            self.book.release(employee.name, now)

    # --- an employee

    def _wants(self, employee: Employee, now: int) -> None:
        """A click: with a seat it goes on, without one it asks."""
        if self.book.holds(employee.name):
            self._begins(employee, now)
            return
        if employee.asked_ms is None:
            employee.asked_ms = now
        answer = self.book.admit(employee.name, employee.population, now)
        if answer == "seated":
            self._enters(employee, now)
        elif answer == "waiting":
            employee.turn += 1
            self._plan(now + employee.after(self._habits.patience), LEAVE, employee)
        else:
            self._told_no(employee, now)

    def _enters(self, employee: Employee, now: int) -> None:
        """A seat that was reserved by a call is counted already."""
        if employee.name in self._reserved:
            self._reserved.remove(employee.name)
        else:
            self._count_one_more()
        asked = now if employee.asked_ms is None else employee.asked_ms
        if not employee.left_once:
            self.measures.seated(employee.population, asked, now - asked)
        employee.asked_ms = None
        employee.left_once = False
        self._begins(employee, now)

    def _begins(self, employee: Employee, now: int) -> None:
        """A visit, or the rest of one that lost its seat."""
        employee.visit(now, self._habits)
        employee.turn += 1
        last = employee.views[-1]
        self.measures.visit(employee.views)
        if employee.logs_out:
            self._plan(last + 1, LOGOUT, employee)
        self._plan(last + 1 + employee.pause_ms, VISIT, employee)

    def _told_no(self, employee: Employee, now: int) -> None:
        """The page that says who is admitted at present; tries again later."""
        self.measures.not_admitted[employee.population] += 1
        employee.asked_ms = None
        employee.turn += 1
        self._plan(now + employee.after(self._habits.retry), VISIT, employee)

    def _leaves(self, employee: Employee, now: int) -> None:
        """Closes the waiting room's page; some come back."""
        ticket = self.book.ticket(employee.name)
        if ticket is None:
            return
        habits = self._habits
        last_poll = now - round(employee.random() * habits.poll_seconds * 1000)
        employee.away = employee.left_once = True
        self.book.falls_silent(employee.name, last_poll)
        self._plan(max(now, last_poll + self.book.limits.absent_ms + 1), ABSENT, employee)
        if employee.random() < habits.come_back:
            self._plan(now + employee.after(habits.away), RETURN, employee)
        else:
            employee.asked_ms = None  # gone for today

    # --- what the book decides

    def _activity(self, name: str, now: int) -> int:
        views = self._people[name].views
        return views[-1] if views[-1] <= now else views[bisect_right(views, now) - 1]

    def _called(self, name: str, now: int) -> None:
        employee = self._people[name]
        self._count_one_more()
        self._reserved.add(name)
        ticket = self.book.ticket(name)
        number = ticket.number if ticket is not None else 0
        if number < self._last_called[employee.population] and not employee.left_once:
            self.measures.overtaken += 1
        self._last_called[employee.population] = max(number, self._last_called[employee.population])
        if employee.away:
            self._plan(now + self.book.limits.claim_ms, UNCLAIMED, employee)
            return
        employee.turn += 1  # whoever is called does not leave any more
        notices = round(employee.random() * self._habits.poll_seconds * 1000)
        self._plan(now + notices, CLAIM, employee)

    def _reclaimed(self, name: str, now: int) -> None:
        employee = self._people[name]
        self._seated -= 1
        self.measures.reclaimed += 1
        rest = employee.views[bisect_right(employee.views, now) :]
        if rest:
            self.measures.interrupted += 1
            self.measures.cut_short(now, rest)
            employee.rest = rest
            employee.turn += 1
            self._plan(rest[0], VISIT, employee)

    def _gives_up_call(self, name: str) -> None:
        if name in self._reserved:
            self._reserved.remove(name)
            self._seated -= 1

    def _count_one_more(self) -> None:
        """Our own count of seats and reserved seats against the limit in force."""
        self._seated += 1
        self.measures.highest = max(self.measures.highest, self._seated)
        if self._seated > self.book.limits.seats_limit:
            self.measures.over_admissions += 1
