"""The header a load balancer begins with."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from broker.errors import ProtocolViolation
from broker.gateway.proxy_protocol import SIGNATURE, ProxyHeader, crc32c


def binary(command: int, family: int, payload: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(payload).to_bytes(2, "big") + payload


def pair(source: str, destination: str) -> bytes:
    return ip_address(source).packed + ip_address(destination).packed + b"\x11\x11\x01\xbb"


FOUR = pair("192.0.2.7", "10.0.0.1")
SIX = pair("2001:db8::7", "2001:db8::1")


def checked(family: int, payload: bytes, *, after: bytes = b"", wrong: int = 0) -> bytes:
    """A header with a checksum among its extensions."""
    plain = binary(0x21, family, payload + b"\x03\x00\x04" + bytes(4) + after)
    value = (crc32c(plain) ^ wrong).to_bytes(4, "big")
    at = len(plain) - len(after) - 4
    return plain[:at] + value + plain[at + 4 :]


def read(data: bytes, most: int) -> tuple[str | None, bytes]:
    """(source, what was not taken), at most ``most`` bytes at a time."""
    header = ProxyHeader()
    while header.wanted:
        size = min(header.wanted, most)
        assert len(data) >= size, "more is wanted than the header has"
        header.feed(data[:size])
        data = data[size:]
    return header.source, data


@pytest.mark.parametrize("most", [1, 5, 4096])
@pytest.mark.parametrize(
    ("data", "source"),
    [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\r\n", "192.0.2.7"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 65535\r\n", "1.1.1.1"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 443\r\n", "192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (binary(0x21, 0x11, FOUR), "192.0.2.7"),
        (binary(0x21, 0x11, FOUR + b"\x04\x00\x01x"), "192.0.2.7"),
        (binary(0x21, 0x21, SIX), "2001:db8::7"),
        (checked(0x11, FOUR), "192.0.2.7"),
        (checked(0x21, SIX + b"\xea\x00\x03vpc", after=b"\x04\x00\x00"), "2001:db8::7"),
        (binary(0x20, 0x11, FOUR + b"\x03\x00\x04nope"), None),
        (binary(0x21, 0x00, b""), None),
        (binary(0x20, 0x00, b""), None),
        (binary(0x20, 0x11, FOUR), None),
    ],
)
def test_the_source_and_nothing_of_what_follows(data: bytes, source: str | None, most: int) -> None:
    assert read(data + b"\x16\x03\x01", most) == (source, b"\x16\x03\x01")


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"proxy TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY  TCP4 192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY TCP5 192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
        b"PROXY TCP6 192.0.2.7 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.07 10.0.0.1 4711 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 65536\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 04711 443\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443 \r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 443\n....",
        b"PROXY TCP4 192.0.2.7\r10.0.0.1 4711 443\r\n",
        b"PROXY UNKNOWN " + b"x" * 100 + b"\r\n",
        b"\r\n\r\n\x00\r\nQUIX\n" + b"\x21\x11\x00\x0c" + FOUR,
        binary(0x11, 0x11, FOUR),
        binary(0x22, 0x11, FOUR),
        binary(0x21, 0x12, FOUR),
        binary(0x21, 0x31, b"\0" * 216),
        binary(0x21, 0x11, FOUR[:-1]),
        binary(0x21, 0x21, FOUR),
        binary(0x20, 0x00, b"\0" * 2049),
        checked(0x11, FOUR, wrong=1),
        checked(0x21, SIX, wrong=1 << 31),
        checked(0x11, FOUR, after=b"\x03\x00\x04\0\0\0\0"),
        binary(0x21, 0x11, FOUR + b"\x03\x00\x03abc"),
        binary(0x21, 0x11, FOUR + b"\x04\x00\x02x"),
        binary(0x21, 0x11, FOUR + b"\x04\x00"),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    for most in (1, 4096):
        with pytest.raises(ProtocolViolation):
            read(data, most)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_the_published_checksums(data: bytes, expected: int) -> None:
    """RFC 3720 B.4, and the check value of the catalogue of CRCs."""
    assert crc32c(data) == expected
