"""Raises on a site of two hosts (two supervisors, two workers each, one ledger): how long from the
accepted call until the last worker has acknowledged, and until who waited is let in."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import yaml

from broker.ledger.redis_ledger import RedisLedger
from loadtest.bench import behind, sessions
from loadtest.bench.peers.broker import SITE, BrokerPlan, RunningBroker, started
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.bench.case import Bench

RAISES = 50
SEATS = 10
WORKERS = 2  # of each host
LONGEST = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Effect:
    """Milliseconds of each raise."""

    acknowledged: list[float]
    let_in: list[float]


def measure(bench: Bench) -> Effect:
    """RAISES raises by one seat each while RAISES employees wait."""
    with (
        behind.site(bench.folder) as site,
        started(bench.folder / "one", site, BrokerPlan(workers=WORKERS, seats=SEATS)) as found,
        _second_host(found, bench) as port,
    ):
        return asyncio.run(_raise(found, port, bench))


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98]


@contextmanager
def _second_host(found: RunningBroker, bench: Bench) -> Iterator[int]:
    settings = yaml.safe_load((found.folder / "broker.yaml").read_text())
    folder = bench.folder / "two"
    folder.mkdir()
    port = free_port()
    settings["listeners"][0]["address"] = f"127.0.0.1:{port}"
    settings["admin"]["address"] = f"127.0.0.1:{free_port()}"
    settings["run_dir"] = str(folder / "run")
    settings["access_log"]["path"] = str(folder / "access.log")
    configuration = folder / "broker.yaml"
    configuration.write_text(yaml.safe_dump(settings))
    serve = [sys.executable, "-m", "broker", "serve", "-c", str(configuration)]
    with running(serve, port, folder / "broker.log"):
        yield port


async def _raise(found: RunningBroker, second: int, bench: Bench) -> Effect:
    settings = yaml.safe_load((found.folder / "broker.yaml").read_text())
    # The employee whom the peer logged in has the last seat.
    await asyncio.to_thread(sessions.log_in, found, SEATS - 1, 1, seated=True)
    waiting = await asyncio.to_thread(sessions.log_in, found, RAISES, 1, seated=False)
    ledger = await RedisLedger.connect(f"unix://{found.redis_socket}", SITE, 10.0)
    effect = Effect([], [])
    host = _Host(settings["admin"]["address"], second, settings["admin"]["token"])
    try:
        async with aiohttp.ClientSession() as client, asyncio.timeout(LONGEST):
            version = await host.version(client)
            await _acknowledged(ledger, version)
            for number, cookie in enumerate(waiting, start=1):
                headers = {**found.target.headers, "Cookie": cookie}
                if await host.status(client, headers) != 503:
                    raise RuntimeError("somebody who should wait is let in")
                version = await host.order(client, 1 + number / SEATS, version)
                began = time.monotonic()
                entered = asyncio.create_task(host.let_in(client, headers))
                await _acknowledged(ledger, version)
                effect.acknowledged.append(1000 * (time.monotonic() - began))
                effect.let_in.append(1000 * (await entered - began))
                if number % 10 == 0:
                    bench.say(
                        f"  {number}/{RAISES} raises: acknowledged p50"
                        f" {statistics.median(effect.acknowledged):.0f} ms,"
                        f" let in p50 {statistics.median(effect.let_in):.0f} ms"
                    )
    finally:
        await ledger.close()
    return effect


async def _acknowledged(ledger: RedisLedger, version: int) -> None:
    """Until every worker of both hosts has these limits in force."""
    while True:
        workers = await ledger.workers()
        if len(workers) == 2 * WORKERS and all(each.limits_known >= version for each in workers):
            return
        await asyncio.sleep(0.001)


@dataclass(frozen=True, slots=True)
class _Host:
    """The first host's API, the second host's door."""

    admin: str
    port: int
    token: str

    @property
    def _authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def version(self, client: aiohttp.ClientSession) -> int:
        url = f"http://{self.admin}/api/v1/capacity"
        async with client.get(url, headers=self._authorized) as answer:
            answer.raise_for_status()
            version: int = (await answer.json())["version"]
            return version

    async def order(self, client: aiohttp.ClientSession, scale: float, version: int) -> int:
        """In force at once; returns the new version."""
        url = f"http://{self.admin}/api/v1/capacity/raise"
        headers = self._authorized | {"If-Match": f'"{version}"'}
        body = {"scale": scale, "reason": "bench", "ramp": None}
        async with client.post(url, headers=headers, json=body) as answer:
            answer.raise_for_status()
            raised: int = (await answer.json())["version"]
            return raised

    async def status(self, client: aiohttp.ClientSession, headers: dict[str, str]) -> int:
        url = f"http://127.0.0.1:{self.port}/"
        async with client.get(url, headers={**headers, "Accept": "application/json"}) as answer:
            await answer.read()
            return answer.status

    async def let_in(self, client: aiohttp.ClientSession, headers: dict[str, str]) -> float:
        """When it was, by the monotonic clock."""
        while await self.status(client, headers) != 200:
            pass
        return time.monotonic()
