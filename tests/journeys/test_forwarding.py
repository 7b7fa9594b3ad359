"""What servers are told of the way a request came: nothing a browser says of it is believed."""

from __future__ import annotations

import pytest

from broker.gateway.onward import forwarded_node
from tests.support.stage import Stage, get, ok


async def seen(stage: Stage, request: bytes) -> list[bytes]:
    """The lines of one request as its server sees them."""
    browser = await stage.browser()
    await browser.send(request)
    backend = await stage.backend.connection()
    lines = (await backend.head()).split(b"\r\n")
    await backend.send(ok(b"ok", "Connection: close"))
    await browser.response()
    return lines


def named(lines: list[bytes], name: bytes) -> list[bytes]:
    return [line for line in lines if line.lower().startswith(name + b":")]


async def test_forwarded_and_via_where_the_pool_wants_them() -> None:
    async with Stage(forwarded=True, via=b"broker") as stage:
        cookie = stage.sessions.log_in("ada")
        lies = ("Forwarded: for=192.0.2.66;proto=http", "Via: 1.1 office")
        lines = await seen(stage, get("/", *lies, cookie=cookie))
        ours = b'Forwarded: for=127.0.0.1;host="feed.test:8443";proto=https'
        assert named(lines, b"forwarded") == [ours]
        assert named(lines, b"via") == [b"Via: 1.1 office", b"Via: 1.1 broker"]


async def test_via_names_the_protocol_that_was_spoken_to_us() -> None:
    async with Stage(via=b"broker") as stage:
        cookie = stage.sessions.log_in("ada")
        lines = await seen(stage, get(cookie=cookie).replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert named(lines, b"via") == [b"Via: 1.0 broker"]


async def test_neither_where_it_does_not() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        lines = await seen(stage, get("/", "Forwarded: for=192.0.2.66", cookie=cookie))
        assert not named(lines, b"forwarded")
        assert not named(lines, b"via")


@pytest.mark.parametrize(
    ("address", "node"),
    [("192.0.2.1", b"192.0.2.1"), ("2001:db8::1", b'"[2001:db8::1]"'), ("", b"unknown")],
)
def test_addresses_as_forwarded_writes_them(address: str, node: bytes) -> None:
    assert forwarded_node(address) == node


async def test_max_forwards_of_options_is_counted_down_for_each_request_anew() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        for left in (3, 3, 1):
            lines = await seen(
                stage, get("/", f"Max-Forwards: {left}", cookie=cookie, method="OPTIONS")
            )
            assert named(lines, b"max-forwards") == [b"Max-Forwards: %d" % (left - 1)]
