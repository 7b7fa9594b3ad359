"""The same dialogues over TLS, whose transport behaves differently at every end."""

from __future__ import annotations

import asyncio
import ssl

import pytest
import trustme

from broker.gateway.plan import DoorPlan
from tests.support.stage import Stage, get, ok


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
