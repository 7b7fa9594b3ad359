"""``broker keys rotate`` on a running broker: new keys sign, and nobody is logged out meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import jwt
import pytest
from aiohttp import web

from tests.support.backends import answering, serving
from tests.support.running_broker import TOKEN, RunningBroker, running_broker
from tests.support.running_demo import CHECKOUT, command

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page")

    async with serving(answering(page)) as address:
        yield address


@pytest.fixture
def broker(server: str) -> Iterator[RunningBroker]:
    pools = {"one": {"servers": [server], "connections": {"limit": 50}}}
    # Tokens are issued anew with every answer, so that the test sees which key signs.
    sessions = {"keys": "file:keys.json", "token_refresh": "0s"}
    with running_broker(pools, sessions=sessions) as running:
        yield running


async def rotate(broker: RunningBroker) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        *command("keys", "rotate", broker.folder / "keys.json", "--yes", "--json"),
        cwd=CHECKOUT,
        env={**os.environ, "BROKER_ADMIN_URL": broker.admin, "BROKER_ADMIN_TOKEN": TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    answer: dict[str, object] = json.loads(out)
    return answer


async def test_nobody_is_logged_out_by_two_rotations(broker: RunningBroker) -> None:
    file = broker.folder / "keys.json"
    file.chmod(0o600)
    first = json.loads(file.read_text())["sessions"][0]["kid"]
    statuses: set[int] = set()
    done = asyncio.Event()

    async def browse(cookie: str) -> str:
        """New connections all the time, to meet every worker; takes each token it is given."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not done.is_set():
                headers = broker.headers("one", cookie)
                async with session.get(broker.url(), headers=headers) as answer:
                    statuses.add(answer.status)
                    if "__Host-broker" in answer.cookies:
                        cookie = answer.cookies["__Host-broker"].value
                    await asyncio.sleep(0)
            return cookie

    idle = await broker.cookie("one", "idle")
    cookies = [await broker.cookie("one", name) for name in ("anna", "bert", "cleo")]
    browsers = [asyncio.create_task(browse(cookie)) for cookie in cookies]
    assert (await rotate(broker))["step"] == "rotated"
    async with aiohttp.ClientSession() as session:
        headers = broker.headers("one", idle)
        async with session.get(broker.url(), headers=headers) as answer:
            assert answer.status == 200, "who did nothing meanwhile is logged in as well"
    await rotate(broker)
    done.set()
    cookies = await asyncio.gather(*browsers)
    assert statuses == {200}
    ring = json.loads(file.read_text())
    assert first not in [key["kid"] for key in ring["sessions"]]
    assert file.stat().st_mode & 0o777 == 0o600
    async with aiohttp.ClientSession() as session:
        headers = broker.headers("one", cookies[0])
        async with session.get(broker.url(), headers=headers) as answer:
            assert answer.status == 200
            fresh = answer.cookies["__Host-broker"].value
        async with session.get(
            broker.url("/.broker/jwks.json"), headers=broker.headers("one", fresh)
        ) as answer:
            published = {key["kid"] for key in (await answer.json())["keys"]}
    assert jwt.get_unverified_header(fresh)["kid"] == ring["sessions"][0]["kid"]
    assert published == {key["kid"] for key in ring["assertions"]}


async def test_a_site_of_several_hosts_is_rotated_in_two_runs(broker: RunningBroker) -> None:
    """Another host's worker is known to the ledger: the first run only prepares."""
    from broker.ledger.port import SyncReport
    from broker.ledger.redis_ledger import RedisLedger

    ledger = await RedisLedger.connect(broker.redis.url, "test", 5.0)
    try:
        await ledger.sync(SyncReport("elsewhere/boot/1", 1, ""))
    finally:
        await ledger.close()
    before = json.loads((broker.folder / "keys.json").read_text())
    assert await rotate(broker) == {"step": "prepared", "other_hosts": ["elsewhere"]}
    ready = json.loads((broker.folder / "keys.json").read_text())
    assert ready["sessions"][:-1] == before["sessions"]
    assert await rotate(broker) == {"step": "rotated", "other_hosts": ["elsewhere"]}
    done = json.loads((broker.folder / "keys.json").read_text())
    assert done["sessions"][0]["kid"] == ready["sessions"][-1]["kid"]
