"""Chunked bodies (RFC 9112 7.1): decoded strictly, so that the framing can be built anew.

Chunk extensions and trailers are checked and not passed on. A reader keeps at most one unfinished
line; data goes out as it comes. httptools cannot do this: it does not say where a message ended.
"""

from __future__ import annotations

import re
from typing import Final

from broker.errors import ProtocolViolation

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
# Extensions as in RFC 9112 7.1.1, without its "bad whitespace", which llhttp refuses as well.
SIZE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,15})(?:;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?)*"
)
# Framing cannot change once the body has gone by (RFC 9110 6.5.1): who says so lies to somebody.
TRAILER: Final = re.compile(
    rb"(?!(?i:content-length|transfer-encoding):)" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*"
)
LONGEST_LINE: Final = 1024
LONGEST_TRAILERS: Final = 8192
LAST_CHUNK: Final = b"0\r\n\r\n"

SIZE_LINE, DATA, DATA_END, TRAILERS = range(4)


def chunk(data: bytes) -> bytes:
    """``data`` (not empty) as one chunk of our own framing."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ChunkReader:
    """Decodes one body."""

    __slots__ = ("_held", "_left", "_state", "_trailers")

    def __init__(self) -> None:
        self._state = SIZE_LINE
        self._left = 0
        self._held = b""
        self._trailers = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """(decoded bytes, None), or (decoded bytes, what follows the body) once it has ended.

        Raises ProtocolViolation (status 400; the relay makes it 502 for a backend)."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while True:
            if self._state == DATA:
                end = min(at + self._left, size)
                if at < end:
                    pieces.append(data[at:end])
                    self._left -= end - at
                    at = end
                if self._left:
                    break
                self._state = DATA_END
            if self._state == DATA_END:
                if data[at : at + 2] != b"\r\n":
                    if data[at:] not in (b"", b"\r"):
                        raise ProtocolViolation("a chunk longer than its size (RFC 9112 7.1)")
                    self._held = data[at:]
                    break
                at += 2
                self._state = SIZE_LINE
            end = data.find(b"\r\n", at)
            if end < 0:
                self._held = held = data[at:]
                if len(held) > LONGEST_LINE or b"\n" in held or b"\r" in held[:-1]:
                    raise ProtocolViolation("not a chunk (RFC 9112 7.1)")
                break
            line = data[at:end]
            at = end + 2
            if self._state == SIZE_LINE:
                self._begin(line)
            elif not line:
                return b"".join(pieces), data[at:]
            else:
                self._trailers += len(line)
                if self._trailers > LONGEST_TRAILERS or not TRAILER.fullmatch(line):
                    raise ProtocolViolation("not a trailer (RFC 9112 7.1.2)")
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces)), None

    def _begin(self, line: bytes) -> None:
        match = SIZE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        if match is None:
            raise ProtocolViolation("not a chunk size (RFC 9112 7.1)")
        self._left = int(match[1], 16)
        self._state = DATA if self._left else TRAILERS
