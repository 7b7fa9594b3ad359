"""Seats and tickets in Redis: one atomic script per call, and the reading of its answer.

The rules are in the scripts (``lua/lib_seats.lua``, ``lua/lib_calls.lua``) and once more, as plain
Python, in ``policy/``. This module only translates; it holds no state and must not decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from broker.ledger.port import SeatAnswer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import FormerTicket
    from broker.policy.seats import SeatState

PUT_BACK_ENTRIES = 250  # per call


class Scripts(Protocol):
    """Runs ``lua/NAME.lua`` behind the prelude and the libraries. Raises LedgerAway."""

    async def run(self, name: str, *args: str | bytes | int) -> Any: ...


class BookSeats:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def admit(self, employee: str, population: str) -> SeatAnswer:
        return (await self.admit_all(((employee, population),)))[0]

    async def admit_all(self, asking: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        flat = [name for pair in asking for name in pair]
        return [_answer(reply) for reply in await self._scripts.run("admit", *flat)]

    async def put_back(self, tickets: Sequence[FormerTicket]) -> None:
        for start in range(0, len(tickets), PUT_BACK_ENTRIES):
            rows = [
                (each.employee, each.population, each.number, each.epoch, each.silent_ms)
                for each in tickets[start : start + PUT_BACK_ENTRIES]
            ]
            await self._scripts.run("put_back", msgspec.json.encode(rows))

    async def remove_ticket(self, employee: str) -> bool:
        return bool(await self._scripts.run("remove_ticket", employee))

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        return _answer(await self._scripts.run("look", employee, int(present)))

    async def release(self, employee: str) -> bool:
        return bool(await self._scripts.run("release", employee))

    async def evict_idle(self, most: int) -> int:
        return int(await self._scripts.run("evict", most))


def text(value: str | bytes) -> str:
    """Redis answers bytes unless told otherwise."""
    return value.decode() if isinstance(value, bytes) else value


def _answer(reply: list[Any]) -> SeatAnswer:
    state: SeatState = text(reply[0])  # type: ignore[assignment]  # the scripts answer these words
    return SeatAnswer(
        state,
        text(reply[1]),
        number=reply[2],
        position=reply[3],
        claim_ms=reply[4],
        ledger_ms=reply[5],
        idle_ms=reply[6],
        epoch=text(reply[7]),
    )
