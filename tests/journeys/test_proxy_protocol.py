"""Dialogues that a load balancer begins with the PROXY protocol."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from ipaddress import ip_network

import trustme

from broker.gateway.plan import DoorPlan, ListenerPlan
from tests.support.stage import PATIENCE, Stage, Wire, get

HERE = (ip_network("127.0.0.0/8"),)
ELSEWHERE = (ip_network("192.0.2.0/24"),)
SPOKEN = ListenerPlan("public", proxy_protocol_from=HERE)
HEADER = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 443\r\n"
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


async def refused_as(stage: Stage, *pieces: bytes) -> str:
    """The address that is logged for a stranger's request."""
    browser = await stage.browser()
    await browser.send(*pieces)
    assert (await browser.response())[0] == 401
    return stage.log.lines[-1].address


async def test_the_client_is_whom_the_balancer_names() -> None:
    async with Stage(listener=SPOKEN) as stage:
        claimed = get("/", "X-Forwarded-For: 198.51.100.1")
        assert await refused_as(stage, HEADER + claimed) == "192.0.2.7"
        assert await refused_as(stage, LOCAL + claimed) == "127.0.0.1"
    async with Stage(listener=replace(SPOKEN, trusted_proxies=ELSEWHERE)) as stage:
        assert await refused_as(stage, HEADER + claimed) == "198.51.100.1"


async def test_whoever_does_not_speak_it_is_closed() -> None:
    async with Stage(listener=SPOKEN) as stage:
        browser = await stage.browser()
        await browser.send(get())
        assert await browser.is_closed()
    async with Stage(listener=replace(SPOKEN, proxy_protocol_from=ELSEWHERE)) as stage:
        browser = await stage.browser()
        await browser.send(HEADER + get())
        assert await browser.is_closed()
        assert not stage.log.lines


async def test_it_is_not_parsed_where_it_is_not_asked_for() -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(HEADER + get())
        assert (await browser.response())[0] == 400
        assert stage.log.lines[-1].address == "127.0.0.1"


async def test_the_client_has_the_places_not_the_balancer() -> None:
    door = DoorPlan(connections_per_address=1)
    async with Stage(listener=SPOKEN, door=door) as stage:
        assert await refused_as(stage, HEADER + get()) == "192.0.2.7"
        second = await stage.browser()
        await second.send(HEADER)
        assert await second.is_closed()
        assert stage.traffic.refused["per_address"] == 1
        assert await refused_as(stage, HEADER.replace(b".7", b".8") + get()) == "192.0.2.8"


async def test_a_header_that_does_not_come_ends_in_time() -> None:
    async with Stage(listener=SPOKEN, door=DoorPlan(head_timeout=0.2)) as stage:
        browser = await stage.browser()
        await browser.send(HEADER[:20])
        assert await browser.is_closed()


async def test_a_drain_does_not_wait_for_a_header() -> None:
    async with Stage(listener=SPOKEN) as stage:
        browser = await stage.browser()
        await browser.send(HEADER[:20])
        await stage.gateway.drain(PATIENCE)
        assert await browser.is_closed()


async def test_it_comes_before_tls() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("feed.test").configure_cert(server)
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    async with Stage(tls=server, listener=SPOKEN) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        browser = Wire(reader, writer)
        stage.browsers.append(browser)
        await browser.send(HEADER)
        await writer.start_tls(trust, server_hostname="feed.test")
        await browser.send(get())
        assert (await browser.response())[0] == 401
        assert stage.log.lines[-1].address == "192.0.2.7"
