"""``broker sessions refresh`` on a running broker with a real slapd: other groups are in force in
open sessions, and who is disabled is out, tunnels included."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from broker.demo.employees import (
    BASE_DN,
    DISABLED_FILTER,
    GROUPS_DN,
    SERVICE_DN,
    SERVICE_PASSWORD,
)
from tests.integration.directory.test_logins import DISABLED, MANAGER
from tests.support.backends import answering, echoing, serving
from tests.support.running_broker import TOKEN, RunningBroker, running_broker
from tests.support.running_demo import CHECKOUT, command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.integration.conftest import Authority
    from tests.support.slapd_server import SlapdServer


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def who(request: web.Request) -> web.Response:
        return web.json_response(
            {
                name: request.headers.get(f"X-Remote-{name}", "")
                for name in ("User", "Groups", "Population")
            }
        )

    async with serving(answering(who, live=echoing), handler_cancellation=True) as address:
        yield address


@pytest.fixture
def broker(server: str, slapd: SlapdServer, authority: Authority) -> Iterator[RunningBroker]:
    directory = {
        "servers": [f"ldaps://localhost:{slapd.ldaps_port}"],
        "base": BASE_DN,
        "ca": str(authority.ca),
        "bind_dn": SERVICE_DN,
        "bind_password": SERVICE_PASSWORD,
        "disabled_filter": DISABLED_FILTER,
        "deadline": "20s",
    }
    populations = [
        {"name": "managers", "groups": [f"cn=managers,{GROUPS_DN}"]},
        {"name": "everyone"},
    ]
    pools = {"one": {"servers": [server], "connections": {"limit": 50}}}
    with running_broker(pools, directory=directory, populations=populations) as running:
        yield running


async def refresh(broker: RunningBroker, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command("sessions", "refresh", *arguments),
        cwd=CHECKOUT,
        env={**os.environ, "BROKER_ADMIN_URL": broker.admin, "BROKER_ADMIN_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert b"read again now: 1" in out


async def test_other_groups_are_in_force_in_an_open_session(broker: RunningBroker) -> None:
    cookie = await broker.cookie("one", MANAGER)  # of everyone, and in no group
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def seen() -> dict[str, str]:
            headers = broker.headers("one", cookie)
            async with session.get(broker.url(), headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                found: dict[str, str] = await answer.json()
                return found

        for _ in range(8):  # so that both workers know the session as it was
            assert (await seen())["Groups"] == ""
        await refresh(broker, MANAGER)
        async with asyncio.timeout(20):
            in_a_row = 0
            while in_a_row < 8:
                right = f"cn=managers,{GROUPS_DN}" in (await seen())["Groups"]
                in_a_row = in_a_row + 1 if right else 0
        last = await seen()
    assert last["User"] == MANAGER
    assert last["Population"] == "everyone", "the seat held keeps its own"
    sessions = await broker.api(f"/sessions?employee={MANAGER}")
    assert sessions["sessions"][0]["population"] == "managers"
    audit = await broker.api("/audit")
    assert any(MANAGER in str(entry) and "refreshed" in str(entry) for entry in audit["entries"])


async def test_who_is_disabled_is_out_and_tunnels_close(broker: RunningBroker) -> None:
    cookie = await broker.cookie("one", DISABLED)
    other = await broker.cookie("one", MANAGER)
    async with aiohttp.ClientSession() as session:
        headers = {**broker.headers("one", cookie), "Origin": broker.apps["one"]}
        tunnel = await session.ws_connect(broker.url("/live"), headers=headers)
        await tunnel.send_str("here")
        assert await tunnel.receive_str() == "here"
        async with session.get(broker.url(), headers=broker.headers("one", other)) as answer:
            assert answer.status == 200
        assert (await broker.api("/capacity"))["seats"]["occupied"] == 2
        await refresh(
            broker,
            "--session",
            (await broker.api(f"/sessions?employee={DISABLED}"))["sessions"][0]["id"],
        )
        async with asyncio.timeout(20):
            message = await tunnel.receive()
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
        async with session.get(broker.url(), headers=broker.headers("one", cookie)) as answer:
            assert answer.status == 401
        async with session.get(broker.url(), headers=broker.headers("one", other)) as answer:
            assert answer.status == 200
    assert (await broker.api("/capacity"))["seats"]["occupied"] == 1
