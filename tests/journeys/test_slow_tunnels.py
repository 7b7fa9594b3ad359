"""Tunnels whose ends do not read, read slowly or leave: no byte is lost, swapped or piled up.

The ends are bare sockets with buffers of a few KiB, and so are the gateway's towards them: what
nobody reads soon fills everything between. Each end writes in a task of its own; a dialogue in
which both ends first write all and then read would wait for itself, not for the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from itertools import product
from typing import TYPE_CHECKING

from tests.journeys.test_tunnels import OFFER, ORIGIN, SWITCH
from tests.support.stage import PATIENCE, STALLED, Stage, boottime, get, ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broker.gateway.outbox import Connection

TINY = 4096  # bytes of a socket's buffer
SIZE = 400_000  # bytes that each end says
PIECE = 3000  # most bytes that a slow end takes at once
RESET = b"\1\0\0\0\0\0\0\0"


class End:
    """One end of a tunnel. What it ``says`` are random bytes that nobody else says."""

    def __init__(self, sock: socket.socket, name: str) -> None:
        self.sock = sock
        self.says = random.Random(name).randbytes(SIZE)
        self.said = 0  # bytes of it that its own kernel has taken
        self.heard = bytearray()
        self.speaking: asyncio.Task[None] | None = None

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    def speak(self) -> None:
        self.speaking = asyncio.ensure_future(self._speak())

    async def _speak(self) -> None:
        while self.said < SIZE:
            piece = self.says[self.said : self.said + PIECE]
            await self.send(piece)
            self.said += len(piece)

    async def hush(self) -> None:
        if self.speaking is not None:
            self.speaking.cancel()
            await asyncio.gather(self.speaking, return_exceptions=True)

    async def hear(self, most: int = PIECE) -> bool:
        """A little of what has come; False when there will be no more."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.sock, most)
        except ConnectionResetError:
            return False
        self.heard += data
        return bool(data)

    async def hear_slowly(self, size: int) -> None:
        """In all, in small pieces, each in a turn of its own."""
        async with asyncio.timeout(PATIENCE):
            while (left := size - len(self.heard)) > 0 and await self.hear(min(left, PIECE)):
                await asyncio.sleep(0)

    async def head(self) -> bytes:
        """Up to the empty line and no further."""
        got = b""
        async with asyncio.timeout(PATIENCE):
            while not got.endswith(b"\r\n\r\n"):
                data = await asyncio.get_running_loop().sock_recv(self.sock, 1)
                assert data
                got += data
        return got

    async def leave(self, how: str = "close") -> None:
        """In the middle of everything. ``half``: to say no more, and to be there still."""
        await self.hush()
        if how == "half":
            self.sock.shutdown(socket.SHUT_WR)
            return
        if how == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class Tunnels:
    """Several at once, of one session to one server."""

    def __init__(self, stage: Stage, listener: socket.socket) -> None:
        self.stage = stage
        self.cookie = stage.sessions.log_in("ada")
        self._listener = listener
        self.ends: list[End] = []

    async def begin(self, name: str, request: bytes) -> tuple[End, End]:
        """A browser and the server it has asked."""
        loop = asyncio.get_running_loop()
        browser = End(tiny(), f"{name}, browser")
        self.ends.append(browser)
        await loop.sock_connect(browser.sock, ("127.0.0.1", self.stage.port))
        await browser.send(request)
        async with asyncio.timeout(PATIENCE):
            backend = End((await loop.sock_accept(self._listener))[0], f"{name}, backend")
        self.ends.append(backend)
        await backend.head()
        for each in self.gates:
            # Not what it receives: a window that shrinks after it was told opens again by the
            # kernel's timers, 200 ms for each piece.
            sock = each.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, TINY)
        return browser, backend

    async def open(self, name: str) -> tuple[End, End]:
        browser, backend = await self.begin(name, self.upgrade())
        await backend.send(SWITCH)
        assert (await browser.head()).startswith(b"HTTP/1.1 101 ")
        return browser, backend

    def upgrade(self) -> bytes:
        return get("/live", *OFFER, ORIGIN, cookie=self.cookie)

    @property
    def gates(self) -> list[Connection]:
        """The gateway's own connections, from browsers and to the server."""
        (server,) = self.stage.gateway._pools["feed"].servers
        return [*self.stage.gateway._browsers, *server.connections]

    @property
    def waiting(self) -> list[int]:
        """Bytes that wait in the gateway, by connection."""
        return [each.transport.get_write_buffer_size() for each in self.gates]

    @property
    def open_now(self) -> int:
        return self.stage.traffic.pool("feed").tunnels

    def at_a_stop(self) -> bool:
        """Whether the gateway reads from nobody, because nobody takes anything."""
        return all(self.waiting) and not any(each.transport.is_reading() for each in self.gates)


def tiny() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, TINY)
    return sock


async def until(come: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            if come():
                return
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def tunnels() -> AsyncIterator[Tunnels]:
    """When they have ended, all must be as it was before."""
    with tiny() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        async with Stage() as stage:
            stage.backend.port = listener.getsockname()[1]
            stage.backend.address = f"http://127.0.0.1:{stage.backend.port}"
            stage.gateway.replace(stage.plan())
            made = Tunnels(stage, listener)
            descriptors, tasks = os.listdir("/proc/self/fd"), asyncio.all_tasks()
            try:
                yield made
            finally:
                for end in made.ends:
                    await end.leave()
            await stage.settled()
            await until(lambda: not made.gates)
            assert asyncio.all_tasks() == tasks
            assert os.listdir("/proc/self/fd") == descriptors
            assert (stage.cell().used, made.open_now) == (0, 0)
            assert not stage.sessions.session(made.cookie).streams
            (server,) = stage.gateway.statistics().pools["feed"]
            assert (server.in_flight, server.connections) == (0, 0)
            assert not len(stage.gateway._ground.deadlines)


async def test_every_byte_arrives_in_order_on_its_own_tunnel() -> None:
    async with tunnels() as made:
        pairs = [await made.open(f"tunnel {number}") for number in range(4)]
        for end in made.ends:
            end.speak()
        await until(made.at_a_stop)
        assert max(made.waiting) <= STALLED
        assert max(end.said for end in made.ends) < SIZE / 2
        await asyncio.gather(*(end.hear_slowly(SIZE) for end in made.ends))
        for browser, backend in pairs:
            assert backend.heard == browser.says
            assert browser.heard == backend.says
        assert made.open_now == 4


async def test_who_leaves_in_the_middle_takes_only_its_own_tunnel_along() -> None:
    """At a stop. Who leaves with something unread resets the connection, by closing it as well;
    who only says no more does not read on here, so that nothing for it is ever taken."""
    async with tunnels() as made:
        leaving = [
            (who, how, await made.open(f"{who} {how}"))
            for who, how in product((0, 1), ("reset", "close", "half"))
        ]
        staying = [await made.open(f"staying {number}") for number in range(2)]
        for end in made.ends:
            end.speak()
        await until(made.at_a_stop)
        for who, how, ends in leaving:
            before = made.open_now
            await ends[who].leave(how)
            other = ends[1 - who]
            async with asyncio.timeout(PATIENCE):  # much less than any deadline of the gateway's
                while await other.hear():
                    pass
            assert made.open_now == before - 1
            assert ends[who].says.startswith(other.heard)
            if how == "half":
                assert len(other.heard) >= ends[who].said
            outcome = "backend_gone" if who and how != "half" else "ok"
            assert made.stage.log.lines[-1].outcome == outcome
        await asyncio.gather(*(end.hear_slowly(SIZE) for pair in staying for end in pair))
        for browser, backend in staying:
            assert backend.heard == browser.says
            assert browser.heard == backend.says


async def test_an_earlier_answer_that_nobody_reads_stops_the_tunnel_behind_it() -> None:
    answer = bytes(30_000)
    async with tunnels() as made:
        browser, backend = await made.begin("behind", get(cookie=made.cookie))
        await backend.send(ok(answer))
        (gate,) = made.stage.gateway._browsers
        await until(lambda: gate.is_full and gate.party is None)
        stall = made.stage.door.stall_timeout
        assert gate.due > boottime() + stall / 2, "it has as long as any other answer"
        await browser.send(made.upgrade())
        await backend.head()
        await backend.send(SWITCH)
        await until(lambda: made.open_now == 1)
        assert gate.due < boottime() + stall, "and no longer"
        backend.speak()
        await until(lambda: made.gates[1].transport.is_reading() is False)
        assert max(made.waiting) <= STALLED
        assert (await browser.head()).startswith(b"HTTP/1.1 200 ")
        await browser.hear_slowly(len(answer))
        assert browser.heard == answer
        browser.heard.clear()
        assert (await browser.head()).startswith(b"HTTP/1.1 101 ")
        await browser.hear_slowly(SIZE)
        assert browser.heard == backend.says
