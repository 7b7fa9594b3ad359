"""When a server that fails is left alone, for how long, and how it comes back.

Active checks ask one path now and then; this rule looks at what becomes of employees' requests. A
server whose requests failed some times in a row is *ejected* for a pause. The pause doubles each
time until the server has held out as long as its latest pause. Coming back it is on trial (one more
failure ejects it again) and gets its share of the load little by little: a server with cold caches
that is handed everything at once fails again. Whether enough others are left is the caller's to
say: no more than half of a pool are ever ejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEAST_SHARE: Final = 0.1  # what a returning server starts with: not none, or it proves nothing


@dataclass(frozen=True, slots=True)
class EjectionRule:
    """``failures`` in a row eject; the first pause, the longest, and the time in which the share of
    a returning server grows to the whole, in seconds. ``slow_start`` 0: all of it at once."""

    failures: int = 5
    pause: float = 10.0
    longest: float = 300.0
    slow_start: float = 30.0


def can_spare(left: int, able: int) -> bool:
    """Whether a pool with ``able`` servers in order, of which ``left`` others are in use, can do
    without one more: half of them stay, for one request that no server survives is tried on several
    and would otherwise take away all but one."""
    return left > 0 and 2 * left >= able


class Standing:
    """What is known of one server. ``now`` is seconds of a clock that never falls back."""

    __slots__ = ("_pause", "_since", "_until", "failures")

    def __init__(self) -> None:
        self.failures = 0
        self._pause = 0.0
        self._until = float("-inf")
        self._since = float("-inf")  # when it came back, or will

    def succeeded(self) -> None:
        """A request was answered."""
        self.failures = 0

    def failed(self, now: float, rule: EjectionRule, *, spared: bool) -> bool:
        """A request was not. True when that ejects the server; never unless it can be ``spared``.
        What was under way when it was ejected is not held against it twice."""
        if self.is_out(now):
            return False
        self.failures += 1
        if self.failures < rule.failures or not spared:
            return False
        held_out = now - self._since > self._pause
        self._pause = rule.pause if held_out else min(rule.longest, self._pause * 2)
        self._until = self._since = now + self._pause
        self.failures = rule.failures - 1
        return True

    def returned(self, now: float) -> None:
        """It is used again after it was left alone for another reason."""
        self._since = max(self._since, now)

    def is_out(self, now: float) -> bool:
        return now < self._until

    def share(self, now: float, rule: EjectionRule) -> float:
        """The part of its weight that counts at present, from LEAST_SHARE to 1."""
        age = now - self._since
        if age < 0.0:  # still out; without a slow start there is nothing to divide by
            return LEAST_SHARE
        if age >= rule.slow_start:
            return 1.0
        return max(LEAST_SHARE, age / rule.slow_start)
