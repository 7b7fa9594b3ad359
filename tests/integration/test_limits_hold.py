"""Limits seen from where they matter: by the backends themselves, with everything real.

The backends live in the test's own process and count what they carry; nothing the broker says about
itself is believed.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.backends import serving
from tests.support.running_broker import RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Oracle:
    """Two backends that hold each request until told otherwise, and count them together."""

    def __init__(self) -> None:
        self.in_flight = {"one": 0, "two": 0}
        self.highest = {"one": 0, "two": 0}
        self.highest_together = 0
        self.hold = asyncio.Event()
        self.changed = asyncio.Condition()

    async def carry(self, name: str) -> None:
        self.in_flight[name] += 1
        self.highest[name] = max(self.highest[name], self.in_flight[name])
        self.highest_together = max(self.highest_together, sum(self.in_flight.values()))
        await self._tell()
        try:
            await self.hold.wait()
        finally:
            self.in_flight[name] -= 1
            await self._tell()

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(30), self.changed:
            await self.changed.wait_for(condition)

    def application(self, name: str) -> web.Application:
        async def page(_: web.Request) -> web.Response:
            await self.carry(name)
            return web.json_response({"name": name})

        async def quick(_: web.Request) -> web.Response:
            return web.Response(text="ok")

        app = web.Application()
        app.router.add_route("*", "/hold", page)
        app.router.add_get("/{rest:.*}", quick)
        return app


@pytest.fixture
async def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
async def servers(oracle: Oracle) -> AsyncIterator[dict[str, str]]:
    one, two = oracle.application("one"), oracle.application("two")
    async with (
        serving(one, handler_cancellation=True) as first,
        serving(two, handler_cancellation=True) as second,
    ):
        yield {"one": first, "two": second}
        oracle.hold.set()


def pool(server: str, **changes: Any) -> dict[str, Any]:
    return {"servers": [server], "connections": {"limit": 100}, **changes}


async def crowd(
    broker: RunningBroker, app: str, people: int, requests: int, session: aiohttp.ClientSession
) -> list[asyncio.Task[int]]:
    """``requests`` requests of each of ``people`` employees, all under way at once."""

    async def get(headers: dict[str, str]) -> int:
        # POST: the client would repeat a GET by itself when its connection breaks.
        async with session.post(broker.url("/hold"), headers=headers) as answer:
            await answer.read()
            return answer.status

    tasks = []
    for number in range(people):
        cookie = await broker.cookie(app, f"person-{number}")
        headers = broker.headers(app, cookie)
        tasks += [asyncio.create_task(get(headers)) for _ in range(requests)]
    return tasks


async def test_two_pools_under_a_site_limit_never_exceed_it_together(
    oracle: Oracle, servers: dict[str, str]
) -> None:
    """Two pools with limit 100 each under a site limit of 120."""
    pools = {name: pool(server, queue_timeout="1s") for name, server in servers.items()}
    connector = aiohttp.TCPConnector(limit=0)
    with running_broker(pools, connections={"limit": 120, "per_employee": 64}) as broker:
        async with aiohttp.ClientSession(connector=connector) as session:
            tasks = [
                *await crowd(broker, "one", 5, 30, session),
                *await crowd(broker, "two", 5, 30, session),
            ]
            await oracle.until(lambda: sum(oracle.in_flight.values()) >= 118)
            refused, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            first = refused.pop().result()
            oracle.hold.set()
            statuses = await asyncio.gather(*tasks)
        assert first == 503
        assert oracle.highest_together <= 120
        assert max(oracle.highest.values()) <= 100
        assert set(statuses) == {200, 503}
        assert statuses.count(200) >= 118


async def test_what_one_pool_leaves_unused_the_other_uses(
    oracle: Oracle, servers: dict[str, str]
) -> None:
    pools = {
        name: pool(server, connections={"limit": 100, "guaranteed": 60}, queue_timeout="10s")
        for name, server in servers.items()
    }
    connector = aiohttp.TCPConnector(limit=0)
    with running_broker(pools, connections={"limit": 120, "per_employee": 64}) as broker:
        async with aiohttp.ClientSession(connector=connector) as session:
            tasks = await crowd(broker, "one", 4, 25, session)
            await oracle.until(lambda: oracle.in_flight["one"] == 100)
            oracle.hold.set()
            assert set(await asyncio.gather(*tasks)) == {200}
        assert oracle.highest["one"] == 100


async def test_a_killed_worker_s_grants_come_back_and_nobody_is_logged_out(
    oracle: Oracle, servers: dict[str, str]
) -> None:
    pools = {"one": pool(servers["one"], connections={"limit": 20}, queue_timeout="10s")}
    connector = aiohttp.TCPConnector(limit=0)
    with running_broker(pools) as broker:
        async with aiohttp.ClientSession(connector=connector) as session:
            held = await crowd(broker, "one", 2, 10, session)
            await oracle.until(lambda: oracle.in_flight["one"] == 20)
            workers = await broker.api("/workers")
            for worker in workers["workers"]:
                os.kill(worker["pid"], signal.SIGKILL)
            lost = await asyncio.gather(*held, return_exceptions=True)
            assert all(isinstance(one, aiohttp.ClientError) for one in lost)
            await oracle.until(lambda: oracle.in_flight["one"] == 0)
            oracle.hold.set()
            cookie = await broker.cookie("one", "person-0")
            async with session.get(
                broker.url("/hold"), headers=broker.headers("one", cookie)
            ) as answer:
                assert answer.status == 200
            again = await crowd(broker, "one", 2, 10, session)
            assert set(await asyncio.gather(*again)) == {200}
        assert oracle.highest["one"] <= 20
        log = broker.log()
        assert log.count("SIGKILL") == len(workers["workers"])
