"""The access log: one line of JSON for each exchange, written without ever holding up the loop.

``record`` encodes into memory (about 1 us); full buffers go to a thread of their own, because a
write to a slow disk or to a pipe whose reader is stuck blocks, and a blocked event loop is an
outage. When the writer cannot keep up, or the disk is full, lines are dropped and counted: traffic
matters more than its record. A line holds no query, no header, no cookie; text is escaped so that
nothing a browser sends can break a line or speak to a terminal. The employee is what ``log_name``
made: plain, a keyed hash, or nothing.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import threading
from collections import deque
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)

Mode = Literal["plain", "hash", "off"]

STEPS = ("identify", "admit", "route", "relay")
_METHODS = {name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH")}
_MILLISECONDS = tuple(f"{number:03d}Z" for number in range(1000))
_BUFFER = 64 * 1024
_BACKLOG = 256  # buffers of 64 KiB that may wait for the disk: 16 MiB, then lines are dropped


def log_name(employee: str, mode: Mode, key: bytes) -> str:
    """The employee as the access log names them. Made once per person, not per request.

    ``hash``: BLAKE2b keyed (RFC 7693 section 2.9), 16 hex digits, so that lines of one employee
    can be told together without saying who it is. Raises ValueError for ``hash`` without a key of
    16 bytes or more: unkeyed, the hash of a guessable name hides nothing.
    """
    if mode == "off":
        return ""
    if mode == "plain":
        return _printable(employee)
    if not 16 <= len(key) <= blake2b.MAX_KEY_SIZE:
        raise ValueError("the key of the access log's hash needs 16 to 64 bytes")
    return blake2b(employee.encode("utf-8", "surrogatepass"), digest_size=8, key=key).hexdigest()


class _Line(msgspec.Struct, gc=False):
    time: str
    id: str
    address: str
    employee: str
    population: str
    pool: str
    server: str
    method: str
    path: str
    status: int
    received: int
    sent: int
    identify_us: int
    admit_us: int
    route_us: int
    relay_us: int
    outcome: str


class AccessLog:
    """One file, appended to; several processes may share it (each write is whole lines)."""

    def __init__(self, target: Path | Literal["stdout", "off"]) -> None:
        """Opens the file (0640) and starts the writer. Raises OSError when it cannot be opened."""
        self.dropped = 0
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._size = 0
        self._second = -1
        self._second_text = ""
        self._writer = None if target == "off" else _Writer(_opener(target))

    def record(
        self,
        when: float,
        request_id: str,
        address: str,
        employee: str,
        population: str,
        pool: str,
        server: str,
        method: bytes,
        path: bytes,
        status: int,
        received: int,
        sent: int,
        steps: tuple[float, float, float, float],
        outcome: str,
    ) -> None:
        """An exchange ended. ``when``: civil time of its end, seconds since 1970. ``path``: as
        received; anything from a ``?`` on is cut. ``received``, ``sent``: bytes of the bodies.
        ``steps``: seconds spent in each of STEPS. ``outcome``: one of the gateway's fixed words.
        Never raises on account of its input.
        """
        if self._writer is None:
            return
        second = int(when)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        identify, admit, route, relay = steps
        line = _Line(
            self._second_text + _MILLISECONDS[int((when - second) * 1000)],
            request_id,
            address,
            employee,
            population,
            pool,
            server,
            _METHODS.get(method) or _text(method),
            _text(path.partition(b"?")[0] if b"?" in path else path),
            status,
            received,
            sent,
            int(identify * 1e6),
            int(admit * 1e6),
            int(route * 1e6),
            int(relay * 1e6),
            outcome,
        )
        try:
            encoded = self._encode(line)
        except UnicodeEncodeError:  # a lone surrogate in one of the names
            encoded = self._encode(_printable_line(line))
        self._lines.append(encoded)
        self._size += len(encoded) + 1
        if self._size >= _BUFFER:
            self.flush()

    def flush(self) -> None:
        """Hand over what is buffered; called by the owner about once a second. Does not wait."""
        if self._writer is None or not self._lines:
            return
        lines, self._lines, self._size = self._lines, [], 0
        lines.append(b"")
        self._writer.put(b"\n".join(lines), len(lines) - 1)
        self.dropped = self._writer.dropped

    def reopen(self) -> None:
        """Open the file anew (SIGUSR1, after it was rotated away). Lines recorded before the call
        go to the old file. When the new one cannot be opened the old one stays in use."""
        if self._writer is not None:
            self.flush()
            self._writer.reopen()

    def close(self) -> None:
        """Write what is buffered and end the thread; gives up on a stuck target after 2 s."""
        if self._writer is not None:
            self.flush()
            self._writer.close()
            self.dropped = self._writer.dropped
            self._writer = None


class _Writer:
    """The thread that writes. Buffers wait in a bounded deque; ``dropped`` counts lost lines."""

    def __init__(self, open_target: Callable[[], int]) -> None:
        self._open = open_target
        self._use(open_target())
        self._queue: deque[tuple[bytes, int] | None] = deque()
        self._ready = threading.Condition()
        self._closing = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def put(self, data: bytes, lines: int) -> None:
        with self._ready:
            if len(self._queue) >= _BACKLOG:
                self.dropped += lines
                return
            self._queue.append((data, lines))
            self._ready.notify()

    def reopen(self) -> None:
        with self._ready:
            self._queue.append(None)
            self._ready.notify()

    def close(self) -> None:
        with self._ready:
            self._closing = True
            self._ready.notify()
        self._thread.join(2.0)

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                item = self._queue.popleft()
            if item is None:
                self._reopen()
            else:
                self._write(*item)
        os.close(self._descriptor)

    def _write(self, data: bytes, lines: int) -> None:
        pieces = _pieces(data) if self._is_pipe else iter((data,))
        try:
            for piece in pieces:
                rest = memoryview(piece)
                while rest:
                    rest = rest[os.write(self._descriptor, rest) :]
        except OSError:  # disk full, reader gone: the next buffer tries again
            with self._ready:
                self.dropped += lines

    def _reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError as error:
            _log.warning("the access log was not reopened: %s", error)
            return
        os.close(self._descriptor)
        self._use(descriptor)

    def _use(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def _pieces(data: bytes) -> Iterator[bytes]:
    """Whole lines in pieces of at most PIPE_BUF bytes: only those are atomic in a pipe, and all
    workers of a host write to the same one. (Appends to a file are atomic at any size.)"""
    start = 0
    while len(data) - start > select.PIPE_BUF:
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        if end == 0:  # one line longer than that goes alone, whole
            end = data.index(b"\n", start) + 1
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def _opener(target: Path | Literal["stdout"]) -> Callable[[], int]:
    if isinstance(target, Path):
        return lambda: os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    return lambda: os.dup(sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)


def _text(raw: bytes) -> str:
    """Bytes of a browser as printable ASCII: everything else as ``\\xNN``."""
    text = raw.decode("ascii", "backslashreplace")
    return text if text.isprintable() else _printable(text)


def _printable(text: str) -> str:
    """Control, format and lone surrogate characters as ``\\xNN`` / ``\\uNNNN``; the rest as is."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("ascii", "backslashreplace").decode()
        if ord(character) > 0x7F
        else f"\\x{ord(character):02x}"
        for character in text
    )


def _printable_line(line: _Line) -> _Line:
    fields: dict[str, Any] = {
        name: _printable(value) if isinstance(value := getattr(line, name), str) else value
        for name in line.__struct_fields__
    }
    return _Line(**fields)
