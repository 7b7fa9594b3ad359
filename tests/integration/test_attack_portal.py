"""What reaches the portal through a real broker: heads the gateway allows, bodies that lie, crowds,
and people who leave. None of it may hang, show the inside, or fill the log with traces."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.running_broker import RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = "Accept: text/html\r\nSec-Fetch-Mode: navigate\r\n"


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    pools = {"one": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 50}}}
    with running_broker(pools) as running:
        yield running


@pytest.fixture(autouse=True)
def no_trace(broker: RunningBroker) -> Iterator[None]:
    """Whatever is said here is no failure of ours: no traceback in the log."""
    before = len(broker.log())
    yield
    assert "Traceback" not in broker.log()[before:]


async def say(broker: RunningBroker, data: bytes, patience: float = 10.0) -> bytes:
    """The head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    try:
        writer.write(data)
        async with asyncio.timeout(patience):
            return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()


@pytest.mark.parametrize(
    "head",
    [
        f"GET /.broker/login HTTP/1.1\r\nHost: home.test\r\n{PAGE}X-Long: {'a' * 9000}\r\n\r\n",
        f"GET /{'a' * 8000} HTTP/1.1\r\nHost: one.test\r\n{PAGE}\r\n",
        f"GET / HTTP/1.1\r\nHost: one.test\r\n{PAGE}X-Long: {'a' * 20000}\r\n\r\n",
    ],
    ids=["home", "target", "stranger"],
)
async def test_what_the_gateway_lets_through_the_portal_can_read(
    broker: RunningBroker, head: str
) -> None:
    answer = await say(broker, head.encode())
    assert answer.split(b" ")[1] in (b"200", b"302")
    assert b"aiohttp" not in answer


@pytest.mark.parametrize("coding", ["deflate", "gzip", "br", "zstd", "compress"])
async def test_an_encoded_form_is_answered_at_once(broker: RunningBroker, coding: str) -> None:
    form = (
        "POST /.broker/login HTTP/1.1\r\nHost: home.test\r\nOrigin: https://home.test\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Encoding: {coding}\r\nContent-Length: 3\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(form.encode())
    await writer.drain()
    await asyncio.sleep(0.2)  # the body comes when the portal waits for it
    writer.write(b"a=b")
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert 400 <= int(answer.split(b" ")[1]) < 500


async def test_a_crowd_at_the_door_gets_the_form(broker: RunningBroker) -> None:
    """Everybody at once, on connections that stand already: nobody is told 502 or 401."""
    crowd = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", broker.port) for _ in range(700))
    )
    request = f"GET /.broker/login HTTP/1.1\r\nHost: home.test\r\n{PAGE}\r\n".encode()
    for _, writer in crowd:
        writer.write(request)
    async with asyncio.timeout(60):
        heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in crowd))
    for _, writer in crowd:
        writer.close()
    assert {re.split(rb"[ \r]", head)[1] for head in heads} == {b"200"}
