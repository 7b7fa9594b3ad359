"""A revoked session ends everywhere: on every worker, its WebSocket closed, its seat free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from tests.support.backends import answering, echoing, serving
from tests.support.running_broker import TOKEN, RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="page")

    async with serving(answering(page, live=echoing), handler_cancellation=True) as address:
        yield address


@pytest.fixture
def broker(server: str) -> Iterator[RunningBroker]:
    pools = {"one": {"servers": [server], "connections": {"limit": 50}}}
    with running_broker(pools) as running:
        yield running


async def test_a_revoked_employee_s_tunnels_close_on_every_worker_and_the_seat_is_free(
    broker: RunningBroker,
) -> None:
    anna, bert = [await broker.cookie("one", name) for name in ("anna", "bert")]
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def open_tunnel(cookie: str) -> aiohttp.ClientWebSocketResponse:
            headers = {**broker.headers("one", cookie), "Origin": broker.apps["one"]}
            socket = await session.ws_connect(broker.url("/live"), headers=headers)
            await socket.send_str("here")
            assert await socket.receive_str() == "here"
            return socket

        # Enough of them that each worker carries some.
        hers = [await open_tunnel(anna) for _ in range(10)]
        his = await open_tunnel(bert)
        async with session.delete(
            f"{broker.admin}/api/v1/sessions",
            params={"employee": "anna"},
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as answer:
            assert answer.status == 200, await answer.text()
        async with asyncio.timeout(20):
            for socket in hers:
                message = await socket.receive()
                assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
        await his.send_str("still here")
        assert await his.receive_str() == "still here"
        for _ in range(8):
            async with session.get(
                broker.url(), headers=broker.headers("one", anna), allow_redirects=False
            ) as answer:
                assert answer.status == 401
        capacity = await broker.api("/capacity")
        assert capacity["seats"]["occupied"] == 1
        await his.close()
