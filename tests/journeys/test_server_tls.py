"""Dialogues with servers that speak TLS, and with some that should not be spoken to."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.gateway.certificates import server_context
from broker.gateway.plan import HealthPlan, ServerPlan
from tests.support.stage import PATIENCE, Stage, get, ok
from tests.support.tls_backend import ListeningBackend, Pki, served_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@contextlib.asynccontextmanager
async def behind_tls(
    serving: ssl.SSLContext, expected: ssl.SSLContext, name: str = "", **pool: object
) -> AsyncIterator[tuple[Stage, ListeningBackend, bytes]]:
    """(stage, its only server, a cookie)."""
    backend = await ListeningBackend(serving).start()
    try:
        async with Stage() as stage:
            plan = ServerPlan.parse(backend.address)
            plan = replace(plan, tls=expected, server_name=name)
            stage.gateway.replace(served_by(stage, [plan], **pool))
            yield stage, backend, stage.sessions.log_in("ada")
    finally:
        await backend.close()


async def test_pages_bodies_reuse_and_a_tunnel(pki: Pki) -> None:
    async with behind_tls(pki.serving("127.0.0.1"), pki.expected()) as (stage, backend, cookie):
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 200000", method="PUT", cookie=cookie))
        await browser.send(b"u" * 200_000)
        wire = await backend.connection()
        assert wire.writer.get_extra_info("ssl_object") is not None
        await wire.head()
        assert await wire.exactly(200_000) == b"u" * 200_000
        await wire.send(ok(b"d" * 300_000))
        assert (await browser.response())[2] == b"d" * 300_000
        for _ in range(3):
            await browser.send(get(cookie=cookie))
            await wire.head()
            await wire.send(ok(b"again"))
            assert (await browser.response())[2] == b"again"
        assert backend.accepted == 1
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Origin: https://feed.test:8443")
        await browser.send(get("/live", *upgrade, cookie=cookie))
        await wire.head()
        await wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await browser.head()
        await browser.send(b"ping")
        assert await wire.exactly(4) == b"ping"
        await wire.send(b"pong")
        assert await browser.exactly(4) == b"pong"


async def refused(stage: Stage, backend: ListeningBackend, cookie: bytes) -> None:
    """The browser gets 502, the server nothing, and the dial counts against it."""
    browser = await stage.browser()
    await browser.send(get(cookie=cookie))
    assert (await browser.response())[0] == 502
    assert backend._waiting.empty()
    assert stage.traffic.pool("feed").dial_failures


async def test_a_server_that_cannot_prove_itself_is_told_nothing(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Pki(tmp_path / "other")
    async with behind_tls(other.serving("127.0.0.1"), pki.expected()) as (stage, backend, cookie):
        await refused(stage, backend, cookie)
        assert "its certificate cannot be believed" in caplog.text
        told = len(caplog.records)
        await refused(stage, backend, cookie)
        assert len(caplog.records) == told, "the same reason is told once"


async def test_the_name_is_the_address_s_host_or_the_configured_one(pki: Pki) -> None:
    async with behind_tls(pki.serving("feed.internal"), pki.expected()) as (stage, backend, cookie):
        await refused(stage, backend, cookie)
    named = behind_tls(pki.serving("feed.internal"), pki.expected(), "feed.internal")
    async with named as (stage, backend, cookie):
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        wire = await backend.connection()
        await wire.head()
        await wire.send(ok())
        assert (await browser.response())[0] == 200


async def test_no_lower_version_than_configured(pki: Pki) -> None:
    serving = pki.serving("127.0.0.1")
    serving.maximum_version = ssl.TLSVersion.TLSv1_2
    async with behind_tls(serving, pki.expected("1.3")) as (stage, backend, cookie):
        await refused(stage, backend, cookie)


async def test_a_server_that_asks_for_our_certificate(pki: Pki) -> None:
    serving = pki.serving("127.0.0.1")
    serving.verify_mode = ssl.CERT_REQUIRED
    serving.load_verify_locations(pki.ca)
    shown = server_context(pki.ca, "1.2", *pki.issue("broker"))
    async with behind_tls(serving, shown) as (stage, backend, cookie):
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        wire = await backend.connection()
        await wire.head()
        assert wire.writer.get_extra_info("peercert")["subjectAltName"] == (("DNS", "broker"),)
    # Without one TLS 1.3 lets us finish and refuses afterwards: no answer, whatever was sent.
    async with behind_tls(serving, pki.expected()) as (stage, _, cookie):
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        assert (await browser.response())[0] == 502


@pytest.mark.parametrize("closed", [True, False])
async def test_only_tls_s_own_end_ends_a_body_without_a_length(pki: Pki, closed: bool) -> None:
    async with behind_tls(pki.serving("127.0.0.1"), pki.expected()) as (stage, backend, cookie):
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        wire = await backend.connection()
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await browser.until(b"all of it")
        if closed:
            wire.close()
            await browser.until(b"0\r\n\r\n")
        else:
            sock = wire.writer.get_extra_info("socket")
            with socket.socket(fileno=os.dup(sock.fileno())) as beneath:
                beneath.shutdown(socket.SHUT_WR)  # anybody's FIN
            assert b"0\r\n" not in await browser.rest()
        async with asyncio.timeout(PATIENCE):
            while not stage.log.lines:
                await asyncio.sleep(0.01)
        assert stage.log.lines[-1].outcome == ("ok" if closed else "truncated")


async def test_active_checks_ask_over_tls_and_verify(pki: Pki, tmp_path: Path) -> None:
    health = HealthPlan("/alive", every=0.02, timeout=PATIENCE)

    async def answer_checks(backend: ListeningBackend) -> None:
        while True:
            wire = await backend.connection()
            assert (await wire.head()).startswith(b"GET /alive ")
            await wire.send(ok())

    async def until(stage: Stage, healthy: bool) -> None:
        async with asyncio.timeout(PATIENCE):
            while stage.gateway.statistics().pools["feed"][0].healthy is not healthy:
                await asyncio.sleep(0.01)

    serving = pki.serving("127.0.0.1")
    async with behind_tls(serving, pki.expected(), health=health) as (stage, backend, _):
        answering = asyncio.ensure_future(answer_checks(backend))
        plan = ServerPlan.parse(backend.address)
        believed = replace(plan, tls=pki.expected())
        doubted = replace(plan, tls=Pki(tmp_path / "other").expected())
        stage.gateway.replace(served_by(stage, [doubted], health=health))
        await until(stage, healthy=False)
        stage.gateway.replace(served_by(stage, [believed], health=health))
        await until(stage, healthy=True)
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
