"""A man in the middle who misbehaves on command, between the broker and a real directory.

Ends TLS with a good certificate, passes requests on, and does to the answers what ``mood`` says at
that moment. For faults *inside* a working TLS connection, where each byte can be a record of its
own; faults below TLS are made with plain sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import ssl

Mood = Literal[
    "honest", "silent", "dripping", "garbage", "flooding", "hanging up", "hanging up once"
]


class Meddler:
    """``async with Meddler(...) as m``: ``m.port`` on 127.0.0.1, ``m.ports["127.0.0.2"]``
    on the other; set ``m.mood`` at any time. ``m.met`` is set by the first connection."""

    def __init__(
        self,
        upstream: int,
        upstream_tls: ssl.SSLContext,
        own_tls: ssl.SSLContext,
        mood: Mood = "honest",
    ) -> None:
        self._upstream = upstream
        self._upstream_tls = upstream_tls
        self._own_tls = own_tls
        self.mood: Mood = mood
        self.accepted = 0
        self.met = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._closing = False

    async def __aenter__(self) -> Meddler:
        self._server = await asyncio.start_server(
            self._accept, ["127.0.0.1", "127.0.0.2"], 0, ssl=self._own_tls
        )
        self.ports: dict[str, int] = dict(s.getsockname() for s in self._server.sockets)
        self.port = self.ports["127.0.0.1"]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is cancelled: a connection given up half made would be left to the collector."""
        self._closing = True
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self.met.set()
        task = asyncio.create_task(self._relay(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(
            "127.0.0.1", self._upstream, ssl=self._upstream_tls, server_hostname="localhost"
        )
        ends = {writer, up_writer}
        self._writers |= ends
        try:
            async with asyncio.TaskGroup() as both:
                if self._closing:
                    raise _End
                both.create_task(self._requests(reader, up_writer))
                both.create_task(self._answers(up_reader, writer))
        except* (OSError, _End):
            pass
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise _End

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            match self.mood:
                case "honest":
                    writer.write(data)
                case "silent":
                    pass
                case "dripping":
                    writer.write(b"\x30\x84\x00\x10\x00\x00")  # a mebibyte is promised
                    while not writer.transport.is_closing():
                        writer.write(b"\x00")
                        await asyncio.sleep(0.05)
                case "garbage":
                    writer.write(b"\x30\x0c\x02\x01\x01\x7f\x07\xff\xff\xff\xff\xff\xff\xff")
                case "flooding":
                    writer.write(b"\x30\x84\x7f\xff\xff\xff")
                    while not writer.transport.is_closing():
                        writer.write(b"\x00" * 65536)
                        await writer.drain()
                        # After a reset, drain() returns at once and the transport learns of its
                        # end only in the loop's next turn: without one this would never end.
                        await asyncio.sleep(0)
                case "hanging up":
                    raise _End
                case "hanging up once":
                    self.mood = "honest"
                    raise _End
            with contextlib.suppress(OSError):
                await writer.drain()
        raise _End


class _End(Exception):
    """One side is done; so is the other."""
