"""A gateway without sockets: real connections, journey and exchanges between transports in memory.

A fuzzer asks tens of thousands of questions, so nothing here costs a system call, and the same
bytes give the same answer: clocks stand still, chance is seeded. Whoever plays reads what was said
to the browser (``Transport.out``) and plays the servers through ``World.dialled``.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, TypeVar, cast
from unittest import mock

from broker.gateway.answers import Answers
from broker.gateway.browser import BrowserConnection
from broker.gateway.plan import (
    DoorPlan,
    GatewayPlan,
    HostPlan,
    ListenerPlan,
    PoolPlan,
    RoutePlan,
    ServerPlan,
)
from broker.gateway.server import Gateway
from broker.site.admission import Spending
from broker.telemetry.traffic import Traffic
from tests.support.stage import FEED, HOME, FakeClaims, FakeSessions, Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from broker.gateway.upstream import ServerConnection

T = TypeVar("T")

TURNS = 8
"""Turns of the loop after which everything that was to follow has followed: a journey that dials
takes six."""
LIMITS = DoorPlan(
    head_limit=2048, header_count=24, request_line_limit=512, discard_limit=4096, keep_alive=75.0
)
BODY_LIMIT = 4096
_ANSWERS = Answers()  # rendering all pages is what costs; they are the same for everybody


class _Socket:
    """As much of a socket as shows whether a connection was reset."""

    family = None

    def __init__(self) -> None:
        self.lingers = True

    def setsockopt(self, *_: object) -> None:
        self.lingers = False

    def fileno(self) -> int:
        return -1  # what a tunnel passes on goes through the transport


class Transport:
    """What a protocol writes to, and where it is fed from. ``ended``: no more bytes will come out;
    ``reset``: in a way that cannot be taken for a clean end."""

    def __init__(self, protocol: BrowserConnection | ServerConnection) -> None:
        self.protocol = protocol
        self.out = bytearray()
        self.ended = False
        self.lost = False
        self.wrote_eof = False
        self.paused = False
        self.aborted = False
        self._waiting = bytearray()
        self._socket = _Socket()
        protocol.connection_made(cast("asyncio.BaseTransport", self))

    # --- the protocol's side

    def write(self, data: bytes | memoryview) -> None:
        assert not self.wrote_eof, "written after the end"
        if not self.ended:
            self.out += data

    def writelines(self, pieces: Iterable[bytes | memoryview]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.wrote_eof = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            asyncio.get_running_loop().call_soon(self._lose, None)

    def abort(self) -> None:
        self.aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._deliver)

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("192.0.2.7", 4711), "socket": self._socket}.get(name)

    def set_write_buffer_limits(self, **_: int) -> None:
        pass

    @property
    def reset(self) -> bool:
        return not self._socket.lingers

    # --- the peer's side

    def feed(self, data: bytes) -> None:
        """One read of the peer's bytes, as far as anybody reads."""
        self._waiting += data
        self._deliver()

    def end(self, error: Exception | None = None) -> None:
        """The peer ends its side, or breaks."""
        if self.ended:
            return
        if error is not None or not self.protocol.eof_received():
            self.ended = True
            self._lose(error)

    def _deliver(self) -> None:
        while self._waiting and not self.paused and not self.ended:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(self._waiting))
            buffer[:size] = self._waiting[:size]
            del self._waiting[:size]
            self.protocol.buffer_updated(size)

    def _lose(self, error: Exception | None) -> None:
        if not self.lost:
            self.lost = True
            self.protocol.connection_lost(error)


class World:
    """One gateway with one application at ``FEED`` behind ``/``, one behind ``/slash`` whose paths
    may contain encoded slashes, and the portal. ``cookie`` is a session's that has its seat."""

    def __init__(self) -> None:
        self.dialled: list[Transport] = []
        self.sessions = FakeSessions()
        self.cookie = self.sessions.log_in("ada")
        self.log = Recorder()
        self.traffic = Traffic()
        self.spending = Spending(64, lambda: None, _zero)
        cell = self.spending.cell("feed", "everyone")
        cell.fence_at, cell.cap = float("inf"), 64
        pools = {
            "feed": PoolPlan("feed", (ServerPlan.parse("http://127.0.0.1:1"),)),
            "portal": PoolPlan("portal", (ServerPlan.parse("http://127.0.0.1:2"),), portal=True),
        }
        routes = (
            RoutePlan(b"/", "feed", body_limit=BODY_LIMIT),
            RoutePlan(b"/slash", "feed", body_limit=BODY_LIMIT, allow_encoded_slash=True),
        )
        plan = GatewayPlan(
            LIMITS,
            (HostPlan(b"https://" + HOME, home=True), HostPlan(b"https://" + FEED, routes)),
            pools,
        )
        with mock.patch("broker.gateway.server.Answers", _answers):
            gateway = Gateway(
                plan, self.sessions, FakeClaims(), self.spending, self.traffic, self.log, _zero,
                _zero, random=random.Random(3),
            )  # fmt: skip
        self.ground, self.journey = gateway._ground, gateway._journey
        self.pools, self.browsers = gateway._pools, gateway._browsers
        loop = asyncio.get_running_loop()
        setattr(loop, "create_connection", self._connect)  # noqa: B010  # mypy: of this loop alone

    async def _connect(
        self, factory: Callable[[], ServerConnection], host: str, port: int
    ) -> tuple[None, ServerConnection]:
        """In place of the loop's own: a connection is a transport in memory."""
        connection = factory()
        self.dialled.append(Transport(connection))
        return None, connection

    def browser(self) -> Transport:
        return Transport(
            BrowserConnection(self.ground, self.journey, ListenerPlan("public"), self.browsers)
        )

    async def settle(self) -> None:
        """Let everything happen that follows from what was fed."""
        before, now = -1, len(self.log.lines)
        while now != before:  # of requests that were pipelined, one follows from the other
            for _ in range(TURNS):
                await asyncio.sleep(0)
            before, now = now, len(self.log.lines)

    async def leave(self, *transports: Transport) -> None:
        """Break every connection; afterwards nothing may be left of any exchange."""
        for transport in (*transports, *self.dialled):
            transport.end(ConnectionResetError())
        await self.settle()
        assert not self.browsers
        assert not self.ground.tasks
        assert not len(self.ground.deadlines)
        assert self.spending.cell("feed", "everyone").used == 0
        assert self.sessions.people["ada"].in_flight == 0
        assert not self.sessions.session(self.cookie).streams
        for pool in self.pools.values():
            for server in pool.servers:
                assert (server.in_flight, len(server.connections), len(server.idle)) == (0, 0, 0)


def _answers(_: object) -> Answers:
    return _ANSWERS


def _zero() -> float:
    return 0.0


def split(data: bytes, chance: random.Random, most: int) -> list[bytes]:
    """``data`` cut at up to ``most`` places."""
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(1, most)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


def splits(data: bytes) -> list[list[bytes]]:
    """The ways of reading ``data`` that must make no difference; what comes out first is the whole
    in one read. They depend on ``data`` alone, so that a found case stays one."""
    if len(data) < 2:
        return [[data]] if data else [[]]
    chance = random.Random(data)
    ways = [[data], split(data, chance, 1), split(data, chance, 6)]
    if len(data) <= 48:
        ways.append([data[at : at + 1] for at in range(len(data))])
    return ways


_LOOP: list[asyncio.AbstractEventLoop] = []


def play(scene: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a scene to its end on a loop of its own; what goes wrong in a callback goes wrong here.
    (One loop for all scenes: making one costs more than a scene.)"""
    if not _LOOP:
        _LOOP.append(asyncio.new_event_loop())
    loop = _LOOP[0]
    accidents: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: accidents.append(context))
    result = loop.run_until_complete(scene())
    for accident in accidents:
        raise accident.get("exception") or AssertionError(accident["message"])
    return result
