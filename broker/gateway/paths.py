"""One spelling for each request target, so that what is authorised and what is forwarded are the
same bytes (RFC 3986 6.2.2). What two servers could read differently is refused, not repaired.
"""

from __future__ import annotations

import re
from typing import Final

from broker.errors import ProtocolViolation

# RFC 3986 plus what browsers leave as it is (WHATWG URL): [ ] ^ ` { | }. No # " < > \ or control.
TARGET_BYTES: Final = bytes(sorted(set(range(0x21, 0x7F)) - set(b'#"<>\\')))
UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~")
PERCENT: Final = re.compile(rb"%([0-9A-Fa-f]{2})?")
ENCODED_TWICE: Final = re.compile(rb"%25[0-9A-Fa-f]{2}")
# A dot segment to a server that decodes %2F first, or drops what follows ``;`` first; a name to us.
DISGUISED: Final = re.compile(rb"/\.\.?(?:%2F|;)|%2F\.\.?(?:/|%2F|;|\Z)")
REFUSED: Final = {
    0x00: "an encoded NUL",
    0x2E: "an encoded dot",
    0x5C: "an encoded backslash",
}


def canonical(target: bytes, *, encoded_slash: bool = False) -> tuple[bytes, bytes]:
    """(path, whole target) for an origin-form target. The query stays as it came.

    Dot segments are resolved, percent-encoded unreserved characters decoded, hex digits put in
    upper case. Raises ProtocolViolation for encoded slash (unless ``encoded_slash``), backslash,
    NUL or dot, for double encoding, for dot segments that only some servers see, for ``//`` at the
    start and for bytes that are no URI's.
    """
    if target.translate(None, TARGET_BYTES):
        raise ProtocolViolation("a character that no request target has (RFC 3986 2)")
    path, mark, query = target.partition(b"?")
    if path.startswith(b"//"):
        raise ProtocolViolation("a path that could be an authority (RFC 3986 3.3)")
    simple = True
    if b"%" in path:
        path = PERCENT.sub(_Decoder(encoded_slash), path)
        # Looked at afterwards: the digits may have been encoded themselves.
        if ENCODED_TWICE.search(path):
            raise ProtocolViolation("a path encoded twice")
        if b"%2F." in path and DISGUISED.search(path):
            raise ProtocolViolation("a dot segment in disguise (RFC 3986 3.3)")
        simple = False
    if b"/." in path:
        if DISGUISED.search(path):
            raise ProtocolViolation("a dot segment in disguise (RFC 3986 3.3)")
        path = without_dot_segments(path)
        if path.startswith(b"//"):
            raise ProtocolViolation("a path that could be an authority (RFC 3986 3.3)")
        simple = False
    return path, target if simple else path + mark + query


class _Decoder:
    def __init__(self, encoded_slash: bool) -> None:
        self._encoded_slash = encoded_slash

    def __call__(self, match: re.Match[bytes]) -> bytes:
        digits = match[1]
        if digits is None:
            raise ProtocolViolation("a percent sign without two hex digits (RFC 3986 2.1)")
        value = int(digits, 16)
        if value in REFUSED:
            raise ProtocolViolation(REFUSED[value])
        if value == 0x2F and not self._encoded_slash:
            raise ProtocolViolation("an encoded slash")
        return bytes((value,)) if value in UNRESERVED else b"%" + digits.upper()


def without_dot_segments(path: bytes) -> bytes:
    """RFC 3986 5.2.4 for an absolute path. Raises when it climbs above the root."""
    output: list[bytes] = []
    segments = path.split(b"/")[1:]
    last = len(segments) - 1
    for index, segment in enumerate(segments):
        if segment == b"..":
            if not output:
                raise ProtocolViolation("a path above the root (RFC 3986 5.2.4)")
            output.pop()
        elif segment != b".":
            output.append(segment)
            continue
        if index == last:
            output.append(b"")
    return b"/" + b"/".join(output)
