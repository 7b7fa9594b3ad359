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

    async def events(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: here\n\n")
        await asyncio.Event().wait()
        return response

    app = answering(page, live=echoing, events=events)
    async with serving(app, handler_cancellation=True) as address:
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


@pytest.mark.parametrize("kind", ["session", "population", "everybody"])
async def test_one_session_a_population_or_everybody(broker: RunningBroker, kind: str) -> None:
    """WebSockets and event streams close, nobody else's; who logs in afterwards is let in."""
    authorization = {"Authorization": f"Bearer {TOKEN}"}
    people = {name: await broker.session(name) for name in ("carl", "dora")}
    host = broker.apps["one"].removeprefix("https://")
    cookies = {name: broker.tokens.session_cookie(each, host) for name, each in people.items()}
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector) as session:
        sockets, streams = {}, {}
        for name, cookie in cookies.items():
            headers = broker.headers("one", cookie)
            live = {**headers, "Origin": broker.apps["one"]}
            sockets[name] = await session.ws_connect(broker.url("/live"), headers=live)
            streams[name] = await session.get(broker.url("/events"), headers=headers)
            assert await streams[name].content.readline() == b"data: here\n"
        address, params = f"{broker.admin}/api/v1/sessions", {}
        if kind == "session":
            address += f"/{people['carl'].id}"
        else:
            params = {"population": "everyone"} if kind == "population" else {"everybody": "yes"}
        async with session.delete(address, params=params, headers=authorization) as answer:
            assert answer.status == 200, await answer.text()
        ended = ["carl"] if kind == "session" else ["carl", "dora"]
        async with asyncio.timeout(20):
            for name in ended:
                message = await sockets[name].receive()
                assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE)
                with pytest.raises(aiohttp.ClientPayloadError):  # an end that is no clean one
                    await streams[name].read()
        if kind == "session":
            await sockets["dora"].send_str("still here")
            assert await sockets["dora"].receive_str() == "still here"
        occupied = (await broker.api("/capacity"))["seats"]["occupied"]
        assert occupied == 2 - len(ended)
        again = broker.headers("one", await broker.cookie("one", "carl"))
        async with session.get(broker.url(), headers=again) as answer:
            assert answer.status == 200
        for name in people:
            streams[name].close()
            await sockets[name].close()
