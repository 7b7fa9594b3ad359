"""Cookies are told apart, and people from programs."""

from __future__ import annotations

import pytest

from broker.gateway.http1 import HeadReader
from broker.gateway.identify import is_navigation, split_cookies


@pytest.mark.parametrize(
    ("value", "session", "others", "portal"),
    [
        (b"a=1; __Host-broker=tok; b=2", b"tok", b"a=1; b=2", b""),
        (b"a=1", None, b"a=1", b""),
        (b"__Host-broker=x; __Host-broker=y", None, b"", b""),
        (b"__Host-broker=x;__Host-broker=x", None, b"", b""),
        (b"__host-broker=x; a=1", None, b"a=1", b""),
        (b"__Host-broker-lang=fr; __Host-brokerX=1;a=2", None, b"a=2",
         b"__Host-broker-lang=fr; __Host-brokerX=1"),
        (b"__HOST-BROKER-login=1; x", None, b"x", b"__HOST-BROKER-login=1"),
        (b"; ;a=1;", None, b"a=1", b""),
        (b"__Host-broker", b"", b"", b""),
        (b'a="x; __Host-broker=t; y"', b"t", b'a="x; y"', b""),
    ],
)  # fmt: skip
def test_split_cookies(value: bytes, session: bytes | None, others: bytes, portal: bytes) -> None:
    assert split_cookies(value)[:3] == (session, others, portal)


def test_the_ticket_cookie_goes_to_nobody() -> None:
    cookies = split_cookies(
        b"a=1; __Host-broker-ticket=t.t; __Host-broker=s; __Host-broker-lang=fr"
    )
    assert cookies == (b"s", b"a=1", b"__Host-broker-lang=fr", b"t.t")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", False),
        (b"\r\nAccept: text/html,*/*", True),
        (b"\r\nAccept: application/json", False),
        (b"\r\nAccept: */*", False),
        (b"\r\nSec-Fetch-Mode: navigate\r\nAccept: */*", True),
        (b"\r\nSec-Fetch-Mode: cors\r\nAccept: text/html", False),
        (b"\r\nSec-Fetch-Dest: empty\r\nAccept: text/html", False),
        (b"\r\nSec-Fetch-Mode: navigate\r\nConnection: upgrade\r\nUpgrade: websocket", False),
    ],
)
def test_is_navigation(fields: bytes, expected: bool) -> None:
    reader = HeadReader(header_count=20, request_line_limit=100)
    assert is_navigation(reader.request(b"GET / HTTP/1.1\r\nHost: a" + fields)) is expected
