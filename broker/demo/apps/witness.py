"""The witness: what one backend sees itself, counted where the bytes arrive.

``Witness`` holds the counts and the last heads; ``Tap`` is the protocol between a socket and
aiohttp that feeds it. An exchange begins when its head is complete and ends *before* the last byte
of its answer is written (or when the connection ends), so that the witness never counts an exchange
the broker has rightly given back already: what it reports over a limit really was over the limit.
WebSockets and event streams count until they close. Health checks and the witness's own requests
(those that did not come through the broker) do not count.

Each beginning and end is also kept as a *change* with its CLOCK_MONOTONIC time, which all processes
of a machine share: laid together, the changes of several servers tell exactly how many exchanges a
pool had at the same moment, where the sum of their maxima would only be a bound.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from broker.demo.apps.heads import Head, HeadReader

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

HEADS_KEPT = 200
CHANGES_KEPT = 200_000
OWN_PATHS = ("/healthz", "/oracle")


@dataclass(slots=True)
class Count:
    """What one employee has running here, and has had since the last reset."""

    in_flight: int = 0
    max_in_flight: int = 0
    total: int = 0


class Exchange:
    """One request and its answer. ``end`` is idempotent: it counts once."""

    __slots__ = ("_witness", "counts", "employee", "head", "population")

    def __init__(self, witness: Witness, head: Head) -> None:
        self._witness: Witness | None = None
        self.head = head
        self.employee = head.field("X-Remote-User")
        self.population = head.field("X-Remote-Population") or ""
        self.counts = bool(self.employee) or head.path not in OWN_PATHS
        if self.counts:
            self._witness = witness
            witness.began(self)

    def end(self) -> None:
        witness, self._witness = self._witness, None
        if witness is not None:
            witness.ended(self)


@dataclass(slots=True)
class Witness:
    """The counts of one backend."""

    in_flight: int = 0
    max_in_flight: int = 0
    total: int = 0
    by_employee: dict[str, Count] = field(default_factory=dict)
    heads: deque[bytes] = field(default_factory=lambda: deque(maxlen=HEADS_KEPT))
    unframed: int = 0
    taps: dict[RequestHandler, Tap] = field(default_factory=dict)
    changes: deque[tuple[int, float, int, str]] = field(
        default_factory=lambda: deque(maxlen=CHANGES_KEPT)
    )
    last_change: int = 0

    def began(self, exchange: Exchange) -> None:
        self.total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.heads.append(exchange.head.raw)
        self._changed(1, exchange)
        if exchange.employee:
            count = self.by_employee.setdefault(exchange.employee, Count())
            count.total += 1
            count.in_flight += 1
            count.max_in_flight = max(count.max_in_flight, count.in_flight)

    def ended(self, exchange: Exchange) -> None:
        self.in_flight -= 1
        self._changed(-1, exchange)
        if exchange.employee:
            self.by_employee[exchange.employee].in_flight -= 1

    def _changed(self, step: int, exchange: Exchange) -> None:
        self.last_change += 1
        self.changes.append((self.last_change, time.monotonic(), step, exchange.population))

    def changes_after(self, number: int) -> dict[str, Any]:
        """As JSON: each change after ``number`` as [number, time, +1 or -1, population], and the
        time ``now``. ``missed``: so many of them were forgotten before they were asked for."""
        skip = max(0, len(self.changes) - (self.last_change - number))
        found = list(itertools.islice(self.changes, skip, None))
        return {
            "now": time.monotonic(),
            "in_flight": self.in_flight,
            "last_change": self.last_change,
            "missed": max(0, self.last_change - number - len(found)),
            "changes": found,
        }

    def reset(self) -> None:
        """Totals and heads back to nothing; what is in flight stays, and is the new maximum."""
        self.total = self.unframed = 0
        self.max_in_flight = self.in_flight
        self.heads.clear()
        self.by_employee = {
            name: Count(count.in_flight, count.in_flight, 0)
            for name, count in self.by_employee.items()
            if count.in_flight
        }

    def report(self) -> dict[str, Any]:
        """As JSON; heads oldest first, bytes as Latin-1."""
        return {
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "total": self.total,
            "by_employee": {
                name: {
                    "in_flight": count.in_flight,
                    "max_in_flight": count.max_in_flight,
                    "total": count.total,
                }
                for name, count in sorted(self.by_employee.items())
            },
            "unframed_connections": self.unframed,
            "heads": [raw.decode("latin-1") for raw in self.heads],
        }


class Tap(asyncio.Protocol):
    """Reads along on one connection, and hands everything on to aiohttp unchanged."""

    def __init__(self, inner: RequestHandler, witness: Witness) -> None:
        self._inner = inner
        self._witness = witness
        self._reader = HeadReader()
        self._lost = False
        self._arrived: deque[Exchange] = deque()
        self._open: set[Exchange] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._witness.taps[self._inner] = self
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        for head in self._reader.feed(data):
            exchange = Exchange(self._witness, head)
            self._arrived.append(exchange)
            self._open.add(exchange)
        if self._reader.lost and not self._lost:
            self._lost = True
            self._witness.unframed += 1
        self._inner.data_received(data)

    def next_exchange(self) -> Exchange | None:
        """The exchange whose request aiohttp hands to the application now: they come in order."""
        return self._arrived.popleft() if self._arrived else None

    def finish(self, exchange: Exchange) -> None:
        self._open.discard(exchange)
        exchange.end()

    def eof_received(self) -> bool | None:
        self._end_all()
        return cast("bool | None", self._inner.eof_received())

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end_all()
        self._witness.taps.pop(self._inner, None)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def _end_all(self) -> None:
        for exchange in self._open:
            exchange.end()
        self._open.clear()
