"""Tries of passwords and bans in Redis: one script, ``lua/guess.lua``, and its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.book_seats import text
from broker.ledger.port import Ban, GuessAnswer
from broker.policy.guessing import subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.book_seats import Scripts
    from broker.policy.guessing import GuessRules


class BookGuesses:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def guess(
        self, employee: str, address: str, browser: str, rules: GuessRules
    ) -> GuessAnswer:
        verdict, wait_ms, pairs, addresses, *tallies = await self._scripts.run(
            "guess",
            "count",
            employee,
            address,
            browser,
            rules.window_ms,
            rules.ban_ms,
            rules.per_pair,
            rules.per_address,
            rules.free,
            rules.slowest_ms,
        )
        return GuessAnswer(
            text(verdict),  # type: ignore[arg-type]
            int(wait_ms),
            tuple(text(tally) for tally in tallies),
            int(pairs),
            int(addresses),
        )

    async def settle_guess(self, tallies: Sequence[str], *, right: bool) -> None:
        await self._scripts.run("guess", "settle", int(right), *tallies)

    async def banned(self, address: str) -> int:
        return int(await self._scripts.run("guess", "banned", address))

    async def bans(self, most: int) -> tuple[Ban, ...]:
        now_ms, *flat = await self._scripts.run("guess", "list", most)
        return tuple(
            Ban(*subject(text(tally)), int(ends) - int(now_ms))
            for tally, ends in zip(flat[::2], flat[1::2], strict=True)
        )

    async def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        if employee:
            named: tuple[str, ...] = ("employee", employee)
        elif address:
            named = ("address", address)
        else:
            named = ("all",)
        return int(await self._scripts.run("guess", "clear", *named))
