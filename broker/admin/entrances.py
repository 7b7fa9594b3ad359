"""Who entered the console and who was refused, for the audit trail.

The trail is never shortened, and whoever reaches the listener can be refused as often as they like:
refusals are written down some a minute, and the next line that is written says how many were not.
A ledger that is away keeps nobody out: the process's log has each line too.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.ledger.port import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from broker.admin.callers import Caller
    from broker.ledger.port import Ledger

_log = logging.getLogger(__name__)
DOOR = "console"
"""As the author of refusals: what somebody typed is no name until it is proved."""
MOST_REFUSALS = 10
"""Lines about refusals in a row; one more becomes free each REFUSAL_EVERY seconds."""
REFUSAL_EVERY = 6.0
_LONGEST_NAME = 64


class Entrances:
    """``clock``: monotonic seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._free = float(MOST_REFUSALS)
        self._since = clock()
        self._unwritten = 0

    async def entered(self, request: web.Request, caller: Caller, how: str) -> None:
        await self._write(AuditEntry(caller.name, "entered", "the console", _told(request, how)))

    async def refused(self, request: web.Request, why: str, typed: str = "") -> None:
        """``typed``: the login name, as it came."""
        now = self._clock()
        self._free = min(MOST_REFUSALS, self._free + (now - self._since) / REFUSAL_EVERY)
        self._since = now
        if self._free < 1:
            self._unwritten += 1
            return
        self._free -= 1
        if self._unwritten:
            why += f"; {self._unwritten} more were refused since the line before"
            self._unwritten = 0
        whom = f"entry as {_printable(typed)}" if typed else "entry"
        await self._write(AuditEntry(DOOR, "refused", whom, _told(request, why)))

    async def _write(self, entry: AuditEntry) -> None:
        _log.warning("%s %s %s: %s", entry.author, entry.action, entry.subject, entry.reason)
        try:
            await self._ledger.record(entry)
        except LedgerAway as away:
            _log.warning("not in the audit trail: %s", away.reason)


def _told(request: web.Request, words: str) -> str:
    """With the address, which a Unix socket does not have."""
    return f"{words}, from {request.remote}" if request.remote else words


def _printable(typed: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in typed.strip())
    return shown if len(shown) <= _LONGEST_NAME else f"{shown[:_LONGEST_NAME]}…"
