"""What every connection of one worker stands on: clocks, deadlines, the receive buffer, telemetry.

One receive buffer serves all connections: the event loop fills it and calls ``buffer_updated``
within one callback, and whoever keeps bytes copies them out there. So an idle connection costs no
buffer, and no read is larger than 64 KiB.
"""

from __future__ import annotations

import asyncio
import logging
from email.utils import formatdate
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from broker.gateway.deadlines import Deadlines
from broker.gateway.doorstep import Place, counted_as
from broker.gateway.http1 import HeadReader
from broker.gateway.outbox import Outbox
from broker.policy.second_factor import excepted

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from random import Random

    from broker.gateway.answers import Answers
    from broker.gateway.plan import DoorPlan
    from broker.telemetry.tracing import Tracing

BUFFER: Final = 64 * 1024
INSIDE_REMEMBERED: Final = 4096  # addresses
REST: Final = 2.0  # seconds after which an idle connection gives up what it remembers

_log = logging.getLogger(__name__)


class PoolTraffic(Protocol):
    """The numbers of one pool, as ``telemetry.traffic`` keeps them."""

    dial_failures: int
    held: int
    held_seconds: float
    retries: int
    received: int
    sent: int
    tunnels: int

    def answered(self, status: int, seconds: float) -> None: ...

    def observe(self, status: int, seconds: float) -> None: ...


class Traffic(Protocol):
    """All pools, refusals by reason, and open connections of browsers."""

    client_connections: int

    @property
    def refused(self) -> dict[str, int]: ...

    @property
    def handshakes(self) -> dict[str, int]: ...

    def pool(self, name: str) -> PoolTraffic: ...


class AccessLog(Protocol):
    """Where each exchange is recorded; see ``telemetry.access_log``."""

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
    ) -> None: ...


class Ground:
    """Explicitly shared by all connections of one gateway; nothing here belongs to one of them."""

    def __init__(
        self,
        *,
        door: DoorPlan,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Random,
        traffic: Traffic,
        access_log: AccessLog,
        answers: Answers,
        tracing: Tracing,
    ) -> None:
        self.clock = clock
        self.wall_clock = wall_clock
        self.random = random
        self.traffic = traffic
        self.access_log = access_log
        self.answers = answers
        self.tracing = tracing
        self.view = memoryview(bytearray(BUFFER))
        self.deadlines = Deadlines(clock())
        self.outbox = Outbox()
        self.draining = False
        self.emptied = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self._by_address: dict[str, int] = {}
        self.use_door(door)

    def use_door(self, door: DoorPlan, inside: tuple[str, ...] = ()) -> None:
        """Take over limits, and the networks that are *inside*; also at a reload."""
        self.door = door
        self.is_inside = lru_cache(INSIDE_REMEMBERED)(partial(excepted, networks=inside))
        self.rest = min(REST, door.keep_alive)
        self.reader = HeadReader(
            header_count=door.header_count, request_line_limit=door.request_line_limit
        )

    def place(self, address: str) -> Place | None:
        """A place for one more connection of this address (empty: a Unix socket, no limit); None,
        counted as refused, when it has all of its places or the gateway is draining."""
        among = counted_as(address)
        if address and self._has_all(among):
            self.traffic.refused["per_address"] += 1
            return None
        return None if self.draining else Place(self._by_address, address, among)

    def move(self, place: Place, address: str) -> bool:
        """The connection turns out to be of this address; False, counted as refused, when that has
        all of its places."""
        if self._has_all(counted_as(address)):
            self.traffic.refused["per_address"] += 1
            return False
        place.move(address)
        return True

    def _has_all(self, among: str) -> bool:
        return self._by_address.get(among, 0) >= self.door.connections_per_address

    def date(self) -> bytes:
        """For the Date of our own answers (RFC 9110 6.6.1)."""
        return formatdate(self.wall_clock(), usegmt=True).encode("ascii")

    def spawn(self, waiting: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what must wait; the gateway ends every task it started before it is gone."""
        task = asyncio.get_running_loop().create_task(waiting)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a journey failed", exc_info=error)
