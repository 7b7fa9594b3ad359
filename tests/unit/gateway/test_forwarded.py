"""Who the client is behind trusted proxies."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from broker.gateway import forwarded
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
        # a client's half of a quoted string cannot reach into what a proxy appended
        (['Forwarded: for=", for=192.0.2.7'], "192.0.2.7"),
        (['Forwarded: for="a, for=10.0.0.2;by="b"'], "10.0.0.2"),
        # nor can the Host that a proxy repeats in its own element pretend to be one
        (['Forwarded: for=192.0.2.7;host="a, for=198.51.100.1"'], "192.0.2.7"),
        (['Forwarded: for=192.0.2.7;host="a\\", for=198.51.100.1"'], "192.0.2.7"),
        (['Forwarded: for=198.51.100.1;host="a\\\\", for=192.0.2.7'], "192.0.2.7"),
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


@pytest.mark.parametrize(
    ("name", "element"),
    [("X-Forwarded-For", b"10.0.0.%d"), ("Forwarded", b'for=10.0.0.%d;by="a,b"')],
)
def test_a_chain_of_proxies_is_read_to_a_bound(
    name: str, element: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def counted(text: bytes) -> str | None:
        asked.append(text)
        return node(text)

    monkeypatch.setattr(forwarded, "node", counted)
    chain = b", ".join(element % (hop % 250 + 1) for hop in range(1000))
    block = b"HTTP/1.1\r\n%b: for=192.0.2.7, %b" % (name.encode(), chain)
    assert client(block, PEER, TRUSTED).startswith("10.0.0.")
    assert len(asked) == forwarded.MOST_HOPS


def test_what_is_cut_is_not_read() -> None:
    """Of an element longer than is looked at, the end would be somebody's free choice."""
    long = b'for=10.0.0.9;by="' + b"x" * forwarded.MOST_BYTES + b'";for=192.0.2.7, for=10.0.0.2'
    assert client(b"HTTP/1.1\r\nForwarded: " + long, PEER, TRUSTED) == "10.0.0.2"


def test_a_unix_socket_is_never_trusted() -> None:
    assert not is_trusted("", (ip_network("0.0.0.0/0"), ip_network("::/0")))
