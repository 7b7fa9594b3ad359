"""Runs the ledger's scripts in a real Redis with ledger time and learning set by the test.

The prelude that production puts in front (clock, epoch, keys) is replaced by a few lines here, so
that the Lua of one book can be driven alone and stands beside the twin at the same ledger time.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import broker.ledger
from broker.ledger import seat_limits

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import redis

    from broker.policy.limits import LimitsDocument

T = TypeVar("T")

LUA = Path(broker.ledger.__file__).parent / "lua"
LIBRARIES = ("lib_seats", "lib_calls", "lib_sessions")
PRELUDE = """
local function wake() end
local K = {prefix = KEYS[1]}
local now = tonumber(redis.call('GET', K.prefix .. 'test:now'))
local learning = redis.call('EXISTS', K.prefix .. 'test:learning') == 1
local ledger = {epoch = ''}
"""


class LuaScripts:
    """Implements ``book_seats.Scripts``; each instance is a ledger of its own (by prefix)."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self.prefix = prefix
        self.head = PRELUDE + "".join((LUA / f"{name}.lua").read_text() for name in LIBRARIES)
        self._loaded: dict[str, Any] = {}

    def set_clock(self, now_ms: int, *, learning: bool = False) -> None:
        self._client.set(self.prefix + "test:now", now_ms)
        if learning:
            self._client.set(self.prefix + "test:learning", "1")
        else:
            self._client.delete(self.prefix + "test:learning")

    def set_limits(self, document: LimitsDocument) -> None:
        self._client.set(self.prefix + "seat_limits", seat_limits.encode(document))

    def forget(self) -> None:
        """Lose everything, as a Redis without persistence does."""
        for name in self._client.scan_iter(match=self.prefix + "*", count=1000):
            self._client.delete(name)

    async def run(self, name: str, *args: str | bytes | int) -> Any:
        return self.run_text(name, (LUA / f"{name}.lua").read_text(), *args)

    def run_text(self, name: str, body: str, *args: str | bytes | int) -> Any:
        script = self._loaded.get(name)
        if script is None:
            script = self._loaded[name] = self._client.register_script(self.head + body)
        return script(keys=[self.prefix], args=list(args))


def finish(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never really waits (``LuaScripts.run`` does not)."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    raise AssertionError("the coroutine waited")
