"""Several Redis that belong together: a primary, its replicas and a Sentinel; a Cluster of one.

Real processes on loopback; each has its directory and is gone afterwards.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import redis

from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "site"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tcp_server(*arguments: str) -> tuple[RedisServer, int]:
    """A server that listens on loopback too, and its port."""
    port = free_port()
    server = RedisServer("--port", str(port), "--bind", "127.0.0.1", *arguments)
    return server, port


async def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Look again until it is so."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.05)


class SentinelSite:
    """A primary, its replicas and one Sentinel, which is enough of a quorum to replace the primary.
    With two replicas the primary may die: the one that follows it still has a replica to write to.
    """

    def __init__(self, replicas: int = 1) -> None:
        safe = (
            *("--min-replicas-to-write", "1", "--min-replicas-max-lag", "1"),
            *("--repl-diskless-sync-delay", "0"),
        )
        self.primary, self.primary_port = tcp_server(*safe)
        self._replicas: list[tuple[RedisServer, int]] = []
        try:
            follow = ("--replicaof", f"127.0.0.1 {self.primary_port}")
            for _ in range(replicas):
                self._replicas.append(tcp_server(*safe, *follow))
        except BaseException:
            self.close()
            raise
        self.replica, self.replica_port = self._replicas[0]
        self.port = free_port()
        self.url = f"sentinel://127.0.0.1:{self.port}/{NAME}"

    _sentinel: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Until the replicas follow and the Sentinel knows them."""
        count = len(self._replicas)
        with self.primary.client() as client:
            await until(lambda: _replication(client).get("min_slaves_good_slaves") == count)
        # Sentinel keeps what it learns in its own configuration file.
        path = self.primary.directory / "sentinel.conf"
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.primary.directory}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {self.primary_port} 1\n"
            f"sentinel down-after-milliseconds {NAME} 1000\n"
            f"sentinel failover-timeout {NAME} 10000\n"
        )
        self._sentinel = self._watch(path)
        with self.client() as client:
            await until(lambda: _knows_replicas(client, count))

    def _watch(self, path: Path) -> subprocess.Popen[bytes]:
        command = [self.primary.program, str(path), "--sentinel", "--loglevel", "warning"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def client(self) -> redis.Redis:
        """To the Sentinel."""
        return redis.Redis(port=self.port)

    async def fail_over(self) -> None:
        """The replica takes over, the primary becomes a replica of it; both are alive."""
        with self.client() as client, self.replica.client() as next_one:
            await until(lambda: _fails_over(client))
            await until(lambda: _replication(next_one)["role"] == "master")

    def close(self) -> None:
        if self._sentinel is not None:
            self._sentinel.kill()
            self._sentinel.wait()
        for replica, _ in self._replicas:
            replica.close()
        self.primary.close()


async def cluster_of_one() -> tuple[RedisServer, int]:
    """A node that owns all slots: keys of two slots in one script would be refused."""
    bus = free_port()
    server, port = tcp_server("--cluster-enabled", "yes", "--cluster-port", str(bus))
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))
    except BaseException:
        server.close()
        raise
    return server, port


def _replication(client: redis.Redis) -> dict[str, Any]:
    found: dict[str, Any] = client.info("replication")
    return found


def _fails_over(client: redis.Redis) -> bool:
    try:
        client.execute_command("SENTINEL FAILOVER", NAME)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        if "NOGOODSLAVE" not in str(error):
            raise
        return False  # it has not yet heard from the replica that it follows
    return True


def _knows_replicas(client: redis.Redis, count: int) -> bool:
    try:
        return len(client.sentinel_slaves(NAME)) == count
    except redis.ConnectionError:
        return False  # it has only just been started
