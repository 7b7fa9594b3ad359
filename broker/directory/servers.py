"""Which directory server to try first: the configured order, with those that just failed last.

Shared by all threads. A server that failed is not left out (it may be the only one), it is asked
after the others until ``FORGIVEN_AFTER`` has passed. The state changes are logged here, once each,
because behind this point several servers look like one.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.directory.plan import Server

FORGIVEN_AFTER = 10.0
"""Seconds."""

logger = logging.getLogger("broker.directory")


class Servers:
    """The servers in order of preference. ``clock`` gives seconds that never jump."""

    def __init__(self, servers: tuple[Server, ...], clock: Callable[[], float]) -> None:
        self._servers = servers
        self._clock = clock
        self._lock = threading.Lock()
        self._failed: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._servers)

    def in_order(self) -> list[Server]:
        """All servers, best first; of those that failed lately, the one longest ago first. One that
        has been left alone long enough is given its place back for a single asker at a time, who
        finds out: were it still silent, all threads would wait for it together."""
        now = self._clock()
        with self._lock:
            order = sorted(self._servers, key=lambda server: self._rank(server, now))
            for number, since in self._failed.items():
                if now - since >= FORGIVEN_AFTER:
                    self._failed[number] = now
        return order

    def _rank(self, server: Server, now: float) -> float:
        since = self._failed.get(server.number)
        return float("-inf") if since is None or now - since >= FORGIVEN_AFTER else since

    def failed(self, server: Server, cause: str) -> None:
        with self._lock:
            news = server.number not in self._failed
            self._failed[server.number] = self._clock()
        if news:
            logger.warning("directory server %d failed: %s", server.number, cause)

    def worked(self, server: Server) -> None:
        with self._lock:
            news = self._failed.pop(server.number, None) is not None
        if news:
            logger.info("directory server %d works again", server.number)
