"""How often a pool's requests may be asked again.

A retry hides one fault of one server; retries without a bound double the load of servers that fail
because they have too much of it. So they are paid for: each request puts a tenth of a retry into
its pool's bucket, each retry takes a whole one out. The bucket is small, so that only recent
requests count, and time trickles a little into it, so that a quiet pool is not without any.
"""

from __future__ import annotations

from typing import Final

COST: Final = 10  # what a retry takes; a request puts in 1: retries are at most 10 % of requests
MOST: Final = 20 * COST  # a bucket holds 20 retries, what the latest 200 requests paid for
TRICKLE: Final = COST  # what a whole second puts in: one retry


class RetryBudget:
    """A token bucket for one pool, full at first. ``now`` is seconds of a clock that never falls
    back; whole numbers, so that no rounding adds up."""

    __slots__ = ("_trickled_at", "tokens")

    def __init__(self, now: float) -> None:
        self.tokens = MOST
        self._trickled_at = now

    def request(self) -> None:
        """A request that is not itself a retry."""
        if self.tokens < MOST:
            self.tokens += 1

    def allows(self, now: float) -> bool:
        """Whether a retry could be paid for at this moment."""
        if self.tokens < COST:
            self._trickle(now)
        return self.tokens >= COST

    def spend(self, now: float) -> bool:
        """Pay for one retry; False, and nothing is taken, when it cannot be paid for."""
        self._trickle(now)
        if self.tokens < COST:
            return False
        self.tokens -= COST
        return True

    def _trickle(self, now: float) -> None:
        seconds = int(now - self._trickled_at)
        if seconds > 0:
            self.tokens = min(MOST, self.tokens + seconds * TRICKLE)
            self._trickled_at += seconds  # the rest of the time counts next time
