"""Seats for sessions whose seat this worker does not know: one question to the ledger per person.

However many requests of one employee arrive at once (a page and its forty assets), a single
question is under way for them; and however many employees ask at once, they share a call. A seat
answered by the ledger is trusted until ``idle`` less a margin, counted from *before* asking
(design, section 5); after that the ledger is asked again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import LedgerAway

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.ledger.port import Ledger, SeatAnswer
    from broker.site.admission import Person, Session
    from broker.site.doors import Standing
    from broker.site.waiting_room import WaitingRoom

SEAT_MARGIN = 15.0  # seconds a worker treats a seat as lapsed before the ledger may reclaim it


def trusted_for(idle: float) -> float:
    """Seconds for which a seat may be trusted after activity, given the idle time in force."""
    return idle - min(SEAT_MARGIN, idle / 4)


MOST_AT_ONCE = 64  # admissions in one call: some 2 ms of the ledger's time


class Claims:
    """Implements ``doors.SeatClaims``. ``idle`` returns the idle time in force, in seconds."""

    def __init__(
        self,
        ledger: Ledger,
        room: WaitingRoom,
        *,
        clock: Callable[[], float],
        idle: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._room = room
        self._clock = clock
        self._idle = idle
        self._under_way: dict[str, asyncio.Future[SeatAnswer | None]] = {}
        self._admissions = Admissions(ledger)

    async def claim(self, session: Session, ticket: bytes | None = None) -> Standing:
        """Raises LedgerAway: nothing was decided."""
        person = session.person
        if person.seat_until > self._clock():
            return self._room.seated(person, ticket)
        answer = await self._shared(person, ticket)
        return self._room.met(session, answer, ticket, self._clock())

    async def _shared(self, person: Person, ticket: bytes | None) -> SeatAnswer:
        """One question under way for each employee, however many requests wait for its answer."""
        while (under_way := self._under_way.get(person.name)) is not None:
            shared = await asyncio.shield(under_way)
            if shared is not None:
                return shared
        future: asyncio.Future[SeatAnswer | None] = asyncio.get_running_loop().create_future()
        self._under_way[person.name] = future
        try:
            answer = await self._ask(person, ticket)
        except LedgerAway as error:
            future.set_exception(error)
            future.exception()  # read here: there may be nobody else waiting for it
            raise
        else:
            future.set_result(answer)
            return answer
        finally:
            del self._under_way[person.name]
            if not future.done():  # cancelled: the next one who waits asks instead
                future.set_result(None)

    async def _ask(self, person: Person, ticket: bytes | None) -> SeatAnswer:
        await self._put_back(person, ticket)
        asked_at = self._clock()
        answer = await self._admissions.admit(person.name, person.population)
        if answer.state == "seated":
            person.seat_until = asked_at + trusted_for(self._idle())
            person.touched_at = asked_at
            person.seated_as(answer.population)
        return answer

    async def _put_back(self, person: Person, ticket: bytes | None) -> None:
        former = self._room.former(person, ticket)
        if former is not None:
            await self._ledger.put_back((former,))
            self._room.put_back((person,))

    # --- polls

    def standing(self, session: Session, ticket: bytes | None, now: float) -> Standing | None:
        return self._room.standing(session, ticket, now)

    async def look(self, session: Session, ticket: bytes | None = None) -> Standing:
        person = session.person
        await self._put_back(person, ticket)
        answer = await self._ledger.look(person.name, present=True)
        return self._room.met(session, answer, ticket, self._clock())


class Admissions:
    """Asks the ledger for seats, for all who ask at the same time in one call: those who come while
    a call is under way wait for its end and are carried by the next. The first of them carries it,
    so that no task is needed for it."""

    def __init__(self, ledger: Ledger, most: int = MOST_AT_ONCE) -> None:
        self._ledger = ledger
        self._most = most
        self._asking: deque[_Asking] = deque()
        self._carried = False

    async def admit(self, employee: str, population: str) -> SeatAnswer:
        """Raises LedgerAway."""
        turn: asyncio.Future[SeatAnswer | None] = asyncio.get_running_loop().create_future()
        own = _Asking(employee, population, turn)
        self._asking.append(own)
        if not self._carried:
            self._carried = True
            return await self._carry()
        try:
            answer = await turn
        except asyncio.CancelledError:
            if own in self._asking:
                chosen = turn.done() and not turn.cancelled()  # to carry the next call
                self._asking.remove(own)
                if chosen:
                    self._hand_over()
            raise
        return await self._carry() if answer is None else answer

    async def _carry(self) -> SeatAnswer:
        """Ask for the first of those who wait: the caller, and those behind."""
        own = self._asking.popleft()
        batch: list[_Asking] = []
        while self._asking and len(batch) < self._most - 1:
            batch.append(self._asking.popleft())
        pairs = [(each.employee, each.population) for each in (own, *batch)]
        try:
            answers = await self._ledger.admit_all(pairs)
        except LedgerAway as error:
            for other in batch:
                if not other.turn.done():
                    other.turn.set_exception(LedgerAway(error.reason))
            raise
        else:
            for other, answer in zip(batch, answers[1:], strict=True):
                if not other.turn.done():
                    other.turn.set_result(answer)
            return answers[0]
        finally:
            # The caller was cancelled, or failed as nobody expected: the others ask again.
            self._asking.extendleft(each for each in reversed(batch) if not each.turn.done())
            self._hand_over()

    def _hand_over(self) -> None:
        """The first of those who wait carries the next call. Whoever was cancelled and has not run
        since is no one to carry anything."""
        while self._asking and self._asking[0].turn.done():
            self._asking.popleft()
        self._carried = bool(self._asking)
        if self._asking:
            self._asking[0].turn.set_result(None)


@dataclass(frozen=True, slots=True, eq=False)
class _Asking:
    """``turn``: the answer, or None when this one has to carry the next call. Whoever is cancelled
    leaves the queue."""

    employee: str
    population: str
    turn: asyncio.Future[SeatAnswer | None]
