"""WebSockets: opened only by the backend's 101, then byte for byte until either side ends them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

from broker.gateway.plan import DeadlinesPlan, RoutePlan
from tests.support.stage import FEED, PATIENCE, STALLED, Stage, Wire, boottime, get, ok

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

OFFER = (
    "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
ORIGIN = "Origin: https://feed.test:8443"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


async def open_tunnel(stage: Stage, cookie: bytes) -> tuple[Wire, Wire]:
    browser = await stage.browser()
    await browser.send(get("/live", *OFFER, ORIGIN, cookie=cookie))
    backend = await stage.backend.connection()
    head = await backend.head()
    assert b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" in head
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==" in head
    assert b"\r\nX-Remote-User: ada" in head
    await backend.send(SWITCH)
    assert (await browser.head()).startswith(b"HTTP/1.1 101 ")
    return browser, backend


async def test_byte_for_byte_both_ways() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        await browser.send(b"\x81\x85anything at all\r\n\r\n")
        assert await backend.exactly(19) == b"\x81\x85anything at all\r\n\r\n"[:19]
        await backend.send(b"\x00" * 300_000)
        assert await browser.exactly(300_000) == b"\x00" * 300_000
        assert stage.gateway.statistics().tunnels == 1
        assert stage.traffic.pool("feed").tunnels == 1
        assert stage.traffic.figures()["feed"].tunnels == 1
        assert stage.spending.cell("feed", "everyone").used == 1
        backend.close()
        assert await browser.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0
        assert stage.traffic.pool("feed").tunnels == 0
        assert stage.traffic.pool("feed").held == 0, "a WebSocket is no exchange"
    line = stage.log.lines[-1]
    assert (line.status, line.sent, line.outcome) == (101, 300_000, "ok")


async def test_bytes_that_come_with_the_101_are_not_lost() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", *OFFER, ORIGIN, cookie=cookie) + b"early")
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(SWITCH + b"hello")
        await browser.head()
        assert await browser.exactly(5) == b"hello"
        assert await backend.exactly(5) == b"early"


async def test_the_last_words_of_each_side_arrive() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        await browser.send(b"bye from the browser")
        browser.close()
        assert await backend.rest() == b"bye from the browser"
        browser, backend = await open_tunnel(stage, cookie)
        await backend.send(b"bye from the backend")
        backend.close()
        assert await browser.rest() == b"bye from the backend"


async def test_who_has_said_all_before_the_101_has_ended_the_tunnel() -> None:
    """The loop tells it once, and that was before there was a tunnel: a feed would hold it open."""
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", *OFFER, ORIGIN, cookie=cookie))
        browser.writer.write_eof()
        backend = await stage.backend.connection()
        await backend.head()
        (gate,) = stage.gateway._browsers
        async with asyncio.timeout(PATIENCE):
            while not gate.was_half_closed:
                await asyncio.sleep(0)
        await backend.send(SWITCH + b"hello")
        assert await backend.is_closed()
        assert (await browser.rest()).endswith(b"\r\n\r\nhello")
        await stage.settled()


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((*OFFER, "Origin: https://evil.test"), 403),
        ((*OFFER,), 403),
        ((*OFFER, "Origin: null"), 403),
        ((*OFFER, ORIGIN, "Content-Length: 3"), 400),
        (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA"), 400),
    ],
)
async def test_offers_that_are_refused(fields: tuple[str, ...], status: int) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", *fields, cookie=cookie))
        assert (await browser.response())[0] == status
        assert stage.backend.accepted == 0


async def test_a_stranger_gets_401_and_a_route_may_allow_other_origins() -> None:
    route = RoutePlan(b"/", "feed", origins=(b"https://other.test",))
    async with Stage(routes=(route,)) as stage:
        browser = await stage.browser()
        await browser.send(get("/live", *OFFER, "Origin: https://other.test"))
        assert (await browser.response())[0] == 401


async def test_without_a_101_it_is_an_ordinary_exchange() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", *OFFER, ORIGIN, cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(ok(b"no"))
        assert (await browser.response())[2] == b"no"
        await browser.send(get("/", cookie=cookie))
        assert b"pgrade" not in await backend.head()


async def test_other_protocols_are_not_offered_to_backends() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Connection: Upgrade", "Upgrade: tls/1.2", cookie=cookie))
        backend = await stage.backend.connection()
        assert b"pgrade" not in await backend.head()


async def test_revocation_closes_a_tunnel() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        stage.sessions.revoke(cookie)
        assert await browser.is_closed()
        assert await backend.is_closed()
        await stage.settled()
        assert stage.traffic.pool("feed").tunnels == 0
        assert stage.spending.cell("feed", "everyone").used == 0
        assert stage.log.lines[-1].outcome == "revoked"


async def test_a_tunnel_that_has_ended_is_no_stream_of_its_session() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        streams = stage.sessions.session(cookie).streams
        assert len(streams) == 1
        browser.close()
        assert await backend.is_closed()
        await stage.settled()
        assert not streams


@pytest.mark.parametrize("activity", [True, False])
async def test_only_bytes_of_the_browser_are_activity(activity: bool) -> None:
    async with Stage(routes=(RoutePlan(b"/", "feed", activity=activity),)) as stage:
        cookie = stage.sessions.log_in("ada")
        person = stage.sessions.people["ada"]
        browser, backend = await open_tunnel(stage, cookie)
        assert (person.last_active > 0) == activity
        person.last_active = 0.0
        await backend.send(b"feed")
        assert await browser.exactly(4) == b"feed"
        assert person.last_active == 0.0
        await browser.send(b"typed")
        await backend.exactly(5)
        assert (person.last_active > boottime() - 5) == activity


@pytest.mark.parametrize(
    ("deadlines", "outcome"),
    [
        (DeadlinesPlan(tunnel_idle=0.4), "tunnel_idle"),
        (DeadlinesPlan(tunnel_max_age=0.4), "tunnel_age"),
    ],
)
async def test_idle_and_old_tunnels_end(deadlines: DeadlinesPlan, outcome: str) -> None:
    async with Stage(deadlines=deadlines) as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        assert await browser.is_closed()
        assert await backend.is_closed()
        assert stage.log.lines[-1].outcome == outcome


async def test_a_browser_that_does_not_read_its_tunnel_stops_the_backend() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend = await open_tunnel(stage, cookie)
        backend.writer.write(b"z" * (24 << 20))
        await asyncio.sleep(0.3)
        (gate,) = stage.gateway._browsers
        assert gate.transport.get_write_buffer_size() <= STALLED
        assert len(await browser.exactly(24 << 20)) == 24 << 20


async def test_a_real_websocket_client_and_server() -> None:
    async def echo(websocket: ServerConnection) -> None:
        async for message in websocket:
            await websocket.send(message)

    async with Stage() as stage, serve(echo, "127.0.0.1", 0) as server:
        stage.backend.port = server.sockets[0].getsockname()[1]
        stage.backend.address = f"http://127.0.0.1:{stage.backend.port}"
        stage.gateway.replace(stage.plan())
        cookie = stage.sessions.log_in("ada")
        async with connect(
            f"ws://{FEED.decode()}/live",
            host="127.0.0.1",
            port=stage.port,
            origin="https://feed.test:8443",  # type: ignore[arg-type]
            additional_headers={"Cookie": f"__Host-broker={cookie.decode()}"},
            proxy=None,
        ) as websocket:
            for message in ("hello", "x" * 200_000):
                await websocket.send(message)
                assert await websocket.recv() == message
            await (await websocket.ping())
            stage.sessions.revoke(cookie)
            started = time.monotonic()
            with pytest.raises(ConnectionClosed):
                await websocket.recv()
            assert time.monotonic() - started < 5
