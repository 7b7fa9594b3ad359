"""Lua in Redis: reads the script files, runs them by digest within a deadline, translates errors.

Each script is prelude + libraries + its own file, sent whole when a node does not know it (EVAL on
NOSCRIPT) and otherwise named by its SHA-1. All get the same KEYS, which share the site's hash tag.
Nothing is retried here: a call that may or may not have been executed becomes LedgerAway, and the
caller knows what is safe.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import asynccontextmanager, contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from redis.exceptions import NoScriptError, ResponseError

from broker.errors import LedgerAway
from broker.ledger.connections import FAULTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from broker.ledger.connections import Client

_LOG = logging.getLogger(__name__)
_LIBRARIES = (
    "prelude",
    "lib_settle",
    "lib_grants",
    "lib_seats",
    "lib_calls",
    "lib_sessions",
    "lib_start",
)
_KEYS = (
    "",
    "meta",
    "limits",
    "grant_limits",
    "seat_limits",
    "workers",
    "held",
    "wants",
    "leases",
    "unheard",
    "dead",
)
_NO_PRIMARY = ("READONLY", "NOREPLICAS")
"""What a node answers that is, or may by now be, no longer the primary."""
_WALL_CLOCK = "local t = redis.call('TIME')\n  return t[1] * 1000 + math.floor(t[2] / 1000)"


def prefix(site: str) -> str:
    """What every key of ``site`` starts with; the braces are Redis Cluster's hash tag."""
    return f"broker:{{{site}}}:"


def source(name: str, *, wall_clock: str | None = None) -> str:
    """The text of script ``name`` with prelude and libraries in front.

    ``wall_clock`` is Lua that returns milliseconds in place of the server's TIME: tests only.
    """
    lua = files("broker.ledger").joinpath("lua")
    parts = [lua.joinpath(f"{part}.lua").read_text("utf-8") for part in (*_LIBRARIES, name)]
    if wall_clock is not None:
        if _WALL_CLOCK not in parts[0]:
            raise RuntimeError("prelude.lua no longer reads the clock where the loader expects it")
        parts[0] = parts[0].replace(_WALL_CLOCK, wall_clock)
    return "\n".join(parts)


@contextmanager
def cancellable() -> Iterator[None]:
    """Calls of redis-py inside end with CancelledError when their task was cancelled, always.

    redis-py sends with asyncio.wait_for, which before Python 3.12 keeps a cancellation for itself
    that arrives just as the sending ends: who calls Redis in a loop then never hears of it.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


class Scripts:
    """The scripts of one site on one Redis. ``deadline``: seconds for each call, round trip;
    ``calls``: the most at once, others wait for their turn within their deadline."""

    def __init__(
        self,
        client: Client,
        site: str,
        deadline: float,
        *,
        calls: int = 16,
        wall_clock: str | None = None,
    ) -> None:
        self.client = client
        self.prefix = prefix(site)
        self._deadline = deadline
        self._turns = asyncio.Semaphore(calls)
        self._wall_clock = wall_clock
        self._keys = [self.prefix + key for key in _KEYS]
        self._loaded: dict[str, tuple[str, str]] = {}

    async def run(self, name: str, *args: str | bytes | int) -> Any:
        """Run ``lua/NAME.lua`` with ``args`` as ARGV. Raises LedgerAway."""
        digest, text = self._script(name)
        redis = self.client.redis
        async with self.within_deadline(), self._turns:
            await self.client.ready()
            try:
                try:
                    return await redis.evalsha(digest, len(self._keys), *self._keys, *args)
                except NoScriptError:
                    # Nothing has been executed: asking again is safe. EVAL goes to the node that
                    # has the keys, wherever that is by now, and makes it remember the script.
                    return await redis.eval(text, len(self._keys), *self._keys, *args)
            except ResponseError as refusal:
                if any(word in str(refusal) for word in _NO_PRIMARY):
                    await self.client.look_again()
                raise

    @asynccontextmanager
    async def within_deadline(self) -> AsyncIterator[None]:
        """Whatever goes wrong with Redis inside, or lasts too long, becomes LedgerAway."""
        try:
            with cancellable():
                async with asyncio.timeout(self._deadline):
                    yield
        except TimeoutError as late:
            raise LedgerAway("The ledger did not answer in time.") from late
        except FAULTS as fault:
            # An outage fails every call: its beginning and end are told by who keeps calling.
            _LOG.debug("ledger: %s: %s", type(fault).__name__, fault)
            raise LedgerAway("The ledger cannot be reached.") from fault

    def _script(self, name: str) -> tuple[str, str]:
        if name not in self._loaded:
            text = source(name, wall_clock=self._wall_clock)
            # SHA-1 is the name that Redis gives a script (EVALSHA), not a protection.
            digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
            self._loaded[name] = digest, text
        return self._loaded[name]
