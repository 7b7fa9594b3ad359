"""Redis goes away under a working broker, and comes back empty: nobody is logged out, nobody is let
in beyond the limit, nothing hangs, and what is said is true."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from tests.support.backends import answering, serving
from tests.support.running_broker import RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["X-Remote-User"])

    async def healthy(_: web.Request) -> web.Response:
        return web.Response()

    async with serving(answering(page, healthz=healthy)) as address:
        yield address


PERSISTENT = ("--appendonly", "yes", "--appendfsync", "always")


@pytest.fixture(params=[PERSISTENT, ()], ids=["keeps-its-memory", "loses-its-memory"])
def broker(request: pytest.FixtureRequest, server: str) -> Iterator[RunningBroker]:
    pools: dict[str, dict[str, Any]] = {"one": {"servers": [server], "connections": {"limit": 200}}}
    with running_broker(pools, *request.param, seats={"limit": 2}) as running:
        yield running


async def get(
    session: aiohttp.ClientSession, broker: RunningBroker, cookie: str
) -> tuple[int, str, dict[str, str]]:
    async with asyncio.timeout(20):
        async with session.get(broker.url(), headers=broker.headers("one", cookie)) as answer:
            return answer.status, await answer.text(), dict(answer.headers)


async def test_seated_employees_work_on_and_everybody_is_told_the_truth(
    broker: RunningBroker,
) -> None:
    anna, bert = [await broker.cookie("one", name) for name in ("anna", "bert")]
    carol, dora = [await broker.cookie("one", name) for name in ("carol", "dora")]
    # A connection for each request, so that both workers are met.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        for cookie, name in ((anna, "anna"), (bert, "bert")):
            renewed = [await get(session, broker, cookie) for _ in range(12)]
            assert {(status, text) for status, text, _ in renewed} == {(200, name)}
        status, text, headers = await get(session, broker, carol)
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert headers["Content-Type"].startswith("application/problem+json")

        broker.redis.kill()
        answers = await asyncio.gather(*(get(session, broker, anna) for _ in range(40)))
        assert {(status, text) for status, text, _ in answers} == {(200, "anna")}
        for cookie in (carol, dora):
            status, text, headers = await get(session, broker, cookie)
            assert status == 503, text
            assert int(headers["Retry-After"]) > 0
        async with session.get(f"{broker.admin}/readyz") as ready:
            assert ready.status == 503
            assert "the ledger does not answer" in (await ready.json())["reasons"]

        broker.redis.start()
        remembers = broker.redis.persistent
        await until_settled(broker, learning=not remembers)
        for cookie, name in ((anna, "anna"), (bert, "bert")):
            answers = await asyncio.gather(*(get(session, broker, cookie) for _ in range(20)))
            assert {(status, text) for status, text, _ in answers} == {(200, name)}
        capacity = await broker.api("/capacity")
        assert (capacity["seats"]["limit"], capacity["seats"]["occupied"]) == (2, 2)
        assert (await get(session, broker, carol))[0] == 503


async def until_settled(broker: RunningBroker, *, learning: bool) -> None:
    """Until both workers speak to the ledger in its new epoch, and it has got as far as it can:
    with its list of workers it learns in two ticks, without one it waits for the longest lease."""
    async with asyncio.timeout(60), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{broker.admin}/readyz") as answer:
                said = await answer.json()
            wanted = ["the ledger lost its memory and is learning"] if learning else []
            if said == {"ready": not learning, "reasons": wanted, "warnings": []}:
                known = (await broker.api("/workers"))["workers"]
                if len(known) == 2 and all(worker["acknowledged"] for worker in known):
                    return
            await asyncio.sleep(0.1)


async def test_a_fresh_login_is_served_by_a_worker_that_never_met_it(server: str) -> None:
    """One page before Redis goes is enough: the cookie then states the seat."""
    pools: dict[str, dict[str, Any]] = {"one": {"servers": [server], "connections": {"limit": 200}}}
    with running_broker(pools) as broker:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            first = await broker.cookie("one", "anna")
            status, _, headers = await get(session, broker, first)
            assert status == 200
            renewed = headers["Set-Cookie"].removeprefix("__Host-broker=").partition(";")[0]
            broker.redis.kill()
            answers = await asyncio.gather(*(get(session, broker, renewed) for _ in range(40)))
            assert {(status, text) for status, text, _ in answers} == {(200, "anna")}
