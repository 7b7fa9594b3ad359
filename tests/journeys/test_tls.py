"""The same dialogues over TLS, whose transport behaves differently at every end."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
import ssl

import pytest
import trustme

from broker.gateway.doorstep import PAUSE
from broker.gateway.plan import DoorPlan
from tests.support.stage import PATIENCE, STALLED, Stage, Wire, get, ok


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(of the listener, of the browser)."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("feed.test").configure_cert(server)
    browser = ssl.create_default_context()
    authority.configure_trust(browser)
    return server, browser


def over_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Stage:
    return Stage(tls=contexts[0], trust=contexts[1])


async def test_pages_bodies_and_reuse(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with over_tls(contexts) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 200000", method="PUT", cookie=cookie))
        await browser.send(b"u" * 200_000)
        backend = await stage.backend.connection()
        await backend.head()
        assert await backend.exactly(200_000) == b"u" * 200_000
        await backend.send(ok(b"d" * 300_000))
        assert (await browser.response())[2] == b"d" * 300_000
        await browser.send(get(cookie=cookie))
        await backend.head()
        await backend.send(ok(b"again"))
        assert (await browser.response())[2] == b"again"


async def test_a_browser_that_leaves(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with over_tls(contexts) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        browser.close()
        assert await backend.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_a_truncated_response(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async with over_tls(contexts) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        await browser.head()
        backend.close()
        assert len(await browser.rest()) < 100


async def test_a_refused_upload_gets_its_answer(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with over_tls(contexts) as stage:
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 5000000", method="POST"), b"x" * 50_000)
        status, fields, _ = await browser.response()
        assert (status, fields[b"connection"]) == (401, b"close")


async def test_a_browser_that_does_not_read(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with over_tls(contexts) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        size = 24 << 20
        backend.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        backend.writer.write(b"z" * size)
        await asyncio.sleep(0.3)
        (gate,) = stage.gateway._browsers
        assert gate.transport.get_write_buffer_size() <= 2 * STALLED  # in clear, and encrypted
        assert backend.writer.transport.get_write_buffer_size() > 8 << 20
        assert len((await browser.response())[2]) == size


async def test_plain_http_on_a_tls_port_is_not_answered(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async with Stage(tls=contexts[0], door=DoorPlan(head_timeout=0.5)) as stage:
        browser = await stage.browser()
        await browser.send(get())
        assert b"HTTP/1.1 200" not in await browser.rest()
        assert stage.backend.accepted == 0


async def bare(stage: Stage) -> Wire:
    """A connection that never begins the handshake."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", stage.port))
    stage.browsers.append(wire)
    return wire


async def test_whoever_never_begins_the_handshake_is_counted(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    door = DoorPlan(connections_per_address=2)
    async with Stage(tls=contexts[0], trust=contexts[1], door=door) as stage:
        held = [await bare(stage) for _ in range(2)]
        assert await (await bare(stage)).is_closed()
        assert stage.traffic.refused["per_address"] == 1
        for wire in held:
            wire.reset()
        await places_are_free(stage, 2)


async def test_a_handshake_that_does_not_end_gives_its_place_back(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    door = DoorPlan(connections_per_address=1, head_timeout=0.3)
    async with Stage(tls=contexts[0], trust=contexts[1], door=door) as stage:
        slow = await bare(stage)
        assert await slow.is_closed()
        await places_are_free(stage, 1)


async def test_a_browser_s_place_comes_back_once(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    door = DoorPlan(connections_per_address=1)
    async with Stage(tls=contexts[0], trust=contexts[1], door=door) as stage:
        for _ in range(3):
            (browser,) = await places_are_free(stage, 1)
            assert await (await bare(stage)).is_closed()
            browser.reset()


async def test_without_descriptors_accepting_rests_and_goes_on(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener stays readable meanwhile: without a rest the loop would do nothing else."""
    tried: list[float] = []
    accept = socket.socket.accept

    def starved(listener: socket.socket) -> tuple[socket.socket, object]:
        tried.append(asyncio.get_running_loop().time())
        if len(tried) <= 3:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept(listener)

    async with over_tls(contexts) as stage:
        monkeypatch.setattr(socket.socket, "accept", starved)
        await stage.browser()
        pauses = [late - early for early, late in itertools.pairwise(tried[:4])]
        assert min(pauses) > PAUSE / 2


async def places_are_free(stage: Stage, count: int) -> list[Wire]:
    """Wait until the address may open ``count`` TLS connections at once, and open them."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                opened = [await stage.browser() for _ in range(count)]
            except OSError:  # refused during the handshake
                await asyncio.sleep(0.01)
                continue
            return opened
