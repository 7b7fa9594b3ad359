"""Finding request heads in the bytes a backend receives, without trusting its HTTP library.

Pure: bytes in, heads out, no I/O. The witness needs the heads exactly as they came over the wire,
and must notice a second request hidden behind a first one, so it frames requests itself (RFC 9112,
section 6): by ``Transfer-Encoding: chunked``, else ``Content-Length``, else no body. It does not
judge: a head it cannot frame ends the counting on that connection (``lost``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_LIMIT = 256 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding[ \t]*:[^\r\n]*chunked[ \t]*\r\n", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade[ \t]*:[ \t]*websocket[ \t]*\r\n", re.IGNORECASE)
_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?\Z")


class _At(Enum):
    """What the next byte belongs to."""

    HEAD = auto()
    BODY = auto()
    CHUNK_SIZE = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    TUNNEL = auto()


@dataclass(frozen=True, slots=True)
class Head:
    """One request head as received, with the empty line that ends it."""

    raw: bytes

    @property
    def method(self) -> str:
        return self.raw.split(b" ", 1)[0].decode("latin-1")

    @property
    def path(self) -> str:
        """The target without its query."""
        words = self.raw.split(b"\r\n", 1)[0].split(b" ")
        return words[1].split(b"?", 1)[0].decode("latin-1") if len(words) > 1 else ""

    def field(self, name: str) -> str:
        """The first value of a header field, "" when there is none."""
        pattern = rb"\r\n" + re.escape(name.encode()) + rb"[ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r\n"
        found = re.search(pattern, self.raw, re.IGNORECASE)
        return found[1].decode("utf-8", "replace") if found else ""


class HeadReader:
    """The request heads of one connection. Feed it every byte received, in order."""

    def __init__(self) -> None:
        self._at = _At.HEAD
        self._buffer = bytearray()
        self._left = 0
        self.lost = False

    def feed(self, data: bytes) -> Iterator[Head]:
        """The heads that these bytes complete."""
        self._buffer += data
        while self._buffer:
            if self.lost or self._at is _At.TUNNEL:
                self._buffer.clear()
            elif self._at is _At.HEAD:
                head = self._head()
                if head is None:
                    return
                yield head
            elif self._at is _At.BODY:
                taken = min(self._left, len(self._buffer))
                del self._buffer[:taken]
                self._left -= taken
                if not self._left:
                    self._at = _At.HEAD
            elif not self._chunk_line():
                return

    def _head(self) -> Head | None:
        while self._buffer.startswith(b"\r\n"):  # RFC 9112, 2.2: empty lines before a request
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            self.lost = len(self._buffer) > HEAD_LIMIT
            return None
        raw = bytes(self._buffer[: end + 4])
        del self._buffer[: end + 4]
        if _CHUNKED.search(raw):
            self._at = _At.CHUNK_SIZE
        elif length := _LENGTH.search(raw):
            self._left = int(length[1])
            self._at = _At.BODY if self._left else _At.HEAD
        elif _UPGRADE.search(raw):
            self._at = _At.TUNNEL
            self._buffer.clear()
        return Head(raw)

    def _chunk_line(self) -> bool:
        """Take one line of the chunked framing, or one chunk; False when more bytes are needed."""
        if self._left:
            taken = min(self._left, len(self._buffer))
            del self._buffer[:taken]
            self._left -= taken
            return True
        end = self._buffer.find(b"\r\n")
        if end < 0:
            self.lost = len(self._buffer) > HEAD_LIMIT
            return False
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if self._at is _At.CHUNK_END:
            self._at = _At.CHUNK_SIZE
            self.lost = bool(line)
        elif self._at is _At.TRAILER:
            self._at = _At.TRAILER if line else _At.HEAD
        elif size := _SIZE.match(line):
            self._left = int(size[1], 16)
            self._at = _At.CHUNK_END if self._left else _At.TRAILER
        else:
            self.lost = True
        return True
