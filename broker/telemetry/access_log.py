"""The access log: one line of JSON for each exchange, written without ever holding up the loop.

``record`` only keeps what it is told (0.2 us); hundreds become lines in one go, which costs
half of what it does one by one, and go to a thread of their own, because a write to a slow disk or
to a pipe whose reader is stuck blocks, and a blocked event loop is an outage. Handing over wakes
that thread and costs the interpreter's lock twice, so it is done rarely. When the writer cannot
keep up, or the disk is full, lines are dropped and counted: traffic matters more than its record.
A line holds no query, no header, no cookie; text is escaped so that nothing a browser sends can
break a line or speak to a terminal. The employee is
what ``log_name`` made: plain, a keyed hash, or nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from broker.telemetry.log_writer import LogWriter, opener

if TYPE_CHECKING:
    from pathlib import Path

Mode = Literal["plain", "hash", "off"]

STEPS = ("identify", "admit", "route", "relay")
_METHODS = {name.encode(): name for name in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH")}
_MILLISECONDS = tuple(f"{number:03d}Z" for number in range(1000))
_WITHOUT_QUERY = re.compile(rb"[?#]")
_QUERY, _FRAGMENT = b"?#"  # as numbers: bytes in bytes raises and catches an error first, 0.3 us
_LINES = 512  # kept before they go to the writer together: about 160 KiB
_TEXT = 64 * 1024  # bytes of paths, which may be long, after which fewer lines go


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


_Record = tuple[
    float, str, str, str, str, str, str, bytes, bytes, int, int, int,
    tuple[float, float, float, float], str,
]  # fmt: skip
"""What ``record`` was told, in its order."""


class AccessLog:
    """One file, appended to; several processes may share it (each write is whole lines)."""

    def __init__(self, target: Path | Literal["stdout", "off"]) -> None:
        """Opens the file (0640) and starts the writer. Raises OSError when it cannot be opened."""
        self.dropped = 0
        self._encoder = msgspec.json.Encoder()
        self._kept: list[_Record] = []
        self._size = 0
        self._second = -1
        self._second_text = ""
        self._writer = None if target == "off" else LogWriter(opener(target))

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
        kept = self._kept
        kept.append(
            (when, request_id, address, employee, population, pool, server, method, path, status,
             received, sent, steps, outcome)
        )  # fmt: skip
        self._size += len(path)
        if len(kept) >= _LINES or self._size >= _TEXT:
            self.flush()

    def _line(self, record: _Record) -> _Line:
        (when, request_id, address, employee, population, pool, server, method, path, status,
         received, sent, steps, outcome) = record  # fmt: skip
        second = int(when)
        if second != self._second:
            self._second = second
            self._second_text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        identify, admit, route, relay = steps
        if _QUERY in path or _FRAGMENT in path:
            path = _WITHOUT_QUERY.split(path, 1)[0]
        return _Line(
            self._second_text + _MILLISECONDS[int((when - second) * 1000)],
            request_id,
            address,
            employee,
            population,
            pool,
            server,
            _METHODS.get(method) or _text(method),
            _text(path),
            status,
            received,
            sent,
            int(identify * 1e6),
            int(admit * 1e6),
            int(route * 1e6),
            int(relay * 1e6),
            outcome,
        )

    def flush(self) -> None:
        """Hand over what is buffered; called by the owner about once a second. Does not wait."""
        if self._writer is None or not self._kept:
            return
        lines = [self._line(record) for record in self._kept]
        self._kept, self._size = [], 0
        try:
            encoded = self._encoder.encode_lines(lines)
        except UnicodeEncodeError:  # a lone surrogate in one of the names
            encoded = self._encoder.encode_lines([_printable_line(line) for line in lines])
        self._writer.put(encoded, len(lines))
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
