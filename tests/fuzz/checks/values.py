"""Single values: a chunked body, a Cookie field, a request target, a PROXY header, who the client
behind trusted proxies is. Each is compared with something written independently of ours."""

from __future__ import annotations

import ipaddress
import re
import struct
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import unquote_to_bytes

from broker.errors import ProtocolViolation
from broker.gateway import forwarded
from broker.gateway.chunks import LAST_CHUNK, ChunkReader, chunk
from broker.gateway.fields import FIELD_BYTES
from broker.gateway.identify import split_cookies
from broker.gateway.paths import TARGET_BYTES, canonical
from broker.gateway.proxy_protocol import SIGNATURE, ProxyHeader
from tests.fuzz.judges import llhttp_request
from tests.fuzz.wire import splits

CHUNKED: Final = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def _decode(pieces: list[bytes]) -> tuple[bytes, bytes | None] | None:
    """(body, what follows it, None as long as it has not ended); None: refused."""
    reader, body, rest = ChunkReader(), b"", None
    for piece in pieces:
        if rest is not None:
            rest += piece
            continue
        try:
            got, rest = reader.feed(piece)
        except ProtocolViolation:
            return None
        body += got
    return body, rest


def check_chunks(data: bytes) -> None:
    """A chunked body and what follows it."""
    whole, *others = [_decode(pieces) for pieces in splits(data)]
    for other in others:
        assert other == whole, "how it was cut makes a difference"
    body, rest = whole or (b"", None)
    if rest is None:
        return
    took = data[: len(data) - len(rest)]
    theirs = llhttp_request(CHUNKED + took)
    assert not theirs.refused, theirs.refused
    assert theirs.whole
    assert theirs.body == body
    assert not llhttp_request(CHUNKED + took[:-1]).whole, "more was taken than the body"
    again = (chunk(body) if body else b"") + LAST_CHUNK + rest
    assert _decode([again]) == (body, rest)


def check_cookies(data: bytes) -> None:
    """The value of a Cookie field, as far as it can be one."""
    if data.translate(None, FIELD_BYTES):
        return
    ours = split_cookies(data)
    pairs = [pair.strip(b" \t") for pair in data.split(b";")]
    pairs = [pair for pair in pairs if pair]
    named = [pair for pair in pairs if pair.lower().startswith(b"__host-broker")]
    assert ours.others == b"; ".join(pair for pair in pairs if pair not in named)
    sessions = [pair[14:] for pair in named if pair.startswith(b"__Host-broker=")]
    bare = [pair for pair in named if pair == b"__Host-broker"]
    assert ours.session == (
        (sessions + [b""] * len(bare))[0] if len(sessions + bare) == 1 else None
    )
    assert set(ours.portal.split(b"; ")) - {b""} <= set(named)
    assert not re.search(rb"(?i)(?:^|; )__host-broker(?:=|;|$)", ours.portal), "a session's"
    assert split_cookies(ours.others) == (None, ours.others, b"", None)
    # As an application reads what is left for it. (Python's own reader also takes blanks and commas
    # for separators; browsers put neither around a session's cookie.)
    if any(set(pair) & set(b" \t,") for pair in pairs):
        return
    try:
        theirs = SimpleCookie(ours.others.decode("latin-1"))
    except CookieError:
        return
    assert not [name for name in theirs if name.lower().startswith("__host-broker")]


def check_path(data: bytes) -> None:
    """A request target in origin-form."""
    if data[:1] != b"/":
        return
    for allowed in (False, True):
        try:
            path, target = canonical(data, encoded_slash=allowed)
        except ProtocolViolation:
            continue
        assert target == path + (target[len(path) :])
        assert target[len(path) : len(path) + 1] in (b"", b"?")
        assert target.partition(b"?")[2] == data.partition(b"?")[2], "the query is the browser's"
        # What was authorised and what is forwarded are the same bytes; said again, the same.
        assert canonical(target, encoded_slash=allowed) == (path, target)
        assert not target.translate(None, TARGET_BYTES)
        assert not path.startswith(b"//")
        segments = path.split(b"/")[1:]
        assert b"." not in segments
        assert b".." not in segments
        # As a server reads it that decodes before it looks; and one that decodes twice.
        decoded = unquote_to_bytes(path)
        assert (decoded.count(b"/") == path.count(b"/")) or (allowed and b"%2F" in path)
        assert b"\0" not in decoded
        assert b"\\" not in decoded
        inner = [part for segment in segments for part in unquote_to_bytes(segment).split(b"/")]
        assert allowed or not {b".", b".."} & set(inner)
        # The reference: segment by segment, as RFC 3986 5.2.4 and 6.2.2 say it in words.
        assert unquote_to_bytes(path) == _resolved(data.partition(b"?")[0])


def _resolved(path: bytes) -> bytes:
    """Dot segments removed, then everything decoded."""
    stack: list[bytes] = []
    segments = path.split(b"/")[1:]
    for at, segment in enumerate(segments):
        if segment not in (b".", b".."):
            stack.append(unquote_to_bytes(segment))
            continue
        if segment == b"..":
            stack.pop()
        if at == len(segments) - 1:
            stack.append(b"")
    return b"/" + b"/".join(stack)


_V1: Final = re.compile(
    rb"PROXY (?:UNKNOWN(?: [^\r\n]*)?|TCP([46]) (\S+) (\S+) (\d{1,5}) (\d{1,5}))\r\n"
)


def _expected(data: bytes) -> tuple[str | None, int] | None:
    """(source, size) of a header at the beginning of ``data``; None when there is none."""
    if data.startswith(SIGNATURE):
        if len(data) < 16:
            return None
        command, family, size = struct.unpack("!BBH", data[12:16])
        if command not in (0x20, 0x21) or size > 2048 or len(data) < 16 + size:
            return None
        if command == 0x20 or family == 0:
            return None, 16 + size
        width = {0x11: 4, 0x21: 16}.get(family, 0)
        if not width or size < 2 * width + 4 or not _extensions(data[: 16 + size], 20 + 2 * width):
            return None
        return _text(ipaddress.ip_address(data[16 : 16 + width])), 16 + size
    match = _V1.match(data[:107])
    if match is None:
        return None
    if match[1] is None:
        return None, match.end()
    try:
        source, destination = (ipaddress.ip_address(match[n].decode("ascii")) for n in (2, 3))
    except ValueError:
        return None
    if {source.version, destination.version} != {int(match[1])} or b"%" in match[2] + match[3]:
        return None
    for port in (match[4], match[5]):
        if str(int(port)).encode() != port or int(port) > 65535:
            return None
    return _text(source), match.end()


def _extensions(header: bytes, at: int) -> bool:
    """Whether what follows the addresses is type, length, value and so on (2.2.1), to its end, and
    the one checksum among them (type 3) that of the header with zeros in its place (2.2.3)."""
    sums = []
    while at < len(header):
        if at + 3 > len(header):
            return False
        kind, size = struct.unpack_from("!BH", header, at)
        if kind == 3:
            sums.append((at + 3, size))
        at += 3 + size
    if at != len(header) or len(sums) > 1 or any(size != 4 for _, size in sums):
        return False
    for start, _ in sums:
        plain = header[:start] + bytes(4) + header[start + 4 :]
        if _crc32c(plain) != int.from_bytes(header[start : start + 4], "big"):
            return False
    return True


def _crc32c(data: bytes) -> int:
    """By polynomial division, a bit at a time."""
    rest = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            odd = (rest ^ byte >> bit) & 1
            rest = rest >> 1 ^ (0x82F63B78 if odd else 0)
    return rest ^ 0xFFFFFFFF


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _header(data: bytes, most: int) -> tuple[str | None, int] | None:
    """The same by ``ProxyHeader``, at most ``most`` bytes at a time."""
    header, at = ProxyHeader(), 0
    while header.wanted:
        piece = data[at : at + min(header.wanted, most)]
        if not piece:
            return None
        try:
            header.feed(piece)
        except ProtocolViolation:
            return None
        at += len(piece)
    return header.source, at


def check_proxy(data: bytes) -> None:
    """What a balancer begins with, and what its client says next."""
    expected = _expected(data)
    for most in (4096, 1, 7):
        assert _header(data, most) == expected


_TRUSTED: Final = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


def check_forwarded(data: bytes) -> None:
    """The lines of a head that came from a trusted proxy."""
    found = forwarded.client(data, "10.0.0.1", _TRUSTED)
    assert str(ipaddress.ip_address(found)) == found
    assert forwarded.node(found.encode()) == found
    # Two fields that do not agree are both disbelieved.
    alone = []
    for name in (b"x-forwarded-for", b"forwarded"):
        lines = [x for x in data.split(b"\r\n") if x.partition(b":")[0].lower() == name]
        if lines:
            alone.append(forwarded.client(b"\r\n".join(lines), "10.0.0.1", _TRUSTED))
    assert found == (alone[0] if len(set(alone)) == 1 else "10.0.0.1")
    # Whatever a client writes to the left of what its proxy appended changes nothing.
    claim = data.replace(b"\r\n", b" ").replace(b",", b" ")
    line = b"X-Forwarded-For: " + claim + b", 203.0.113.9"
    assert forwarded.client(line, "10.0.0.1", _TRUSTED) == "203.0.113.9"
