"""Browsers that do not take their answers: what they do meanwhile moves no deadline of theirs.

Bare sockets with buffers of a few KiB, as in ``test_slow_tunnels``: what is not read waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from broker.gateway.ground import BUFFER
from broker.gateway.plan import DoorPlan
from tests.journeys.test_slow_tunnels import TINY, End, Tunnels, tiny, tunnels, until
from tests.support.stage import PATIENCE, boottime, get, ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ANSWER = bytes(range(256)) * 120


@contextlib.asynccontextmanager
async def stage(door: DoorPlan) -> AsyncIterator[Tunnels]:
    async with tunnels() as made:
        made.stage.door = door
        made.stage.gateway.replace(made.stage.plan())
        yield made


async def stranger(made: Tunnels) -> End:
    """Connected, and with small buffers in between."""
    browser = End(tiny(), "stranger")
    made.ends.append(browser)
    address = ("127.0.0.1", made.stage.port)
    await asyncio.get_running_loop().sock_connect(browser.sock, address)
    await until(lambda: bool(made.gates))
    sock = made.gates[0].transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY)
    return browser


async def unread(made: Tunnels, request: bytes) -> tuple[End, End]:
    """A browser whose answer is whole, and waits for it to read."""
    browser, backend = await made.begin("slow", request)
    await backend.send(ok(ANSWER))
    (gate,) = made.stage.gateway._browsers
    await until(lambda: gate.is_full and gate.party is None)
    return browser, backend


@pytest.mark.parametrize("begun", [b"G", b"GET / HTTP/1.1\r\n", b"\r"])
async def test_who_reads_nothing_gets_no_more_time_by_beginning_a_request(begun: bytes) -> None:
    """Every few seconds another one, answered into the same full buffer: it would never end."""
    async with stage(DoorPlan(stall_timeout=5.0, head_timeout=1000.0)) as made:
        browser, _ = await unread(made, get(cookie=made.cookie))
        (gate,) = made.stage.gateway._browsers
        stalled_at = gate.due
        await browser.send(begun)
        await until(lambda: gate._pending is not None)
        assert gate.due == stalled_at


async def test_who_begins_a_request_before_the_answer_is_read_has_the_time_of_a_request() -> None:
    async with stage(DoorPlan(stall_timeout=1000.0, head_timeout=5.0)) as made:
        browser, _ = await unread(made, get(cookie=made.cookie))
        (gate,) = made.stage.gateway._browsers
        await browser.send(b"GET / HT")
        await until(lambda: gate._pending is not None)
        async with asyncio.timeout(PATIENCE):
            while gate.is_full:
                await browser.hear()
        assert gate.due <= boottime() + 5.0, "taken: from here on it is a head that is late"


async def test_an_early_answer_is_read_as_slowly_as_any_other() -> None:
    """It stands before a body that nobody wanted; that is thrown away meanwhile."""
    door = DoorPlan(stall_timeout=1000.0, discard_timeout=5.0)
    async with stage(door) as made:
        post = get("/", "Content-Length: 100000", method="POST", cookie=made.cookie)
        browser, _ = await unread(made, post + b"x" * 100)
        (gate,) = made.stage.gateway._browsers
        assert gate.due > boottime() + 500
        async with asyncio.timeout(PATIENCE):
            while gate.is_full:
                await browser.hear()
        assert gate.due <= boottime() + 5.0, "taken: from here on it only throws away"
        async with asyncio.timeout(PATIENCE):
            while await browser.hear():
                pass
        assert browser.heard.endswith(ANSWER)


async def test_a_connection_is_looked_at_until_it_is_gone() -> None:
    """Room again, and then something more that is not taken, while it is being closed."""
    async with stage(DoorPlan(stall_timeout=1000.0)) as made:
        await unread(made, get(cookie=made.cookie))
        (gate,) = made.stage.gateway._browsers
        gate.close()
        gate.resume_writing()
        gate.expire(gate.due)
        await until(lambda: not made.stage.gateway._browsers)


async def test_what_is_answered_to_a_stranger_who_reads_nothing_does_not_pile_up() -> None:
    """A small request costs a larger answer: with thousands in a row, one connection would fill a
    worker's memory. They wait, and are all answered to who reads at last."""
    many, request = 3000, get("/")
    async with stage(DoorPlan()) as made:
        browser = await stranger(made)
        browser.speaking = asyncio.ensure_future(browser.send(request * many))
        await until(lambda: max(made.waiting) >= BUFFER)
        for _ in range(1000):
            await asyncio.sleep(0)
            assert max(made.waiting) <= 2 * BUFFER
        assert not made.gates[0].transport.is_reading()
        async with asyncio.timeout(PATIENCE):
            while browser.heard.count(b"HTTP/1.1 401 ") < many and await browser.hear():
                pass
        assert browser.heard.count(b"HTTP/1.1 401 ") == many


async def test_who_reads_again_is_answered_what_came_in_a_read_of_its_own() -> None:
    async with stage(DoorPlan()) as made:
        browser = await stranger(made)
        sent = 0
        while max(made.waiting) < BUFFER:
            await browser.send(get("/"))
            sent += 1
            await asyncio.sleep(0)
        await browser.send(get("/last"))
        async with asyncio.timeout(PATIENCE):
            while browser.heard.count(b"HTTP/1.1 401 ") <= sent:
                assert await browser.hear()
