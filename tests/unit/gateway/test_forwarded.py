"""Who the client is behind trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from broker.gateway.forwarded import client, is_trusted, node

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("2001:db8:1::/48"))
PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], PEER),
        (["X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (["x-forwarded-for:192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 198.51.100.1, 192.0.2.7, 10.0.0.2"], "192.0.2.7"),
        (["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (["X-Forwarded-For: 192.0.2.7:1234"], "192.0.2.7"),
        (["X-Forwarded-For: 2001:db8:2::7, [2001:db8:1::1]:443"], "2001:db8:2::7"),
        (["X-Forwarded-For: ::ffff:192.0.2.7"], "192.0.2.7"),
        # what cannot be read ends the way outwards, and nothing left of it is looked at
        (["X-Forwarded-For: 192.0.2.7, nonsense"], PEER),
        (["X-Forwarded-For: 192.0.2.7, nonsense, 10.0.0.2"], "10.0.0.2"),
        (["X-Forwarded-For: nonsense, 192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7,"], PEER),
        (["X-Forwarded-For:"], PEER),
        (["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For:"], PEER),
        (["X-Forwarded-For: 192.0.2.007"], PEER),
        (["Forwarded: for=192.0.2.7;proto=https"], "192.0.2.7"),
        (['forwarded: For="[2001:db8:2::7]:4711", for=10.0.0.2'], "2001:db8:2::7"),
        (['Forwarded: for=198.51.100.1;by="a, for=1.1.1.1", for=192.0.2.7'], "192.0.2.7"),
        (["Forwarded: for=192.0.2.7, for=unknown"], PEER),
        (["Forwarded: for=192.0.2.7, for=_gate, for=10.0.0.2"], "10.0.0.2"),
        (["Forwarded: for=192.0.2.7, proto=https"], PEER),
        (["Forwarded: for=192.0.2.7;for=192.0.2.8"], PEER),
        (['Forwarded: for=", for=192.0.2.7'], PEER),
        (["Forwarded: for=192.0.2.7;"], PEER),
        (["Forwarded: for = 192.0.2.7"], PEER),
        (["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7"], "192.0.2.7"),
        (["X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.8"], PEER),
        (["X-Forwarded-For: 192.0.2.7", "Forwarded: nonsense"], PEER),
        (["X-Real-IP: 192.0.2.7"], PEER),
    ],
)
def test_the_first_address_from_the_right_that_is_no_proxy(lines: list[str], expected: str) -> None:
    block = "\r\n".join(["HTTP/1.1", "Host: feed.test", *lines]).encode()
    assert client(block, PEER, TRUSTED) == expected


@pytest.mark.parametrize(
    "text", [b"", b"unknown", b"fe80::1%eth0", b"192.0.2", b"[192.0.2.7]x", b"1.2.3.4:123456",
             b"\xb9.2.3.4", b"192.0.2.7 "],
)  # fmt: skip
def test_no_node(text: bytes) -> None:
    assert node(text) is None


def test_a_unix_socket_is_never_trusted() -> None:
    assert not is_trusted("", (ip_network("0.0.0.0/0"), ip_network("::/0")))
