"""Telling the ledger that a worker is certainly dead, for as long as it takes to be heard.

Without its tombstone a dead worker's grants stay stranded until its lease ends (``keep_for``). Only
the supervisor may write one, and only after waitpid: see *reclaim only from the dead* in the
ledger's safety rules. Whatever goes wrong here is logged and tried again; it never ends the host.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from broker.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


class Tombstones:
    """``write(incarnation)`` is the ledger's call; ``clock`` monotonic seconds."""

    def __init__(self, write: Callable[[str], Awaitable[bool]], clock: Callable[[], float]) -> None:
        self._write = write
        self._clock = clock
        self._give_up_at = math.inf
        self.waiting: set[str] = set()
        """Incarnations whose tombstone the ledger has not taken yet."""

    def give_up_in(self, seconds: float) -> None:
        """The host ends: those still waiting are tried for that long and no longer."""
        self._give_up_at = self._clock() + seconds

    async def bury(self, incarnation: str) -> None:
        """Returns when the ledger took it (or never knew the worker), or on giving up."""
        self.waiting.add(incarnation)
        pause = _FIRST_PAUSE
        troubled = False
        while not await self._taken(incarnation, told=troubled):
            troubled = True
            left = self._give_up_at - self._clock()
            if left <= 0:
                _log.error("no tombstone for %s: its grants return with its lease", incarnation)
                return
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _LONGEST_PAUSE)
        self.waiting.discard(incarnation)
        if troubled:
            _log.info("tombstone for %s is written now", incarnation)

    async def _taken(self, incarnation: str, *, told: bool) -> bool:
        """``told``: the log knows already; an outage is one line at its start and one at its end,
        however often it is tried."""
        try:
            await self._write(incarnation)
        except BrokerError as error:
            if not told:
                _log.warning("no tombstone for %s yet, trying on: %s", incarnation, error.reason)
            return False
        except Exception:  # noqa: BLE001  whatever it was must not end the supervisor
            if not told:
                _log.exception("no tombstone for %s yet, trying on", incarnation)
            return False
        return True
