"""What a turn has to say goes out at its end, in order, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from random import Random
from typing import Any, cast

import pytest

from broker.gateway.answers import Answers
from broker.gateway.ground import Ground
from broker.gateway.outbox import LARGE, MANY, Connection, Outbox
from broker.gateway.plan import DoorPlan
from broker.telemetry.tracing import Tracing
from broker.telemetry.traffic import Traffic
from tests.support.stage import Recorder, boottime


class Said:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.closing = False
        self.failure: Exception | None = None

    def write(self, data: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.calls.append(bytes(data))

    def writelines(self, pieces: list[bytes]) -> None:
        self.calls.append([bytes(piece) for piece in pieces])

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self.closing = True
        self.calls.append("abort")

    def is_closing(self) -> bool:
        return self.closing


def ground(outbox: Outbox | None = None) -> Ground:
    """A whole one, for what is compiled takes no other; its own ``outbox`` unless it is given."""
    made = Ground(
        door=DoorPlan(), clock=boottime, wall_clock=boottime, random=Random(1), traffic=Traffic(),
        access_log=Recorder(), answers=Answers(), tracing=Tracing(Random(1).getrandbits),
    )  # fmt: skip
    made.outbox = outbox or made.outbox
    return made


def connection(outbox: Outbox | None = None) -> tuple[Connection, Said]:
    """One of its own turn, unless it shares an ``outbox``."""
    made = Connection(ground(outbox))
    said = Said()
    made.transport = cast("asyncio.Transport", said)
    return made, said


async def test_pieces_of_one_turn_are_one_write() -> None:
    made, said = connection()
    made.write(b"a")
    made.write(b"b")
    made.write(b"c")
    assert said.calls == []
    await asyncio.sleep(0)
    assert said.calls == [b"abc"]
    made.write(b"d")
    await asyncio.sleep(0)
    assert said.calls == [b"abc", b"d"]


async def test_large_and_many_pieces_do_not_wait() -> None:
    made, said = connection()
    large = bytes(LARGE)
    made.write(b"head")
    made.write(large)
    assert said.calls == [[b"head", large]]
    for _ in range(MANY):
        made.write(b".")
    assert said.calls[1:] == [b"." * MANY]


async def test_a_close_waits_for_what_is_kept_and_only_then() -> None:
    made, said = connection()
    made.write(b"last")
    made.close_when_sent()
    assert said.calls == []
    await asyncio.sleep(0)
    assert said.calls == [b"last", "close"]
    made, said = connection()
    made.close_when_sent()
    assert said.calls == ["close"]


async def test_who_cannot_be_told_holds_nobody_else_up() -> None:
    loop = asyncio.get_running_loop()
    told: list[BaseException] = []
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    outbox = Outbox()
    failures = (RuntimeError("no more"), ValueError("nor this"))
    conversations = [connection(outbox) for _ in range(6)]
    for (_, said), failure in zip(conversations[1:4:2], failures, strict=True):
        said.failure = failure
    for made, _ in conversations:
        made.write(b"hello")
    conversations[4][0].close_when_sent()
    await asyncio.sleep(0)
    conversations[0][0].write(b"again")
    for _ in range(3):
        await asyncio.sleep(0)
    assert [said.calls for _, said in conversations] == [
        [b"hello", b"again"], ["abort"], [b"hello"], ["abort"], [b"hello", "close"], [b"hello"],
    ]  # fmt: skip
    assert told == list(failures)
    assert not outbox.waiting


async def test_what_is_passed_on_overtakes_nothing() -> None:
    made, said = connection()
    made.write(b"first")
    shared = bytearray(b"second")
    made.pass_on(memoryview(shared), -1)
    shared[:] = b"others"
    await asyncio.sleep(0)
    made.pass_on(memoryview(b"third"), -1)
    assert said.calls == [b"firstsecond", b"third"]


async def test_what_is_passed_on_past_a_full_socket_arrives_in_order_and_whole() -> None:
    """The shared buffer it is passed on from is filled anew each time."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    made = Connection(ground())
    transport, _ = await loop.create_connection(lambda: made, sock=ours)
    made.transport = transport
    descriptor = made.descriptor()
    assert descriptor == ours.fileno()
    shared = memoryview(bytearray(60_001))
    sent = got = b""
    for number in range(40):
        shared[:] = bytes([number]) * 60_001
        sent += bytes(shared)
        made.pass_on(shared, descriptor)
    assert transport.get_write_buffer_size() > 0
    with contextlib.suppress(BlockingIOError):  # there is room again, and the loop has not seen it
        while data := theirs.recv(65_536):
            got += data
    made.pass_on(memoryview(b"end"), descriptor)
    while len(got) < len(sent) + len(b"end"):
        got += await loop.sock_recv(theirs, 65_536)
    in_order = got == sent + b"end"  # not to be explained by a difference of megabytes
    transport.abort()
    theirs.close()
    assert in_order


async def test_a_connection_that_is_gone_is_told_nothing() -> None:
    made, said = connection()
    said.closing = True
    made.write(b"lost")
    made.pass_on(memoryview(b"lost too"), -1)
    await asyncio.sleep(0)
    made.pass_on(memoryview(b"and this"), -1)
    assert said.calls == []
    assert not made.flushed


async def test_nobody_gets_what_was_for_a_connection_that_is_gone() -> None:
    """The kernel gives its descriptor's number to the next."""
    next_one, its_peer = socket.socketpair()
    ours, theirs = socket.socketpair()
    made = Connection(ground())
    made.transport, _ = await asyncio.get_running_loop().create_connection(lambda: made, sock=ours)
    descriptor = made.descriptor()
    made.transport.abort()
    while ours.fileno() >= 0:
        await asyncio.sleep(0)
    with next_one, its_peer, theirs:
        os.dup2(next_one.fileno(), descriptor)
        made.pass_on(memoryview(b"secret"), descriptor)
        its_peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            its_peer.recv(6)
    os.close(descriptor)
