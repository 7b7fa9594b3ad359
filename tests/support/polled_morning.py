"""The simulation's employees on a real ledger, with nothing left out: every poll is made, activity
travels with a worker's syncs, ledger time passes tick by tick.

Written apart from ``loadtest/simulate/morning.py``, so that what that one approximates (presence
without polls, activity known at once, calls only when something changed) shows as a difference.
"""

from __future__ import annotations

import heapq
import random
from typing import TYPE_CHECKING

from broker.ledger.port import SyncReport, Touch
from loadtest.simulate.people import MINUTE, Employee, Habits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import Ledger
    from broker.policy.limits import LimitsDocument
    from tests.support.ledgers import LedgerClock

TICK = 250
TOUCH_EVERY = 10_000
MARGIN = 15_000  # a worker asks again this much before a seat may be reclaimed

LIMITS, VISIT, VIEW, POLL, LEAVE, RETURN, LOGOUT = range(7)


class PolledMorning:
    """``waits``: (employee, when asked, ms until seated). ``highest``: occupied + called."""

    def __init__(
        self,
        ledger: Ledger,
        clock: LedgerClock,
        people: Sequence[Employee],
        habits: Habits,
        changes: Sequence[tuple[int, LimitsDocument]],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._started = clock.now_ms
        self._people = people
        self._habits = habits
        self._changes = changes
        self._events: list[tuple[int, int, int, Employee | None, int]] = []
        self._pushed = 0
        self._epoch = ""
        self._sequence = 0
        self._active: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._trusted: dict[str, int] = {}
        self._jitter = random.Random(1).random
        self.waits: list[tuple[Employee, int, int]] = []
        self.highest = 0
        self.left = 0

    async def run(self, minutes: float) -> None:
        limits = await self._ledger.publish(self._changes[0][1], if_match=0, first_start=True)
        for number, (at, _) in enumerate(self._changes[1:], start=1):
            self._push(at, LIMITS, None, number)
        for employee in self._people:
            self._push(employee.arrival(self._habits), VISIT, employee, 0)
        for tick in range(0, round(minutes * MINUTE), TICK):
            while self._events and self._events[0][0] < tick + TICK:
                now, kind, _, who, turn = heapq.heappop(self._events)
                self._clock.set(self._started + max(now, tick))
                if who is None:
                    document = self._changes[turn][1]
                    limits = await self._ledger.publish(document, if_match=limits.number)
                elif who.turn == turn:
                    await self._employee(max(now, tick), kind, who)
            self._clock.set(self._started + tick + TICK)
            await self._sync(tick + TICK)
            if tick % 5000 == 0:
                usage = await self._ledger.usage()
                held = sum(usage.occupied.values()) + sum(usage.called.values())
                self.highest = max(self.highest, held)

    def _push(self, at: int, kind: int, employee: Employee | None, turn: int) -> None:
        self._pushed += 1
        heapq.heappush(self._events, (at, kind, self._pushed, employee, turn))

    def _plan(self, at: int, kind: int, employee: Employee) -> None:
        self._push(at, kind, employee, employee.turn)

    async def _sync(self, now: int) -> None:
        due = [
            name
            for name, at in self._active.items()
            if at > self._touched.get(name, -1) and now - self._touched.get(name, -TOUCH_EVERY)
            >= TOUCH_EVERY
        ]  # fmt: skip
        self._sequence += 1
        touches = tuple(Touch(name, now - self._active[name]) for name in due)
        reply = await self._ledger.sync(
            SyncReport("h/b/1", self._sequence, self._epoch, touches=touches)
        )
        self._epoch = reply.epoch
        for name in due:
            self._touched[name] = now
            if name in reply.lost_seats:
                self._trusted.pop(name, None)

    def _trust(self) -> int:
        idle = self._changes[0][1].idle_ms
        return idle - min(MARGIN, idle // 4)

    async def _employee(self, now: int, kind: int, employee: Employee) -> None:
        if kind in (VISIT, VIEW):
            await self._wants(employee, now, new=kind == VISIT)
        elif kind == POLL:
            await self._polls(employee, now)
        elif kind == LEAVE:
            self._leaves(employee, now)
        elif kind == RETURN:
            employee.turn += 1
            await self._wants(employee, now, new=True)
        elif kind == LOGOUT:
            self._trusted.pop(employee.name, None)
            self._active.pop(employee.name, None)
            await self._ledger.release(employee.name)

    async def _wants(self, employee: Employee, now: int, *, new: bool) -> None:
        """A click: ``new`` begins a visit, otherwise it is the next page of one."""
        if not new:
            employee.rest = employee.views[1:]
        if self._trusted.get(employee.name, 0) > now:
            self._goes_on(employee, now)
            return
        kept = (await self._ledger.look(employee.name)).state == "seated"  # the worker forgot only
        if employee.asked_ms is None and not kept:
            employee.asked_ms = now
        answer = await self._ledger.admit(employee.name, employee.population)
        if answer.state == "seated":
            self._touched[employee.name] = now
            if employee.asked_ms is not None:
                self.waits.append((employee, employee.asked_ms, now - employee.asked_ms))
                employee.asked_ms = None
            self._goes_on(employee, now)
        elif answer.state == "waiting":
            employee.turn += 1
            self._plan(now + employee.after(self._habits.patience), LEAVE, employee)
            self._plan(now + self._poll_pause(), POLL, employee)
        else:
            employee.asked_ms = None
            employee.turn += 1
            self._plan(now + employee.after(self._habits.retry), VISIT, employee)

    def _poll_pause(self) -> int:
        return max(1, round(self._habits.poll_seconds * 1000 * (0.75 + self._jitter() / 4)))

    async def _polls(self, employee: Employee, now: int) -> None:
        answer = await self._ledger.look(employee.name, present=True)
        if answer.state == "called":
            await self._wants(employee, now, new=True)
        else:
            self._plan(now + self._poll_pause(), POLL, employee)

    def _goes_on(self, employee: Employee, now: int) -> None:
        """One page view; the next one, or the next visit, is planned from here."""
        self._active[employee.name] = now
        self._trusted[employee.name] = now + self._trust()
        employee.visit(now, self._habits)
        employee.turn += 1
        if len(employee.views) > 1:
            self._plan(employee.views[1], VIEW, employee)
            return
        if employee.logs_out:
            self._plan(now + 1, LOGOUT, employee)
        self._plan(now + 1 + employee.pause_ms, VISIT, employee)

    def _leaves(self, employee: Employee, now: int) -> None:
        employee.turn += 1  # no more polls
        employee.left_once = True
        self.left += 1
        if employee.random() < self._habits.come_back:
            self._plan(now + employee.after(self._habits.away), RETURN, employee)
        else:
            employee.asked_ms = None
