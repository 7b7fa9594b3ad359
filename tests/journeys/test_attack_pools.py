"""What one client does must not take servers, or a balancer's places, from all the others."""

from __future__ import annotations

import asyncio
import errno
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import uvloop

from broker.gateway import forwarded, health
from broker.gateway.plan import DoorPlan, HealthPlan, ListenerPlan
from broker.policy.ejection import EjectionRule
from tests.support.stage import Backend, Stage, get

if TYPE_CHECKING:
    import pytest

HERE = (ip_network("127.0.0.0/8"),)
TWICE = EjectionRule(failures=2)


def ejected(stage: Stage) -> int:
    return sum(each.ejected for each in stage.gateway.statistics().pools["feed"])


async def exhausted(*_: Any, **__: Any) -> Any:
    raise OSError(errno.EMFILE, "Too many open files")


async def test_a_body_that_never_ends_ejects_nobody() -> None:
    """Its servers lose their patience with the browser, as many do without a word."""
    async with Stage(servers=2, ejection=TWICE) as stage:
        cookie = stage.sessions.log_in("ada")
        for turn in range(6):
            browser = await stage.browser()
            await browser.send(get("/", "Content-Length: 9", cookie=cookie, method="POST"), b"1")
            asked = await stage.backends[(turn + 1) % 2].connection()
            await asked.until(b"\r\n\r\n1")
            asked.close()
            assert (await browser.response())[0] == 502
        assert ejected(stage) == 0


async def test_a_process_without_descriptors_ejects_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Stage(servers=2, ejection=TWICE) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        monkeypatch.setattr(uvloop.Loop, "create_connection", exhausted)
        for _ in range(6):
            await browser.send(get("/", cookie=cookie))
            assert (await browser.response())[0] == 502
        assert stage.traffic.pool("feed").dial_failures
        assert ejected(stage) == 0


async def test_nor_does_it_find_a_server_unhealthy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Stage() as stage:
        (server,) = stage.gateway._pools["feed"].servers
        tried = 0

        async def counted(*given: object, **more: object) -> None:
            nonlocal tried
            tried += 1
            await exhausted(*given, **more)

        monkeypatch.setattr(asyncio, "open_connection", counted)
        plan = HealthPlan("/", every=0.01, unhealthy_after=2)
        checks = asyncio.ensure_future(health.watch(server, plan))
        async with asyncio.timeout(10):
            while tried < 5:
                await asyncio.sleep(0.01)
        assert not checks.done()
        assert server.healthy
        checks.cancel()


async def test_clients_that_say_nothing_do_not_take_a_balancer_s_places() -> None:
    """Some balancers send their header with the client's first bytes."""
    listener = ListenerPlan("public", proxy_protocol_from=HERE)
    async with Stage(listener=listener, door=DoorPlan(connections_per_address=2)) as stage:
        for _ in range(5):
            await stage.browser()
        browser = await stage.browser()
        await browser.send(b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\r\n", get())
        assert (await browser.response())[0] == 401
        own = [await stage.browser() for _ in range(3)]  # LOCAL ones are the balancer's, and count
        for wire in own[:2]:
            await wire.send(b"PROXY UNKNOWN\r\n", get())
            assert (await wire.response())[0] == 401
        await own[2].send(b"PROXY UNKNOWN\r\n")
        assert await own[2].is_closed()
        assert stage.gateway._ground._by_address["127.0.0.1"] == 2


def test_a_long_forwarded_is_read_no_further_than_it_is_believed() -> None:
    asked: list[bytes] = []
    block = b"HTTP/1.1\r\nForwarded: " + b",".join([b"for=a"] * 5000) + b",for=192.0.2.1"
    real = forwarded.node

    def counted(text: bytes) -> str | None:
        asked.append(text)
        return real(text)

    forwarded.node = counted
    try:
        assert forwarded.client(block, "127.0.0.1", HERE) == "192.0.2.1"
    finally:
        forwarded.node = real
    assert asked == [b"192.0.2.1"]


async def test_a_request_that_no_server_survives_leaves_half_of_them() -> None:
    async with Stage(servers=4, ejection=EjectionRule(failures=5)) as stage:
        cookie = stage.sessions.log_in("ada")

        async def die(backend: Backend) -> None:
            while True:
                wire = await backend.connection()
                await wire.head()
                wire.close()

        playing = [asyncio.ensure_future(die(each)) for each in stage.backends]
        for _ in range(20):
            browser = await stage.browser()
            await browser.send(get("/poison", cookie=cookie))
            assert (await browser.response())[0] == 502
        assert ejected(stage) == 2
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)
