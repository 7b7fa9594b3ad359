"""A stage for dialogues: a real Gateway between raw sockets, with a site written by hand.

``Stage`` starts the gateway on loopback; ``Browser`` and ``ServerSide`` speak and listen byte by
byte, so that a test reads as "browser sends ... backend sees ...". The site's doors are fakes that
keep everything in dictionaries; limits, spending and telemetry counters are the real ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from broker.errors import LedgerAway
from broker.gateway.plan import (
    DeadlinesPlan,
    DoorPlan,
    GatewayPlan,
    HostPlan,
    ListenerPlan,
    PoolPlan,
    RoutePlan,
    ServerPlan,
)
from broker.gateway.server import Gateway
from broker.policy.ejection import EjectionRule
from broker.site.admission import Person, Session, Spending
from broker.site.doors import Standing
from broker.telemetry.traffic import Traffic

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

FEED = b"feed.test:8443"
HOME = b"home.test:8443"
WIKI = b"wiki.test"
PATIENCE = 10.0  # seconds before a dialogue that hangs is a failure
STALLED = (
    64 * 1024 + 64
)  # bytes that wait in us when a peer does not read: one read and its framing


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class FakeSessions:
    """Cookies by value. ``known`` ones are in the worker's memory, the others must be resolved."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.known: dict[tuple[bytes, bytes], Session] = {}
        self.elsewhere: dict[tuple[bytes, bytes], Session] = {}
        self.renewals: dict[bytes, bytes] = {}
        self.stated: list[tuple[Session | None, Mapping[str, Any]]] = []
        self.away = False
        self.resolved = 0

    def log_in(
        self, name: str, host: bytes = FEED, *, population: str = "everyone", seated: bool = True,
        remembered: bool = True,
    ) -> bytes:  # fmt: skip
        """The value of the cookie of a new session."""
        person = self.people.setdefault(name, Person(name, population, f"~{name}"))
        if seated:
            person.seat_until = boottime() + 3600
        headers = f"X-Remote-User: {name}\r\nX-Remote-Population: {population}\r\n".encode()
        number = len(self.known) + len(self.elsewhere)
        session = Session(f"{name}-{number}", person, name, (), boottime() + 3600, headers)
        person.sessions.add(session)
        cookie = f"token-of-{name}-{number}".encode()
        (self.known if remembered else self.elsewhere)[cookie, host] = session
        return cookie

    def session(self, cookie: bytes, host: bytes = FEED) -> Session:
        return self.known[cookie, host]

    def revoke(self, cookie: bytes, host: bytes = FEED) -> None:
        session = self.known.pop((cookie, host))
        session.valid = False
        for stream in list(session.streams):
            stream.revoke()

    def peek(self, cookie: bytes, host: bytes, now: float) -> Session | None:
        session = self.known.get((cookie, host))
        return session if session is not None and session.valid else None

    async def resolve(self, cookie: bytes, host: bytes) -> Session | None:
        self.resolved += 1
        await asyncio.sleep(0)
        if self.away:
            raise LedgerAway("away")
        session = self.elsewhere.get((cookie, host))
        if session is not None:
            self.known[cookie, host] = session
        return session

    def renewal(self, session: Session, cookie: bytes, now: float) -> bytes | None:
        return self.renewals.get(cookie)

    def assertion(self, session: Session, pool: str, now: float) -> bytes:
        return b"assertion." + pool.encode()

    def portal_assertion(self, session: Session | None, claims: Mapping[str, Any]) -> bytes:
        self.stated.append((session, claims))
        return b"portal.assertion"


class FakeClaims:
    """Answers seats as told; ``answers`` by person, else ``default``. A poll is answered from
    memory unless the person is in ``unknown_here``; ``shown``: the ticket cookies that came."""

    def __init__(self) -> None:
        self.answers: dict[str, Standing] = {}
        self.default = Standing("seated", "everyone")
        self.asked: list[str] = []
        self.polled: list[str] = []
        self.shown: list[bytes | None] = []
        self.unknown_here: set[str] = set()
        self.away = False

    async def claim(self, session: Session, ticket: bytes | None = None) -> Standing:
        self.asked.append(session.person.name)
        self.shown.append(ticket)
        await asyncio.sleep(0)
        if self.away:
            raise LedgerAway("away")
        answer = self.answers.get(session.person.name, self.default)
        if answer.state == "seated":
            session.person.seat_until = boottime() + 3600
        return answer

    def standing(self, session: Session, ticket: bytes | None, now: float) -> Standing | None:
        self.polled.append(session.person.name)
        self.shown.append(ticket)
        if session.person.name in self.unknown_here:
            return None
        return self.answers.get(session.person.name, self.default)

    async def look(self, session: Session, ticket: bytes | None = None) -> Standing:
        await asyncio.sleep(0)
        if self.away:
            raise LedgerAway("away")
        return self.answers.get(session.person.name, self.default)


@dataclass(frozen=True)
class Line:
    """One line of the access log."""

    request_id: str
    address: str
    employee: str
    population: str
    pool: str
    server: str
    method: bytes
    path: bytes
    status: int
    received: int
    sent: int
    steps: tuple[float, float, float, float]
    outcome: str


class Recorder:
    """An access log that remembers."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def record(self, when: float, *rest: Any) -> None:
        self.lines.append(Line(*rest))


class Wire:
    """One end of a TCP connection, spoken to byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Up to and without the empty line."""
        async with asyncio.timeout(PATIENCE):
            return (await self.reader.readuntil(b"\r\n\r\n"))[:-4]

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(size)

    async def until(self, mark: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readuntil(mark)

    async def rest(self) -> bytes:
        """Everything until the peer closes; what came before a reset when it resets."""
        got = bytearray()
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65536):
                    got += data
        return bytes(got)

    async def response(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """(status, fields by lower-case name, decoded body) of one framed response."""
        head = await self.head()
        lines = head.split(b"\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        status = int(lines[0].split(b" ")[1])
        if b"content-length" in fields:
            body = await self.exactly(int(fields[b"content-length"]))
        elif fields.get(b"transfer-encoding") == b"chunked":
            body = await self.chunked()
        else:
            body = b""
        return status, fields, body

    async def chunked(self) -> bytes:
        body = bytearray()
        while size := int(await self.until(b"\r\n"), 16):
            body += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
        assert await self.exactly(2) == b"\r\n"
        return bytes(body)

    async def is_closed(self) -> bool:
        """Whether the peer ended the connection with nothing more to say."""
        return await self.rest() == b""

    def reset(self) -> None:
        """End without ceremony: the peer sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


class Backend:
    """A listening server whose every connection is played by the test."""

    def __init__(self) -> None:
        self.address = ""
        self.port = 0
        self.accepted = 0
        self._waiting: asyncio.Queue[Wire] = asyncio.Queue()
        self._wires: list[Wire] = []
        self._server: asyncio.Server | None = None

    async def start(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        wire = Wire(reader, writer)
        self._wires.append(wire)
        self._waiting.put_nowait(wire)

    async def connection(self) -> Wire:
        """The next connection the gateway opens."""
        async with asyncio.timeout(PATIENCE):
            return await self._waiting.get()

    def stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        closed = asyncio.ensure_future(self._server.wait_closed())
        while not closed.done():  # what is accepted in the last moment comes a little later
            for wire in self._wires:
                wire.writer.transport.abort()
            await asyncio.sleep(0.005)


@dataclass
class Stage:
    """The gateway with its surroundings. Use as an async context manager."""

    door: DoorPlan = field(default_factory=DoorPlan)
    deadlines: DeadlinesPlan = field(default_factory=DeadlinesPlan)
    ejection: EjectionRule = field(default_factory=EjectionRule)
    queue_timeout: float = 0.2
    grant: int = 1000
    per_employee: int = 64
    servers: int = 1
    weights: tuple[int, ...] = ()
    most: int | None = None
    sticky: bool = False
    forwarded: bool = False
    via: bytes = b""
    routes: tuple[RoutePlan, ...] = (RoutePlan(b"/", "feed"),)
    tls: ssl.SSLContext | None = None
    trust: ssl.SSLContext | None = None
    listener: ListenerPlan = field(default_factory=lambda: ListenerPlan("public"))

    async def __aenter__(self) -> Self:
        self.sessions = FakeSessions()
        self.claims = FakeClaims()
        self.traffic = Traffic()
        self.log = Recorder()
        self.shorts = 0
        self.spending = Spending(self.per_employee, self._short, boottime)
        self.backends = [await Backend().start() for _ in range(self.servers)]
        self.backend = self.backends[0]
        self.started = tuple(self.backends)
        self.portal = await Backend().start()
        for pool in {route.pool for route in self.routes}:
            for population in ("everyone", "sales"):
                self.cell(pool, population).cap = self.grant
        self.gateway = Gateway(
            self.plan(), self.sessions, self.claims, self.spending, self.traffic, self.log,
            boottime, time.time, random=random.Random(7),
        )  # fmt: skip
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.gateway.start([(sock, self.listener, self.tls)])
        self.browsers: list[Wire] = []
        self.accidents: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(self._accident)
        return self

    def _accident(self, _: object, context: dict[str, Any]) -> None:
        """An exception in one of the loop's callbacks: never part of the play."""
        self.accidents.append(context)

    def _short(self) -> None:
        self.shorts += 1

    def cell(self, pool: str = "feed", population: str = "everyone") -> Any:
        cell = self.spending.cell(pool, population)
        cell.fence_at = float("inf")
        return cell

    def plan(self) -> GatewayPlan:
        weights = self.weights or (1,) * len(self.backends)
        servers = tuple(
            replace(ServerPlan.parse(backend.address), weight=weight, most=self.most)
            for backend, weight in zip(self.backends, weights, strict=True)
        )
        pools = {
            name: PoolPlan(
                name,
                servers,
                self.deadlines,
                ejection=self.ejection,
                queue_timeout=self.queue_timeout,
                sticky=self.sticky,
                forwarded=self.forwarded,
                via=self.via,
            )
            for name in {route.pool for route in self.routes}
        }
        portal = PoolPlan("portal", (ServerPlan.parse(self.portal.address),), portal=True)
        return GatewayPlan(
            self.door,
            (
                HostPlan(b"https://" + HOME, home=True),
                HostPlan(b"https://" + FEED, self.routes),
                HostPlan(b"https://" + WIKI, (replace(self.routes[0], prefix=b"/"),)),
            ),
            pools | {"portal": portal},
        )

    async def browser(self) -> Wire:
        """A new connection to the gateway."""
        kwargs: dict[str, Any] = {}
        if self.trust is not None:
            kwargs = {"ssl": self.trust, "server_hostname": FEED.decode().partition(":")[0]}
        wire = Wire(*await asyncio.open_connection("127.0.0.1", self.port, **kwargs))
        self.browsers.append(wire)
        return wire

    async def settled(self) -> None:
        """Wait until nothing is in flight any more."""
        async with asyncio.timeout(PATIENCE):
            while True:
                now = self.gateway.statistics()
                if not now.exchanges and not now.tasks:
                    return
                await asyncio.sleep(0.01)

    async def __aexit__(self, *_: object) -> None:
        for wire in self.browsers:
            wire.writer.transport.abort()
        try:
            await self.gateway.drain(0.0)
        finally:
            for backend in (*self.started, self.portal):
                await backend.close()
        assert not self.accidents


def get(
    path: str = "/", *fields: str, cookie: bytes | None = None, host: bytes = FEED,
    method: str = "GET",
) -> bytes:  # fmt: skip
    """A request head; each of ``fields`` is a header line without CRLF."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host.decode()}", *fields]
    if cookie is not None:
        lines.append(f"Cookie: __Host-broker={cookie.decode()}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def ok(body: bytes = b"ok", *fields: str) -> bytes:
    """A complete response of a backend."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
