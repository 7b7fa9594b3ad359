"""Whose address is logged, asserted and forwarded when a proxy stands in front."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from broker.gateway.plan import ListenerPlan
from tests.support.stage import Stage, Wire, get, ok

BELIEVED = ListenerPlan("public", trusted_proxies=(ip_network("127.0.0.0/8"),))
OTHERS = ListenerPlan("public", trusted_proxies=(ip_network("10.0.0.0/8"),))


def forwarded(head: bytes) -> list[bytes]:
    """What the backend is told of the client's address."""
    names = (b"x-forwarded-for:", b"forwarded:")
    return [line for line in head.split(b"\r\n") if line.lower().startswith(names)]


async def test_each_request_of_one_connection_has_its_client() -> None:
    async with Stage(listener=BELIEVED) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        backend: Wire | None = None
        for sent, seen in [
            (("X-Forwarded-For: 198.51.100.1, 192.0.2.7",), b"192.0.2.7"),
            (("X-Forwarded-For: 198.51.100.1, 192.0.2.7",), b"192.0.2.7"),
            (("Forwarded: for=192.0.2.8",), b"192.0.2.8"),
            ((), b"127.0.0.1"),
        ]:
            await browser.send(get("/", *sent, cookie=cookie))
            backend = backend or await stage.backend.connection()
            assert forwarded(await backend.head()) == [b"X-Forwarded-For: " + seen]
            await backend.send(ok(b"."))
            await browser.response()
            assert stage.log.lines[-1].address == seen.decode()


async def test_what_is_no_request_is_the_proxy_s() -> None:
    async with Stage(listener=BELIEVED) as stage:
        browser = await stage.browser()
        await browser.send(get("/", "X-Forwarded-For: 192.0.2.7"))
        assert (await browser.response())[0] == 401
        await browser.send(b"nonsense\r\n\r\n")
        assert (await browser.response())[0] == 400
        assert [line.address for line in stage.log.lines] == ["192.0.2.7", "127.0.0.1"]


async def test_the_portal_is_told_the_client() -> None:
    async with Stage(listener=BELIEVED) as stage:
        browser = await stage.browser()
        await browser.send(get("/", "X-Forwarded-For: 192.0.2.7", "Sec-Fetch-Mode: navigate"))
        portal = await stage.portal.connection()
        await portal.head()
        await portal.send(ok(b"enter"))
        await browser.response()
        assert stage.sessions.stated[-1][1]["address"] == "192.0.2.7"


async def test_nobody_else_is_believed() -> None:
    for listener in (ListenerPlan("public"), OTHERS):
        async with Stage(listener=listener) as stage:
            cookie = stage.sessions.log_in("ada")
            browser = await stage.browser()
            lines = ("X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7")
            await browser.send(get("/", *lines, cookie=cookie))
            backend = await stage.backend.connection()
            assert forwarded(await backend.head()) == [b"X-Forwarded-For: 127.0.0.1"]
            await backend.send(ok(b"."))
            await browser.response()
            assert stage.log.lines[-1].address == "127.0.0.1"


@pytest.mark.parametrize("remembered", [True, False])
async def test_a_session_excepted_from_a_second_factor_is_good_in_its_networks_only(
    remembered: bool,
) -> None:
    """Begun in the office with a password alone, and taken home."""
    async with Stage(listener=BELIEVED) as stage:
        plan = replace(stage.plan(), inside=("10.0.0.0/8",))
        stage.gateway.replace(plan)
        cookie = stage.sessions.log_in("ada", remembered=remembered)
        free = stage.sessions.log_in("bea", remembered=remembered)
        for known in (stage.sessions.known, stage.sessions.elsewhere):
            for session in known.values():
                session.tied = session.person.name == "ada"
        browser = await stage.browser()
        backend: Wire | None = None
        for who, address, status in (
            (cookie, "10.1.2.3", 200),
            (cookie, "192.0.2.7", 401),
            (cookie, "10.1.2.3", 200),
            (free, "192.0.2.7", 200),
        ):
            await browser.send(get("/", f"X-Forwarded-For: {address}", cookie=who))
            if status == 200:
                backend = backend or await stage.backend.connection()
                await backend.head()
                await backend.send(ok(b"."))
            assert (await browser.response())[0] == status, (who, address)
        logout = get(
            "/.broker/logout", "X-Forwarded-For: 192.0.2.7", "Content-Length: 0", cookie=cookie,
            method="POST",
        )  # fmt: skip
        await browser.send(logout)
        portal = await stage.portal.connection()
        await portal.head()
        await portal.send(ok(b"out"))
        await browser.response()
        ending = stage.sessions.stated[-1][0]
        assert ending is not None, "it can be ended from anywhere"
        assert ending.person.name == "ada"
        stage.gateway.replace(replace(plan, inside=()))
        await browser.send(get("/", "X-Forwarded-For: 10.1.2.3", cookie=cookie))
        assert (await browser.response())[0] == 401, "a reload is in force at once"
        await browser.send(
            get("/", "X-Forwarded-For: 192.0.2.7", "Sec-Fetch-Mode: navigate", cookie=cookie)
        )
        await portal.head()
        await portal.send(ok(b"enter"))
        await browser.response()
        assert stage.sessions.stated[-1][0] is None, "the portal sees a stranger, who logs in"
