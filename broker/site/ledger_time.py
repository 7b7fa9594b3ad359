"""Ledger time as one worker may reckon it between syncs.

The ledger's own counter advances by at most one second a call, so it never runs ahead of real time;
a worker therefore adds the CLOCK_BOOTTIME that has passed since it *sent* the sync that told it.
The reckoning is never behind the ledger, so what it is used for (how long a seat may be trusted)
ends early rather than late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class LedgerTime:
    """The last ledger time heard, its epoch, and the boot time (seconds) from before asking."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.epoch = ""
        self._heard_ms = 0
        self._sent_at = 0.0

    def heard(self, epoch: str, ledger_ms: int, sent_at: float) -> None:
        self.epoch = epoch
        self._heard_ms = ledger_ms
        self._sent_at = sent_at

    def now_ms(self) -> int:
        return self._heard_ms + int((self._clock() - self._sent_at) * 1000)
