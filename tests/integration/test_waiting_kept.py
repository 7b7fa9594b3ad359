"""A place in the waiting room outlives what breaks: workers that are killed, a Redis that forgets,
a primary that dies.

Real processes, two workers, a real Redis. Browsers keep their cookies and open a new connection for
each poll, so that any worker may answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from broker.errors import LedgerAway
from broker.ledger.redis_ledger import RedisLedger
from tests.support.backends import answering, serving
from tests.support.redis_nodes import SentinelSite
from tests.support.running_broker import SITE, TOKEN, RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from broker.ledger.port import Usage
    from tests.support.redis_server import RedisServer

PATIENCE = 60.0  # seconds, on a busy machine


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=request.headers.get("X-Remote-User", "healthy"))

    async with serving(answering(page)) as address:
        yield address


@pytest.fixture
def broker(server: str) -> Iterator[RunningBroker]:
    """One seat."""
    pool: dict[str, Any] = {"servers": [server], "connections": {"limit": 200}}
    with running_broker({"one": pool}, seats={"limit": 1}) as running:
        yield running


class Browser:
    """Cookies of one employee on one host; a new connection for each request."""

    def __init__(self, broker: RunningBroker, cookie: str) -> None:
        self.broker = broker
        self.cookies = {"__Host-broker": cookie}

    async def ask(self, path: str = "/") -> tuple[int, Any]:
        headers = self.broker.headers("one", "")
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            asyncio.timeout(20),
            aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as one,
            one.get(self.broker.url(path), headers=headers) as answer,
        ):
            for line in answer.headers.getall("Set-Cookie", []):
                for name, morsel in SimpleCookie(line).items():
                    if morsel["max-age"] == "0":
                        self.cookies.pop(name, None)
                    else:
                        self.cookies[name] = morsel.value
            json = "json" in answer.headers["Content-Type"]
            return answer.status, await (answer.json(content_type=None) if json else answer.text())

    async def until(self, state: str, position: int | None = None) -> None:
        """Poll until that is what is told: what a worker knows of a queue is a tick old."""
        async with asyncio.timeout(PATIENCE):
            while True:
                status, told = await self.ask("/.broker/wait/status")
                if status == 200 and (told["state"], told["position"]) == (state, position):
                    return
                assert status in (200, 429, 503), told
                await asyncio.sleep(0.5)


async def crowd(broker: RunningBroker, *employees: str) -> list[Browser]:
    """They come in this order; the first is seated."""
    browsers = [Browser(broker, await broker.cookie("one", name)) for name in employees]
    for number, browser in enumerate(browsers):
        status, told = await browser.ask()
        assert status == (503 if number else 200), told
    return browsers


async def test_workers_that_are_killed_cost_nobody_a_place(broker: RunningBroker) -> None:
    anna, bert, carol = await crowd(broker, "anna", "bert", "carol")
    before = {each["pid"] for each in (await broker.api("/workers"))["workers"]}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while True:
            workers = (await broker.api("/workers"))["workers"]
            pids = {each["pid"] for each in workers if each["answers"]}
            if len(pids - before) == len(before):
                break
            await asyncio.sleep(0.2)
    await carol.until("waiting", 2)
    await bert.until("waiting", 1)
    assert (await anna.ask())[0] == 200


async def test_a_redis_that_forgets_costs_nobody_a_place(broker: RunningBroker) -> None:
    _anna, bert, carol = await crowd(broker, "anna", "bert", "carol")
    assert "__Host-broker-ticket" in carol.cookies
    shown = carol.cookies["__Host-broker-ticket"]
    with broker.redis.client() as client:
        client.flushall()
    await bert.until("learning")
    await learned(broker)
    await carol.until("waiting", 2)
    await bert.until("waiting", 1)
    assert carol.cookies["__Host-broker-ticket"] != shown, "it names the new epoch"
    (dora,) = await crowd_of_waiters(broker, "dora")
    await dora.until("waiting", 3)


async def test_what_only_the_browser_still_knows_is_put_back_once(broker: RunningBroker) -> None:
    """Workers are killed while Redis forgets: nobody but the cookies remembers the queue."""
    _anna, bert, carol = await crowd(broker, "anna", "bert", "carol")
    kept = dict(carol.cookies)
    known = await broker.api("/workers")
    for each in known["workers"]:
        os.kill(each["pid"], signal.SIGSTOP)
    with broker.redis.client() as client:
        client.flushall()
    for each in known["workers"]:
        os.kill(each["pid"], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):  # nobody knows the limits any more
        while not await published(broker):
            await asyncio.sleep(0.3)
    await learned(broker)
    for browser, name in ((bert, "bert"), (carol, "carol")):  # their sessions are lost as well
        browser.cookies["__Host-broker"] = await broker.cookie("one", name)
    eve = Browser(broker, await broker.cookie("one", "eve"))
    assert (await eve.ask())[0] == 200, "the seat was only in the memory that is lost"
    (dora,) = await crowd_of_waiters(broker, "dora")
    await carol.until("waiting", 1)
    await bert.until("waiting", 1)
    await carol.until("waiting", 2)
    await dora.until("waiting", 3)
    await broker_removes(broker, "carol")
    again = Browser(broker, await broker.cookie("one", "carol"))
    again.cookies["__Host-broker-ticket"] = kept["__Host-broker-ticket"]
    assert (await again.ask())[0] == 503
    await again.until("waiting", 3)  # not a second time


@pytest.fixture
async def guarded(redis_server: RedisServer) -> AsyncIterator[SentinelSite]:
    """A primary, two replicas and a Sentinel: it goes on without its primary."""
    site = SentinelSite(replicas=2)
    try:
        await site.start()
        yield site
    finally:
        site.close()


async def test_a_primary_that_dies_costs_nobody_a_place_or_a_seat(
    guarded: SentinelSite, server: str
) -> None:
    """Sentinel makes a replica the primary; meanwhile everybody asks again and again."""
    pools: dict[str, Any] = {"one": {"servers": [server], "connections": {"limit": 200}}}
    with running_broker(pools, ledger_url=guarded.url, seats={"limit": 1}) as broker:
        anna, bert, carol = await crowd(broker, "anna", "bert", "carol")
        ledger = await RedisLedger.connect(guarded.url, SITE, 5.0)
        try:
            before = await ledger.usage()
            with guarded.primary.client() as client:
                assert client.wait(2, 5000) == 2  # the replicas have it all
            guarded.primary.kill()
            async with asyncio.timeout(PATIENCE):
                while await epoch(ledger) in ("", before.epoch):
                    assert (await anna.ask())[0] == 200, "her seat is known without the ledger"
                    for browser in (bert, carol):
                        status, told = await browser.ask()
                        assert status == 503, told
            await carol.until("waiting", 2)
            await bert.until("waiting", 1)
            (dora,) = await crowd_of_waiters(broker, "dora")
            await dora.until("waiting", 3)
            assert (await anna.ask())[0] == 200
            after = await answered(ledger.usage)
            assert (after.occupied, after.called) == ({"everyone": 1}, {"everyone": 0})
            await answered(lambda: ledger.release("anna"))
            await bert.until("called")
            async with asyncio.timeout(PATIENCE):
                while (await bert.ask())[0] != 200:
                    pass
            await carol.until("waiting", 1)
        finally:
            await ledger.close()


async def epoch(ledger: RedisLedger) -> str:
    """Empty while nobody answers."""
    try:
        return (await ledger.usage()).epoch
    except LedgerAway:
        return ""


async def answered(call: Callable[[], Awaitable[Usage]] | Callable[[], Awaitable[bool]]) -> Any:
    """Asked again while a primary whose replicas lag (on a busy machine) refuses to write."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except LedgerAway:
                await asyncio.sleep(0.1)


async def crowd_of_waiters(broker: RunningBroker, *employees: str) -> list[Browser]:
    browsers = [Browser(broker, await broker.cookie("one", name)) for name in employees]
    for browser in browsers:
        assert (await browser.ask())[0] == 503
    return browsers


async def learned(broker: RunningBroker) -> None:
    """The longest lease passes, ten minutes, in an instant: learning began that long ago."""
    with broker.redis.client() as client:
        client.hincrby(f"broker:{{{SITE}}}:meta", "since", -600_000)
    async with asyncio.timeout(PATIENCE):
        while (await broker.api("/capacity"))["learning"]:
            await asyncio.sleep(0.1)


async def published(broker: RunningBroker) -> bool:
    headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": '"0"'}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{broker.admin}/api/v1/reload", json={"publish": True}) as answer,
    ):
        return answer.status == 200


async def broker_removes(broker: RunningBroker, employee: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{broker.admin}/api/v1/waiting/{employee}"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.delete(url) as answer,
    ):
        assert answer.status == 200, await answer.text()
