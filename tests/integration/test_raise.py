"""Raises on a whole broker: in force on every worker, guarded by what a real server answers, driven
on when the steward dies, ended once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from tests.support.running_broker import TOKEN, RunningBroker, running_broker
from tests.support.running_demo import CHECKOUT, command, free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 60.0
GUARD = {"window": "1s", "responses": 5, "slower_by": "200ms"}
POPULATIONS = [
    {"name": "managers", "attributes": {"title": "manager"}},
    {"name": "everyone", "admitted": False},
]


class Server:
    """A backend that is as slow as it is told to be, and counts."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.in_flight = self.most = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.in_flight -= 1
        return web.Response(text="ok")


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield server
    finally:
        await runner.cleanup()


def a_broker(port: int, *, limit: int = 10) -> contextlib.AbstractContextManager[RunningBroker]:
    pools = {
        "one": {
            "servers": [f"http://127.0.0.1:{port}"],
            "connections": {"limit": limit},
            "guard": GUARD,
            "ejection": {"failures": 1000},
        }
    }
    return running_broker(
        pools,
        populations=POPULATIONS,
        seats={"limit": 20},
        connections={"limit": 20},
        directory={
            "servers": ["ldaps://127.0.0.1:1"],
            "base": "dc=example",
            "attributes": ["title"],
        },
    )


async def post(broker: RunningBroker, path: str, **body: Any) -> dict[str, Any]:
    version = (await broker.api("/capacity"))["version"]
    headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": f'"{version}"'}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{broker.admin}/api/v1/capacity/{path}", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()
        told: dict[str, Any] = await answer.json()
        return told


async def until(
    broker: RunningBroker, holds: Callable[[dict[str, Any]], bool], what: str
) -> dict[str, Any]:
    """The capacity once it is as told."""
    capacity: dict[str, Any] = {}
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds(capacity := await broker.api("/capacity")):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not seen: {what}; {capacity}\n{broker.log()}") from None
    return capacity


async def acknowledged(broker: RunningBroker, version: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while any(
            (each["acknowledged"] or 0) < version
            for each in (await broker.api("/workers"))["workers"]
        ):
            await asyncio.sleep(0.01)


async def actions(broker: RunningBroker) -> list[str]:
    return [entry["action"] for entry in (await broker.api("/audit"))["entries"]]


def ramp(capacity: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = capacity["raises"]["site"]["ramp"]
    return found


@contextlib.asynccontextmanager
async def browsing(broker: RunningBroker, people: int = 6) -> AsyncIterator[list[int]]:
    """Employees who ask again and again; the list holds the statuses they got."""
    statuses: list[int] = []

    async def browse(number: int) -> None:
        cookie = await broker.cookie("one", f"m{number}", "managers")
        headers = broker.headers("one", cookie)
        while True:
            # A worker that is killed takes its connections with it; browsers ask again.
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(broker.url(), headers=headers) as answer:
                    await answer.read()
                    statuses.append(answer.status)
            await asyncio.sleep(0.05)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        tasks = [asyncio.create_task(browse(number)) for number in range(people)]
        try:
            yield statuses
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def serve_again(broker: RunningBroker) -> subprocess.Popen[bytes]:
    with (broker.folder / "again.log").open("wb") as log:
        return subprocess.Popen(
            command("serve", "-c", broker.folder / "broker.yaml"),
            stdout=log,
            stderr=log,
            cwd=CHECKOUT,
        )


async def test_the_guard_pauses_and_takes_back_and_another_steward_lets_it_arrive() -> None:
    (port,) = free_ports(1)
    with a_broker(port) as broker:
        async with serving(port) as server, browsing(broker) as statuses:
            await until(broker, lambda _: len(statuses) > 100, "requests")
            raised = await post(
                broker, "raise", scale=4, reason="test", ramp={"factor": 2, "every": 2.0}
            )
            assert raised["after"]["seats"] == 40
            assert raised["at_target"]["seats"] == 80

            await until(broker, lambda now: now["raises"]["site"]["baseline_seconds"], "a baseline")
            server.delay = 0.6
            await until(broker, lambda now: ramp(now)["state"] == "paused", "a pause")
            back = await until(broker, lambda now: ramp(now)["rolled_back"], "a roll-back")
            assert "is above" in ramp(back)["why"]
            rolled_to = ramp(back)["scale"]
            assert rolled_to in (1.0, 2.0)

            server.delay = 0.0
            workers = (await broker.api("/workers"))["workers"]
            (steward,) = [each for each in workers if each["steward"]]
            os.kill(steward["pid"], signal.SIGKILL)
            await post(broker, "resume", reason="the server is well again")
            arrived = await until(broker, lambda now: ramp(now)["state"] == "reached", "arrival")
            assert arrived["seats"]["limit"] == 80
            assert server.most <= 40
        told = await actions(broker)
        assert told[0] == "raised"
        assert told.count("rolled back") == 1
        assert told.index("paused") < told.index("rolled back") < told.index("resumed")
        assert told[-1] == "reached"
        assert 200 in statuses
        assert set(statuses) <= {200, 503}


async def test_a_raise_is_acknowledged_by_name_and_lowering_throws_nobody_out() -> None:
    (port,) = free_ports(1)
    with a_broker(port) as broker:
        async with serving(port), browsing(broker, people=15) as statuses:
            await until(broker, lambda now: now["seats"]["occupied"] == 15, "15 seats")
            raised = await post(
                broker, "raise", scale=6, open_to=["everyone"], reason="test", ramp=None
            )
            await acknowledged(broker, raised["version"])
            capacity = await broker.api("/capacity")
            assert (capacity["scale"], capacity["seats"]["limit"]) == (6.0, 120)
            assert capacity["seats"]["populations"]["everyone"]["admitted"]
            lowered = await post(broker, "lower", scale=0.5, reason="test")
            await acknowledged(broker, lowered["version"])
            seen = len(statuses)
            await until(broker, lambda _: len(statuses) > seen + 300, "more requests")
            assert (await broker.api("/capacity"))["seats"]["occupied"] == 15
            assert set(statuses[seen:]) <= {200}


async def test_a_raise_ends_once_though_every_broker_was_down_at_that_moment() -> None:
    (port,) = free_ports(1)
    with a_broker(port) as broker:
        raised = await post(broker, "raise", scale=6, reason="test", ramp=None, lasts=4.0)
        assert raised["after"]["raises"]["site"]["ends"] is not None
        assert broker.stop() == 0, broker.log()
        await asyncio.sleep(4.0)  # the moment of the end is civil time: it has to pass
        again = serve_again(broker)
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    with contextlib.suppress(aiohttp.ClientError, AssertionError):
                        if (await broker.api("/capacity"))["scale"] == 1.0:
                            break
                    await asyncio.sleep(0.05)
            capacity = await broker.api("/capacity")
            assert capacity["raises"] == {}
            await asyncio.sleep(2.5)  # two more rounds of every worker
            entries = (await broker.api("/audit"))["entries"]
            assert [(entry["action"], entry["author"]) for entry in entries] == [
                ("raised", "admin token"),
                ("ended", "steward"),
            ]
        finally:
            again.terminate()
            assert again.wait(30) == 0


async def test_a_raise_while_redis_is_away_is_refused_and_changes_nothing() -> None:
    (port,) = free_ports(1)
    with a_broker(port) as broker:
        version = (await broker.api("/capacity"))["version"]
        broker.redis.freeze()
        headers = {"Authorization": f"Bearer {TOKEN}", "If-Match": f'"{version}"'}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(
                f"{broker.admin}/api/v1/capacity/raise", json={"scale": 6, "reason": "test"}
            ) as answer,
        ):
            assert answer.status == 503
            assert "ledger" in (await answer.json())["detail"]
        broker.redis.thaw()
        capacity = await until(broker, lambda now: bool(now), "the ledger again")
        assert (capacity["version"], capacity["scale"]) == (version, 1.0)
        assert await actions(broker) == []
