"""TCP passed on to a directory, below TLS, by somebody who can forget a connection.

A half-open connection (RFC 9293, 3.5.1) is one of which the other side knows nothing any more, as
after its host was lost: no FIN and no RST was sent. Linux closes a socket in repair mode
(``TCP_REPAIR``) without a word, which only root may ask for.
"""

from __future__ import annotations

import asyncio
import os
import socket

TCP_REPAIR = 19  # linux/tcp.h


def missing() -> str:
    """Why there can be none here; "" when there can."""
    if os.geteuid() != 0:
        return "only root can leave a connection half open"
    with socket.socket() as tried:
        try:
            tried.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError as error:
            return f"no connection can be left half open here: {error.strerror}"
    return ""


class ForgetfulRelay:
    """``async with ForgetfulRelay(upstream_port) as relay``: ``relay.port`` on 127.0.0.1."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self.accepted = 0
        self._ends: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ForgetfulRelay:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def forget(self) -> None:
        """What is open is so on the other side only."""
        for near, _ in self._ends:
            near.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        self._end()

    def half_close(self) -> None:
        """A FIN of ours, and what comes is read on: TLS is ended without its closure."""
        for near, _ in self._ends:
            near.write_eof()

    def _end(self) -> None:
        for pair in self._ends:
            for writer in pair:
                writer.transport.abort()
        self._ends.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        self._ends.append((writer, up_writer))
        for source, sink in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        except OSError:
            return
