"""Taking turns: of those who come with the same key, one at a time, in order of arrival.

Used for logins of one person, whose failures must be counted one after the other. Nothing is shared
between them but the turn. Memory is kept only for keys in use.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from broker.errors import Busy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable


class _Queue:
    __slots__ = ("lock", "people")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.people = 0


class Turns:
    """``limit`` is how many may be present for one key, the one whose turn it is included."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queues: dict[Hashable, _Queue] = {}

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable, *, preferred: bool = False) -> AsyncIterator[None]:
        """Wait for the turn and hold it. Raises Busy at once when too many wait already; who is
        ``preferred`` is not counted against that limit."""
        queue = self._queues.setdefault(key, _Queue())
        if queue.people >= self._limit and not preferred:
            raise Busy("Too many logins with this user name at once. Please try again in a moment.")
        queue.people += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.people -= 1
            if not queue.people:
                del self._queues[key]

    def __len__(self) -> int:
        """Keys in use."""
        return len(self._queues)
