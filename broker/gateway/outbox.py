"""Bytes on their way out: what one turn of the event loop has to say is sent at its end.

uvloop writes at once. A write wakes the peer's process, which has long gone to sleep while we
worked on this exchange, and waking a sleeping process on another core costs more than all of our
own work (measured: 44 % of the CPU of a worker). At the end of the turn the first write wakes it
and the others find it awake. Several pieces for one connection become one write. Large pieces of
bodies are not kept back: there the copy costs more than the waking, and the transport must see them
to tell whoever reads too fast.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.gateway.ground import Ground

LARGE: Final = 16 * 1024  # bytes from which a piece is written at once
MANY: Final = 16  # pieces of one connection that are kept: one turn may read 2 MiB from a peer


class Outbox:
    """Connections that have something to send in this turn."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[Connection] = []

    def add(self, connection: Connection) -> None:
        if not self._waiting:
            loop = self._loop
            if loop is None:
                loop = self._loop = asyncio.get_running_loop()
            loop.call_soon(self._flush)
        self._waiting.append(connection)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.flush()


class Connection(asyncio.BufferedProtocol):
    """One end of the relay. Everything for the peer goes through ``write``, so that it stays in
    order; whoever ends the connection calls ``flush`` first."""

    __slots__ = ("_outgoing", "flushed", "ground", "transport")

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.transport: asyncio.Transport
        self._outgoing: list[bytes | memoryview] | None = None
        self.flushed = False  # whether bytes went to the transport since somebody set it to False

    def write(self, data: bytes | memoryview) -> None:
        outgoing = self._outgoing
        if outgoing is None:
            self._outgoing = [data]
            self.ground.outbox.add(self)
        else:
            outgoing.append(data)
            if len(outgoing) >= MANY:
                self.flush()
                return
        if len(data) >= LARGE:
            self.flush()

    def flush(self) -> None:
        """Hand what is kept to the transport. Nothing, when the connection is gone already."""
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is None or self.transport.is_closing():
            return
        self.flushed = True
        if len(outgoing) == 1:
            self.transport.write(outgoing[0])
        elif len(outgoing[-1]) >= LARGE:
            self.transport.writelines(outgoing)
        else:
            self.transport.write(b"".join(outgoing))
