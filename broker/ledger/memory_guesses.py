"""Tries of passwords and bans, in memory: the twin of ``lua/guess.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.port import Ban, GuessAnswer
from broker.policy.guessing import CODES, Tally, delay_ms, one_more, subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.memory_seats import LedgerState
    from broker.policy.guessing import GuessRules


class MemoryGuesses:
    """Methods answer as the port's of the same name."""

    def __init__(self, state: LedgerState) -> None:
        self._state = state
        self._tallies: dict[str, Tally] = {}
        self._bans: dict[str, int] = {}

    def guess(self, employee: str, address: str, browser: str, rules: GuessRules) -> GuessAnswer:
        own = f"k {browser} {employee}"
        if browser and not self._banned_for(own):
            return GuessAnswer("allowed", 0, (own,), pairs_banned=self._count(own, rules))
        if address == CODES:
            pair = f"p {CODES} {employee}"
            if left := self._banned_for(pair):
                return GuessAnswer("pair", left)
            return GuessAnswer("allowed", 0, (pair,), pairs_banned=self._count(pair, rules))
        counted: list[str] = [f"e {employee}"]
        pairs = addresses = 0
        if address:
            pair, everybody = f"p {address} {employee}", f"a {address}"
            if left := self._banned_for(everybody):
                return GuessAnswer("address", left)
            if left := self._banned_for(pair):
                return GuessAnswer("pair", left)
            pairs, addresses = self._count(pair, rules), self._count(everybody, rules)
            counted += [pair, everybody]
        self._count(counted[0], rules)
        wait = delay_ms(self._tallies[counted[0]].count, rules)
        return GuessAnswer("allowed", wait, tuple(counted), pairs, addresses)

    def settle_guess(self, tallies: Sequence[str], *, right: bool) -> None:
        for name in tallies:
            if right and name[0] in "pk":
                self._forget(name)
                continue
            tally = self._tallies.get(name)
            if tally is not None and tally.ends_ms > self._state.now and tally.count > 0:
                self._tallies[name] = Tally(tally.count - 1, tally.ends_ms)
                self._bans.pop(name, None)

    def banned(self, address: str) -> int:
        return self._banned_for(f"a {address}")

    def bans(self, most: int) -> tuple[Ban, ...]:
        in_force = [(left, name) for name in self._bans if (left := self._banned_for(name))]
        latest = sorted(in_force, reverse=True)[:most]
        return tuple(Ban(*subject(name), left) for left, name in latest)

    def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        named = [
            name
            for name in self._bans
            if self._banned_for(name) and _concerns(name, employee, address)
        ]
        for name in named:
            self._forget(name)
        if employee:
            self._forget(f"e {employee}")
        return len(named)

    def _count(self, name: str, rules: GuessRules) -> int:
        """Count one try; 1 when it brought a ban."""
        known = self._tallies.get(name)
        if known is not None and known.count == 0:
            known = None  # all of its tries were taken back
        tally = one_more(known, self._state.now, rules.window_ms)
        most = {"p": rules.per_pair, "k": rules.per_pair, "a": rules.per_address}.get(name[0], 0)
        brought = 0 < most <= tally.count
        if brought:
            tally = Tally(tally.count, self._state.now + rules.ban_ms)
            self._bans[name] = tally.ends_ms
        self._tallies[name] = tally
        return int(brought)

    def _banned_for(self, name: str) -> int:
        return max(0, self._bans.get(name, 0) - self._state.now)

    def _forget(self, name: str) -> None:
        self._tallies.pop(name, None)
        self._bans.pop(name, None)


def _concerns(name: str, employee: str, address: str) -> bool:
    if not employee and not address:
        return True
    kind, banned_employee, where = subject(name)
    if employee:
        return kind != "address" and banned_employee == employee
    return kind != "browser" and where == address
