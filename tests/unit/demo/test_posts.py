"""The feed's store, shared by its servers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING

from broker.demo.apps.posts import WELCOME, Posts

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = 4


def test_servers_that_start_at_the_same_moment_share_one_store(tmp_path: Path) -> None:
    for round_ in range(20):
        store = str(tmp_path / f"feed{round_}.db")
        together = Barrier(SERVERS)

        def server(number: int, store: str = store, together: Barrier = together) -> int:
            together.wait()
            posts = Posts(store, 1000.0)
            try:
                return posts.add("Anna", "network", f"from {number}", 1001.0).number
            finally:
                posts.close()

        with ThreadPoolExecutor(SERVERS) as pool:
            numbers = list(pool.map(server, range(SERVERS)))
        first = len(WELCOME) + 1
        assert sorted(numbers) == list(range(first, first + SERVERS))
