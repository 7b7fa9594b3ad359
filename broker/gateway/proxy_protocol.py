"""The PROXY protocol, versions 1 and 2 (haproxy, doc/proxy-protocol.txt 2.1 and 2.2): whose
connection a load balancer hands on. Read strictly, or refused; a checksum that is there must be
right. No I/O: ``wanted`` says how many bytes are certainly the header's, so that whoever reads
never takes any of what follows it.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from broker.errors import ProtocolViolation

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
LONGEST_LINE: Final = 107  # bytes of version 1 with its CRLF (2.1)
MOST_PAYLOAD: Final = 2048  # bytes of version 2 after its 16: addresses and what a cloud adds
_START: Final = b"PROXY "
_LINE: Final = re.compile(
    rb"PROXY (?:(UNKNOWN)(?: [^\r\n]*)?|TCP(?:(4)|6) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+)"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4}))\r\n"
)
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6 = 0x00, 0x11, 0x21
_CHECKSUM: Final = 0x03  # PP2_TYPE_CRC32C (2.2.3)


class ProxyHeader:
    """One header. ``feed`` until ``wanted`` is 0; then ``source`` is the client's address, IPv4 as
    IPv4, or None when the connection is the balancer's own (LOCAL) or its origin unknown."""

    __slots__ = ("_data", "source", "wanted")

    def __init__(self) -> None:
        self._data = bytearray()
        self.wanted = len(SIGNATURE)  # less than the shortest header of either version
        self.source: str | None = None

    def feed(self, piece: bytes) -> None:
        """At most ``wanted`` bytes. Raises ProtocolViolation for what is no header."""
        data = self._data
        data += piece
        if len(data) < len(SIGNATURE):
            if not SIGNATURE.startswith(data) and data[:6] != _START[: len(data)]:
                raise ProtocolViolation("no PROXY protocol")
            self.wanted = len(SIGNATURE) - len(data)
        elif data.startswith(SIGNATURE):
            self._binary(bytes(data))
        elif data.startswith(_START):
            self._line(bytes(data))
        else:
            raise ProtocolViolation("no PROXY protocol")

    def _line(self, data: bytes) -> None:
        if not data.endswith(b"\r\n"):
            if b"\n" in data or b"\r" in data[:-1]:
                raise ProtocolViolation("a PROXY line with a broken end")
            self.wanted = 1 if data.endswith(b"\r") else 2
            if len(data) + self.wanted > LONGEST_LINE:
                raise ProtocolViolation("a PROXY line that is too long")
            return
        match = _LINE.fullmatch(data)
        if match is None or any(port and int(port) > 65_535 for port in match.group(5, 6)):
            raise ProtocolViolation("a PROXY line that cannot be read")
        self.wanted = 0
        if match[1] is None:
            kind = ipaddress.IPv4Address if match[2] else ipaddress.IPv6Address
            try:
                source, _ = (kind(text.decode("ascii")) for text in match.group(3, 4))
            except ValueError:
                raise ProtocolViolation("a PROXY line with a wrong address") from None
            self.source = _as_text(source)

    def _binary(self, data: bytes) -> None:
        if len(data) < 16:
            self.wanted = 16 - len(data)
            return
        command, family = data[12], data[13]
        size = int.from_bytes(data[14:16], "big")
        if command not in (_LOCAL, _PROXY) or size > MOST_PAYLOAD:
            raise ProtocolViolation("a PROXY header of unknown command or too long")
        self.wanted = 16 + size - len(data)
        if self.wanted or command == _LOCAL or family == _UNSPECIFIED:
            return
        width = {_TCP4: 4, _TCP6: 16}.get(family)
        if width is None or size < 2 * width + 4:
            raise ProtocolViolation("a PROXY header without the addresses of a TCP connection")
        _verify(data, 16 + 2 * width + 4)
        self.source = _as_text(ipaddress.ip_address(data[16 : 16 + width]))


def _verify(data: bytes, at: int) -> None:
    """Walk the extensions from ``at`` (2.2.1: type, length in two bytes, value): they fill the
    header exactly, and a checksum among them is that of the header with zeros in its place."""
    checksum = None
    while at < len(data):
        start = at + 3
        end = start + int.from_bytes(data[at + 1 : start], "big")
        if start > len(data) or end > len(data):
            raise ProtocolViolation("a PROXY header with a broken extension")
        if data[at] == _CHECKSUM:
            if checksum is not None or end - start != 4:
                raise ProtocolViolation("a PROXY header with a broken checksum")
            checksum = data[start:end]
            plain = data[:start] + bytes(4) + data[end:]
        at = end
    if checksum is not None and crc32c(plain) != int.from_bytes(checksum, "big"):
        raise ProtocolViolation("a PROXY header with a wrong checksum")


def _remainders() -> Iterator[int]:
    for remainder in range(256):
        rest = remainder
        for _ in range(8):
            rest = rest >> 1 ^ (_POLYNOMIAL if rest & 1 else 0)
        yield rest


_POLYNOMIAL: Final = 0x82F63B78  # Castagnoli's, lowest bit first (RFC 3720 12.1)
_TABLE: Final = tuple(_remainders())


def crc32c(data: bytes) -> int:
    """CRC32C, a byte at a time: a header has some dozen of them."""
    found = 0xFFFFFFFF
    for byte in data:
        found = found >> 8 ^ _TABLE[(found ^ byte) & 0xFF]
    return found ^ 0xFFFFFFFF


def _as_text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
