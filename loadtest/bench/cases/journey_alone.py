"""What the worker's own Python costs for page-1k: the whole journey between transports in memory.

32 kept connections ask for the same page in turn, a server answers 1 KiB. Journey, exchange, grant,
numbers and access log are the real ones; what the kernel and the event loop's sockets cost is left
out, and sessions are looked up in a table. For changes to the hot path: a tenth of a microsecond
shows here that drowns in ``page-1k``. Nobody's must, for it is a part of a whole.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, cast

from broker.gateway.browser import BrowserConnection
from broker.gateway.plan import ListenerPlan
from broker.telemetry.access_log import AccessLog
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.wrk import BROWSER_HEADERS
from tests.fuzz.wire import World
from tests.support.stage import FEED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broker.gateway.upstream import ServerConnection

CONNECTIONS = 32
TURNS = 400  # of each connection in a round
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: Wed, 25 Nov 2026 10:00:00 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 1024\r\n\r\n" + bytes(1024)
)


class _Transport:
    """Costs next to nothing: the last thing written is kept."""

    def __init__(self, protocol: BrowserConnection | ServerConnection, view: memoryview) -> None:
        self._protocol = protocol
        self._view = view
        self.said: bytes | None = None
        protocol.connection_made(cast("asyncio.BaseTransport", self))

    def feed(self, data: bytes) -> None:
        self.said = None
        self._view[: len(data)] = data
        self._protocol.buffer_updated(len(data))

    def write(self, data: bytes) -> None:
        self.said = data

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.7", 4711) if name == "peername" else None

    def set_write_buffer_limits(self, **_: int) -> None:
        pass


def run(bench: Bench) -> Alone:
    return asyncio.run(_rounds(bench.folder))


async def _rounds(folder: Path) -> Alone:
    world = World()
    ground = world.ground
    ground.clock, ground.wall_clock = time.monotonic, time.time
    ground.access_log = log = AccessLog(folder / "access.log")
    world.spending.cell("feed", "everyone").cap = CONNECTIONS
    servers: list[_Transport] = []

    async def connect(
        factory: Callable[[], ServerConnection], host: str, port: int
    ) -> tuple[None, ServerConnection]:
        connection = factory()
        servers.append(_Transport(connection, ground.view))
        return None, connection

    setattr(asyncio.get_running_loop(), "create_connection", connect)  # noqa: B010  # this loop's
    browsers = [
        _Transport(
            BrowserConnection(ground, world.journey, ListenerPlan("public"), world.browsers),
            ground.view,
        )
        for _ in range(CONNECTIONS)
    ]
    fields = "".join(f"{name}: {value}\r\n" for name, value in BROWSER_HEADERS.items()).encode()
    asked = b"GET / HTTP/1.1\r\nHost: %b\r\n%bCookie: lang=fr; __Host-broker=%b\r\n\r\n" % (
        FEED, fields, world.cookie,
    )  # fmt: skip

    async def turn(settling: int = 1) -> None:
        for browser in browsers:
            browser.feed(asked)
        for _ in range(settling):  # the outbox; at first also the dialling
            await asyncio.sleep(0)
        for server in servers:
            if server.said is not None:
                server.feed(ANSWER)
        await asyncio.sleep(0)
        for browser in browsers:
            assert browser.said is not None
            assert browser.said.startswith(b"HTTP/1.1 200 "), browser.said

    for _ in range(20):
        await turn(settling=10)
    values = []
    for _ in range(ROUNDS):
        before = time.process_time()
        for _ in range(TURNS):
            await turn()
        values.append((time.process_time() - before) / (TURNS * CONNECTIONS) * 1e6)
    log.close()
    return values


CASE = Case(
    name="journey-alone",
    unit="us of Python per request",
    must=None,
    aim=None,
    run=run,
    order=2,
    only_named=True,
)
