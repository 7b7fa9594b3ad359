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
from os import write
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.gateway.ground import Ground

LARGE: Final = 16 * 1024  # bytes from which a piece is written at once
MANY: Final = 16  # pieces of one connection that are kept: one turn may read 2 MiB from a peer


class Outbox:
    """Connections that have something to send in this turn."""

    __slots__ = ("_loop", "waiting")

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self.waiting: list[Connection] = []

    def wake(self) -> None:
        """The first of this turn is about to wait."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        loop.call_soon(self._flush)

    def _flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        rest = iter(waiting)
        try:
            for connection in rest:
                connection.flush()
                if connection.ending:
                    connection.transport.close()
        except BaseException:  # the event loop tells it
            if late := list(rest):
                if not self.waiting:
                    self.wake()
                self.waiting += late
            connection.transport.abort()  # what it had to say is lost, and nothing may follow
            raise


class Connection(asyncio.BufferedProtocol):
    """One end of the relay. Everything for the peer goes through ``write``, so that it stays in
    order; whoever ends the connection at once calls ``flush`` first, who ends it after what is kept
    ``close_when_sent``."""

    __slots__ = ("_outgoing", "ending", "flushed", "ground", "transport")

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.transport: asyncio.Transport
        # One piece, as nearly always, is kept without a list around it.
        self._outgoing: bytes | memoryview | list[bytes | memoryview] | None = None
        self.flushed = False  # whether bytes went to the transport since somebody set it to False
        self.ending = False  # to be closed once what is kept has gone to the transport

    def keep_little(self) -> None:
        """Be told as soon as the peer does not take all it is sent: then the other side is read no
        more, and what waits in this process is what one read brought. (1, not 0: over TLS the loop
        compares with "at least".)"""
        self.transport.set_write_buffer_limits(high=1)

    def write(self, data: bytes | memoryview) -> None:
        outgoing = self._outgoing
        if outgoing is None:
            self._outgoing = data
            outbox = self.ground.outbox
            if not outbox.waiting:
                outbox.wake()
            outbox.waiting.append(self)
        elif isinstance(outgoing, list):
            outgoing.append(data)
            if len(outgoing) >= MANY:
                self.flush()
                return
        else:
            self._outgoing = [outgoing, data]
        if len(data) >= LARGE:
            self.flush()

    def flush(self) -> None:
        """Hand what is kept to the transport. Nothing, when the connection is gone already."""
        outgoing = self._outgoing
        if outgoing is None:
            return
        self._outgoing = None
        transport = self.transport
        if transport.is_closing():
            return
        self.flushed = True
        if not isinstance(outgoing, list):
            transport.write(outgoing)
        elif len(outgoing[-1]) >= LARGE:
            transport.writelines(outgoing)
        else:
            transport.write(b"".join(outgoing))

    def close_when_sent(self) -> None:
        """Close once what is kept has gone out with this turn; the loop then sends the rest."""
        if self._outgoing is None:
            self.transport.close()
        else:
            self.ending = True

    def descriptor(self) -> int:
        """For ``pass_on``; -1 when what is written to it would not be what the peer reads (TLS)."""
        sock = self.transport.get_extra_info("socket")
        secure = self.transport.get_extra_info("ssl_object") is not None
        return -1 if sock is None or secure else int(sock.fileno())

    def pass_on(self, data: memoryview, descriptor: int) -> None:
        """At once, and uncopied if the peer takes it, unless something is kept. For a tunnel: what
        it says it says for itself, so that to wait for the end of the turn would wake nobody less,
        and the event loop's own way of writing is a fifth of what an echo costs us."""
        transport = self.transport
        if self._outgoing is not None:
            self.write(bytes(data))
        elif not transport.is_closing():
            sent = 0
            if descriptor >= 0 and not transport.get_write_buffer_size():
                try:
                    sent = write(descriptor, data)
                except OSError:  # full or broken: the event loop finds out which
                    sent = 0
                if sent == len(data):
                    return
            transport.write(bytes(data[sent:]))
