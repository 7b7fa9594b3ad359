"""Plays the corpus through a running broker. What must hold of it then is in ``corpus_faults``.

Every exchange has a client address of its own in 127.0.0.0/8: by it the lines of the access log and
of the backends' logs are found, without a byte in the request for it. Behind each exchange comes a
*follower*, a plain request in the same write. Where the connection serves on, the follower must get
its own answer; where it does not, nobody may ever have seen it. So each case also shows that both
sides agreed where the message ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from tests.support.corpus_backends import PATIENCE, Scripted

if TYPE_CHECKING:
    from tests.support.corpus import Case, Seen
    from tests.support.running_broker import RunningBroker

FOLLOWER: Final = b"GET /follower HTTP/1.1\r\nHost: $host\r\nCookie: __Host-broker=$token\r\n\r\n"
AT_ONCE: Final = 12
EMPLOYEE: Final = "ada"
PORT: Final = ":8443"  # of the hosts whose origin names one
_ADDRESSES: Final = count(1)


@dataclass
class Told:
    """What a browser read: ``end`` is whole, truncated, or nothing when not a byte came."""

    interim: list[bytes] = field(default_factory=list)
    head: bytes = b""
    body: bytes = b""
    end: str = "nothing"

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1]) if self.head else 0


@dataclass
class Played:
    """One exchange that was played: who asked whom, and all that the browser read."""

    case: Case
    backend: str
    authority: str
    logged_in: bool
    address: str
    told: Told
    follower: Told | None
    rest: bytes = b""
    late: bool = False

    def __str__(self) -> str:
        who = "logged in" if self.logged_in else "logged out"
        return f"{self.case.name} ({self.backend}, {who})"

    @property
    def keep(self) -> bool:
        """Whether the connection had to serve on."""
        keep = self.case.keep if self.logged_in else self.case.stranger_keep
        return b"\r\nConnection: close" not in self.told.head if keep is None else keep

    @property
    def seen(self) -> Seen:
        return self.case.seen if self.logged_in else self.case.stranger

    @property
    def lines(self) -> int:
        """How many exchanges the broker has to log of it."""
        return 1 + (self.follower is not None)


class Player:
    """``tokens`` are the employee's cookie values by authority."""

    def __init__(self, broker: RunningBroker, tokens: dict[str, str]) -> None:
        self.port = broker.port
        self._tokens = tokens

    async def play(self, case: Case, backend: str, *, logged_in: bool) -> Played:
        authority = f"{backend}-port.test{PORT}" if case.host == "port" else f"{backend}.test"
        token = self._tokens[authority] if logged_in else "none"
        number = next(_ADDRESSES)
        address = f"127.{64 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        played = Played(case, backend, authority, logged_in, address, Told(), None)

        def filled(data: bytes) -> bytes:
            for name, value in (("host", authority), ("token", token), ("name", f"{backend}.test")):
                data = data.replace(b"$" + name.encode(), value.encode())
            return data

        request = filled(case.request)
        try:
            async with asyncio.timeout(PATIENCE):
                await self._converse(played, request, filled(FOLLOWER))
        except TimeoutError:
            played.late = True
        return played

    async def _converse(self, played: Played, request: bytes, follower: bytes) -> None:
        case = played.case
        reader, writer = await self._connect(played.address)
        try:
            await self._send(writer, request, b"" if case.then else follower)
            if case.then:
                writer.write_eof()
            played.told = await read_answer(reader, request.partition(b" ")[0])
            if played.keep and not case.then:
                played.follower = await read_answer(reader, b"GET")
            elif played.told.end == "whole" and b"\r\nConnection: close" not in played.told.head:
                return  # it stays open: a fault, and nothing to wait for
            else:
                played.rest = await _rest(reader)
        finally:
            writer.transport.abort()
        if case.answer is not None and played.follower is None:
            reader, writer = await self._connect(played.address)
            try:
                writer.write(follower)
                played.follower = await read_answer(reader, b"GET")
            finally:
                writer.transport.abort()

    async def _connect(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, request: bytes, follower: bytes) -> None:
        """In two pieces, cut anywhere; the pause only makes it likely that they arrive apart."""
        cut = random.Random(request).randrange(len(request) + len(follower))
        data = request + follower
        writer.write(data[:cut])
        await asyncio.sleep(0.002)
        writer.write(data[cut:])

    async def lane(self, cases: asyncio.Queue[Case], number: int, port: int) -> list[Played]:
        """Plays cases with scripted answers, one after the other, on a backend of its own; what
        that one saw is compared at once."""
        backend = Scripted()
        await backend.start(port)
        found = []
        try:
            while not cases.empty():
                case = cases.get_nowait()
                for logged_in in (True, False):
                    backend.begin(case.answer if logged_in else None)
                    played = await self.play(case, f"lane{number}", logged_in=logged_in)
                    found.append(played)
                    await _check_scripted(played, backend)
        finally:
            await backend.close()
        return found


async def _check_scripted(played: Played, backend: Scripted) -> None:
    paths = [(number, head.split(b" ")[1]) for number, head in backend.seen]
    answer = played.case.answer
    if not played.logged_in or answer is None:
        assert not paths, f"{played}: the backend was asked {paths}"
        return
    numbers = [number for number, _ in paths]
    wanted = [0, 0] if answer.kept else [0, 1]
    assert numbers == wanted, f"{played}: connections {wanted} wanted, {numbers} used: {paths}"
    if not answer.kept:
        async with asyncio.timeout(PATIENCE):
            await backend.ended[0].wait()


async def read_answer(reader: asyncio.StreamReader, method: bytes) -> Told:
    """One response by RFC 9112 section 6.3, whatever state it ends in."""
    told = Told()
    with contextlib.suppress(ConnectionError):
        try:
            await _read_into(told, reader, method)
        except asyncio.IncompleteReadError as error:
            told.body += error.partial
    return told


async def _read_into(told: Told, reader: asyncio.StreamReader, method: bytes) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
        if not head.startswith(b"HTTP/1.1 1") or head.startswith(b"HTTP/1.1 101"):
            break
        told.interim.append(head)
    told.head = head
    told.end = "truncated"
    pairs = (line.lower().partition(b":") for line in head.split(b"\r\n")[1:])
    fields = {name: value.strip(b" \t") for name, _, value in pairs}
    if method == b"HEAD" or told.status in (101, 204, 304):
        pass
    elif b"content-length" in fields:
        told.body += await reader.readexactly(int(fields[b"content-length"]))
    elif fields.get(b"transfer-encoding") == b"chunked":
        while size := int(await reader.readuntil(b"\r\n"), 16):
            told.body += await reader.readexactly(size)
            assert await reader.readexactly(2) == b"\r\n"
        assert await reader.readexactly(2) == b"\r\n"
    else:
        told.body += await reader.read()
    told.end = "whole"


async def _rest(reader: asyncio.StreamReader) -> bytes:
    got = b""
    with contextlib.suppress(ConnectionError):
        got = await reader.read()
    return got
