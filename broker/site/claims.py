"""Seats for sessions whose seat this worker does not know: one question to the ledger per person.

However many requests of one employee arrive at once (a page and its forty assets), a single
``admit`` is under way for them. A seat answered by the ledger is trusted until ``idle`` less a
margin, counted from *before* asking (design, section 5); after that the ledger is asked again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.ledger.port import Ledger, SeatAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.site.admission import Person, Session

SEAT_MARGIN = 15.0  # seconds a worker treats a seat as lapsed before the ledger may reclaim it


def trusted_for(idle: float) -> float:
    """Seconds for which a seat may be trusted after activity, given the idle time in force."""
    return idle - min(SEAT_MARGIN, idle / 4)


class Claims:
    """Implements ``doors.SeatClaims``. ``idle`` returns the idle time in force, in seconds."""

    def __init__(
        self, ledger: Ledger, *, clock: Callable[[], float], idle: Callable[[], float]
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._idle = idle
        self._under_way: dict[str, asyncio.Future[SeatAnswer | None]] = {}

    async def claim(self, session: Session) -> SeatAnswer:
        """Raises LedgerAway: nothing was decided."""
        person = session.person
        if person.seat_until > self._clock():
            return SeatAnswer("seated", person.population)
        while (under_way := self._under_way.get(person.name)) is not None:
            shared = await asyncio.shield(under_way)
            if shared is not None:
                return shared
        future: asyncio.Future[SeatAnswer | None] = asyncio.get_running_loop().create_future()
        self._under_way[person.name] = future
        try:
            answer = await self._ask(person)
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

    async def _ask(self, person: Person) -> SeatAnswer:
        asked_at = self._clock()
        answer = await self._ledger.admit(person.name, person.population)
        if answer.state == "seated":
            person.seat_until = asked_at + trusted_for(self._idle())
            person.touched_at = asked_at
            person.seated_as(answer.population)
        return answer

    async def look(self, session: Session) -> SeatAnswer:
        """A poll of the waiting room: presence, and the state as the ledger has it."""
        person = session.person
        if person.seat_until > self._clock():
            return SeatAnswer("seated", person.population)
        return await self._ledger.look(person.name, present=True)
