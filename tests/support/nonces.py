"""Backends and browsers that end in every way there is, and can tell whose each byte is.

A request's path says what its server is to do: ``/HOW/NONCE/SIZE``. Every byte of a body, both
ways, is of the nonce of its own exchange, repeated: a byte of anybody else's is seen on arrival.
Chance is seeded: the same visits in the same order, only their timing is the machine's.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections import Counter

RESET = b"\1\0\0\0\0\0\0\0"
PATIENCE = 30.0
OWN = frozenset((400, 408, 413, 429, 502, 503, 504))
"""Statuses of the broker's own answers; servers here say 200 and 101 only."""
ENDED = (asyncio.IncompleteReadError, ConnectionError, RuntimeError)
"""A peer that is gone. RuntimeError: uvloop's word for a transport that is closed."""


def words(nonce: bytes, size: int) -> bytes:
    """``size`` bytes that only this exchange may see."""
    return (nonce * (size // len(nonce) + 1))[:size]


def reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.transport.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Server:
    """One server; ``wrong`` lists what came to it in somebody else's name."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.seen: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._listening: asyncio.Server | None = None

    async def start(self) -> str:
        self._listening = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except ENDED:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def hang_up(self) -> None:
        """End every connection there is."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        assert self._listening is not None
        self._listening.close()
        self.hang_up()
        await self._listening.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        _, target, _ = head.split(b" ", 2)
        if target == b"/healthz":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return True
        how, nonce, size = target.split(b"/")[1:]
        self.seen[how.decode()] += 1
        if b"\r\nX-Nonce: " + nonce + b"\r\n" not in head:
            self.wrong.append(f"a head of another exchange: {head!r}")
        if how == b"early":
            writer.write(self._head(nonce, 4) + words(nonce, 4))
            await writer.drain()
        elif how == b"reset-at-once":
            reset(writer)
            return False
        if b"\r\nExpect: 100-continue\r\n" in head:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await self._body(reader, head, nonce)
        if how != b"early":
            return await self._answer(reader, writer, how, nonce, int(size))
        return True

    @staticmethod
    def _head(nonce: bytes, size: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\nX-Nonce: %b\r\nContent-Length: %d\r\n\r\n" % (nonce, size)

    async def _body(self, reader: asyncio.StreamReader, head: bytes, nonce: bytes) -> None:
        got = bytearray()
        if b"\r\nTransfer-Encoding: chunked\r\n" in head:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                got += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        elif b"\r\nContent-Length: " in head:
            length = head.partition(b"\r\nContent-Length: ")[2].partition(b"\r\n")[0]
            got += await reader.readexactly(int(length))
        if got != words(nonce, len(got)):
            self.wrong.append(f"a body of another exchange than {nonce!r}")

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        how: bytes,
        nonce: bytes,
        size: int,
    ) -> bool:
        body = words(nonce, size)
        start = b"HTTP/1.1 200 OK\r\nX-Nonce: %b\r\n" % nonce
        if how == b"chunked":
            writer.write(start + b"Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, size, 5000):
                piece = body[at : at + 5000]
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await asyncio.sleep(0)
            writer.write(b"0\r\n\r\n")
        elif how == b"until-close":
            writer.write(start + b"Connection: close\r\n\r\n" + body)
            writer.close()
            return False
        elif how == b"interim":
            writer.write(b"HTTP/1.1 103 Early Hints\r\nX-Nonce: %b\r\n\r\n" % nonce)
            writer.write(self._head(nonce, size) + body)
        elif how in (b"cut", b"reset"):
            writer.write(self._head(nonce, size + 1) + body)
            await writer.drain()
            reset(writer) if how == b"reset" else writer.close()
            return False
        elif how == b"hang":
            await reader.read()  # until the broker loses its patience
            return False
        elif how == b"stop":
            writer.write(self._head(nonce, size + 1) + body)
            await reader.read()
            return False
        elif how == b"garbage":
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n" + body
            )
            return False
        elif how == b"surplus":
            writer.write(self._head(nonce, size) + body + words(nonce, 64))
        elif how == b"upgrade":
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"X-Nonce: %b\r\n\r\n" % nonce
            )
            await self._echo(reader, writer, nonce)
            return False
        else:  # length
            writer.write(self._head(nonce, size))
            await asyncio.sleep(0)
            writer.write(body)
        await writer.drain()
        return True

    async def _echo(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, nonce: bytes
    ) -> None:
        while data := await reader.read(65536):
            if set(data) - set(nonce):
                self.wrong.append(f"a tunnel's bytes that are not of {nonce!r}")
            writer.write(data)
            await writer.drain()


ORDINARY = ("length", "length", "chunked", "until-close", "interim", "early", "surplus")
ENDS = ("cut", "reset", "reset-at-once", "garbage")
SLOW = ("hang", "stop")


class Visitor:
    """Opens connections and says requests on them. ``ends`` counts how exchanges ended, ``wrong``
    lists bytes that were not this visitor's."""

    def __init__(self, port: int, host: str, cookies: list[str], seed: int) -> None:
        self.ends: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.begun = 0
        self._port = port
        self._host = host
        self._cookies = cookies
        self._seed = seed

    async def visit(self, number: int) -> None:
        """One connection: a few requests, ended in a way that only chance knows."""
        chance = random.Random(self._seed * 1_000_003 + number)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        manner = chance.choices(
            ("in turn", "pipelined", "tunnel", "aborted", "half-closed", "slow"),
            (30, 20, 12, 28, 8, 2),
        )[0]
        try:
            async with asyncio.timeout(PATIENCE):
                await self._play(manner, chance, reader, writer)
        except ENDED:
            self.ends[f"{manner}: gone"] += 1
        finally:
            reset(writer) if chance.random() < 0.3 else writer.close()

    async def _play(
        self,
        manner: str,
        chance: random.Random,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        if manner == "tunnel":
            await self._tunnel(chance, reader, writer)
            return
        if manner == "slow":
            await self._slow(chance, reader, writer)
            return
        many = chance.randint(1, 4) if manner in ("in turn", "pipelined") else 1
        requests = [self._request(chance) for _ in range(many)]
        if manner == "pipelined":
            writer.write(b"".join(data for data, _, _ in requests))
        for data, nonce, how in requests:
            if manner == "aborted":
                writer.write(data[: chance.randrange(len(data) + 1)])
                await asyncio.sleep(chance.random() * 0.01)
                if chance.random() < 0.5:
                    self.ends["aborted while asking"] += 1
                    return
                with contextlib.suppress(TimeoutError):  # of what was cut off nothing comes soon
                    async with asyncio.timeout(chance.random() * 0.1):
                        await reader.read(chance.randrange(1, 2000))
                self.ends["aborted while reading"] += 1
                return
            if manner != "pipelined":
                writer.write(data)
            if manner == "half-closed":
                writer.write_eof()
            again = await self._response(reader, nonce, how)
            self.ends[f"{manner}: {how} {'kept' if again else 'closed'}"] += 1
            if not again:
                return

    def _request(self, chance: random.Random) -> tuple[bytes, bytes, str]:
        """(all of it, its nonce, what its server is to do)."""
        how = chance.choice(chance.choices((ORDINARY, ENDS, SLOW), (88, 11, 1))[0])
        self.begun += 1
        nonce = b"%016x" % chance.getrandbits(64)
        size = chance.choice((0, 10, 900, 20_000, 100_000))
        body, framing = b"", b""
        if chance.random() < 0.3 or how == "early":
            body = words(nonce, chance.choice((1, 700, 30_000, 90_000)))
            framing = b"Content-Length: %d\r\n" % len(body)
            if chance.random() < 0.5:
                framing = b"Transfer-Encoding: chunked\r\n"
                cut = chance.randrange(1, len(body) + 1)
                pieces = [*filter(None, (body[:cut], body[cut:])), b""]
                body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
            if chance.random() < 0.2:
                framing += b"Expect: 100-continue\r\n"
        data = self._head(chance, "POST" if body else "GET", how, nonce, size) + framing + b"\r\n"
        return data + body, nonce, how

    def _head(self, chance: random.Random, method: str, how: str, nonce: bytes, size: int) -> bytes:
        cookie = chance.choice(self._cookies)
        return (
            f"{method} /{how}/{nonce.decode()}/{size} HTTP/1.1\r\nHost: {self._host}\r\n"
            f"Cookie: __Host-broker={cookie}\r\nX-Nonce: {nonce.decode()}\r\n"
        ).encode()

    async def _response(self, reader: asyncio.StreamReader, nonce: bytes, how: str) -> bool:
        """Read one; whether another may follow."""
        head = await reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 10"):
            if head.startswith(b"HTTP/1.1 103") and b"X-Nonce: " + nonce not in head:
                self.wrong.append(f"an interim response of another exchange: {head!r}")
            head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if b"\r\nTransfer-Encoding: chunked" in head:
            body = bytearray()
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readexactly(2)
        else:
            length = head.partition(b"\r\nContent-Length: ")[2].partition(b"\r\n")[0]
            body = bytearray(await reader.readexactly(int(length)))
        self.ends[str(status)] += 1
        if status in OWN:
            if b"X-Nonce" in head:
                self.wrong.append(f"an answer of ours with somebody's bytes: {head!r}")
        elif b"\r\nX-Nonce: " + nonce + b"\r\n" not in head or body != words(nonce, len(body)):
            self.wrong.append(f"not the answer to {nonce!r}: {head!r}")
        return b"\r\nConnection: close" not in head

    async def _tunnel(
        self, chance: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.begun += 1
        nonce = b"%016x" % chance.getrandbits(64)
        writer.write(
            self._head(chance, "GET", "upgrade", nonce, 0)
            + f"Origin: https://{self._host}\r\n".encode()
            + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            self.ends["no tunnel"] += 1
            return
        if b"\r\nX-Nonce: " + nonce + b"\r\n" not in head:
            self.wrong.append(f"another exchange's tunnel: {head!r}")
        for _ in range(chance.randrange(4)):
            said = words(nonce, chance.choice((1, 100, 5000)))
            writer.write(said)
            if chance.random() < 0.2:
                break
            if await reader.readexactly(len(said)) != said:
                self.wrong.append(f"bytes of another tunnel than {nonce!r}")
        if chance.random() < 0.2:
            writer.write_eof()
            await reader.read()
        self.ends["tunnel"] += 1

    async def _slow(
        self, chance: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """A head or a body that does not end: the broker does."""
        data, nonce, _ = self._request(chance)
        begin = self._head(chance, "POST", "length", nonce, 10)
        if chance.random() < 0.5:
            writer.write(data[: data.index(b"\r\n\r\n")])
        else:
            writer.write(begin + b"Content-Length: 100000\r\n\r\n" + words(nonce, 100))
        status = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
        await reader.read()
        self.ends[f"slow: {status.decode()}"] += 1
