"""The browser's end of a connection: bytes in, heads and bodies out to an exchange; and back.

It cuts the stream into heads and bodies, keeps the browser to its deadlines, and answers pipelined
requests in order by not reading on while an exchange is in flight. It decides nothing about a
request: that is ``journey``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, Protocol, cast

from broker.errors import ProtocolViolation
from broker.gateway.chunks import ChunkReader
from broker.gateway.deadlines import NEVER, NO_SLOT
from broker.gateway.doorstep import Place, plain_address
from broker.gateway.forwarded import is_trusted
from broker.gateway.ground import BUFFER, REST
from broker.gateway.http1 import broken_newline
from broker.gateway.outbox import Connection

if TYPE_CHECKING:
    from broker.gateway.ground import Ground
    from broker.gateway.http1 import Fields, RequestHead
    from broker.gateway.plan import ListenerPlan
    from broker.gateway.relay import Exchange

# Phases: what the next bytes from the browser are.
HEAD, LENGTH, CHUNKED, QUIET, TUNNEL, DISCARD, CLOSED = range(7)

# Reasons not to read from the browser at present; reading goes on when none is left.
PIPELINED: Final = 1
PRESSURE: Final = 2
EARLY: Final = 4
UNREAD: Final = 8  # answers: the next requests wait until they are taken


class BrowserParty(Protocol):
    """Whose bytes the browser's are: an exchange, then perhaps a tunnel."""

    def body(self, piece: bytes, last: bool) -> None: ...

    def passed(self, piece: memoryview) -> None:
        """Bytes of a tunnel, good only during the call."""
        ...

    def body_broken(self, error: ProtocolViolation) -> None: ...

    def body_slow(self) -> None: ...

    def browser_gone(self) -> None: ...

    def browser_full(self) -> None: ...

    def browser_drained(self) -> None: ...

    def browser_late(self, now: float) -> None: ...

    def half_closed(self) -> bool:
        """The browser has ended its side. True to go on with the answer."""
        ...

    @property
    def exchange(self) -> Exchange: ...


class Doorway(Protocol):
    """What happens to a head that was read, or could not be."""

    def begin(self, browser: BrowserConnection, head: RequestHead) -> None: ...

    def broken(
        self, browser: BrowserConnection, error: ProtocolViolation, method: bytes
    ) -> None: ...


class BrowserConnection(Connection):
    """One connection from a browser."""

    __slots__ = ("_chunks", "_doorway", "_early", "_fields", "_full", "_left", "_pending", "_place",
                 "_stopped", "_taken", "_taking_since", "_tls", "address", "behind_proxy",
                 "browsers", "due", "forwarded", "listener", "party", "peer", "phase", "slot",
                 "was_half_closed")  # fmt: skip

    def __init__(
        self,
        ground: Ground,
        doorway: Doorway,
        listener: ListenerPlan,
        browsers: set[BrowserConnection],
        place: Place | None = None,
    ) -> None:
        super().__init__(ground)
        self._place = place
        self._doorway = doorway
        self.listener = listener
        self.browsers = browsers
        self.party: BrowserParty | None = None
        self.phase = HEAD
        self.due = 0.0
        self.slot = NO_SLOT
        self.peer = ""  # the socket's; ``address`` is the client's, who may stand behind a proxy
        self.address = ""
        self.forwarded = b""
        self.behind_proxy = False
        self.was_half_closed = False
        self._pending: bytearray | None = None
        self._fields: Fields | None = None
        self._early = False
        self._stopped = 0
        self._tls = False
        self._full = False
        self._left = 0
        self._chunks: ChunkReader | None = None
        self._taken = 0
        self._taking_since = 0.0

    # --- the event loop's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        ground = self.ground
        self.browsers.add(self)
        ground.traffic.client_connections += 1
        # A place knows better than the socket: the PROXY protocol may have named somebody else.
        place = self._place
        peer = transport.get_extra_info("peername")
        self.peer = plain_address(peer) if place is None else place.address
        self.speak_for(self.peer)
        trusted = self.listener.trusted_proxies
        self.behind_proxy = bool(trusted) and is_trusted(self.peer, trusted)
        # What has a place comes from a doorstep, through which alone TLS comes.
        self._tls = place is not None and transport.get_extra_info("ssl_object") is not None
        self.keep_little()
        if self._place is None:
            self._place = ground.place(self.peer)
        if self._place is None or ground.draining:
            self.phase = CLOSED
            self.transport.abort()
            return
        ground.deadlines.watch(self, ground.clock() + ground.door.head_timeout)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.ground.view

    def buffer_updated(self, nbytes: int) -> None:
        piece = self.ground.view[:nbytes]
        phase = self.phase
        if phase == HEAD and self._pending is None:
            self._read_head(piece.tobytes())
        elif phase == TUNNEL:
            if self.party is not None:
                self.party.passed(piece)
        else:
            self._take(phase, piece.tobytes())

    def eof_received(self) -> bool:
        self.was_half_closed = True
        if self.phase == QUIET and self.party is not None and not self._tls:
            return self.party.half_closed()
        self.flush()  # an answer given in this turn still goes out before the loop closes
        if self.phase == TUNNEL and self.party is not None:
            self.party.half_closed()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.phase = CLOSED
        ground = self.ground
        ground.deadlines.forget(self)
        self.browsers.discard(self)
        if not self.browsers:
            ground.emptied.set()
        ground.traffic.client_connections -= 1
        if self._place is not None:
            self._place.leave()
        self._pending = None
        party, self.party = self.party, None
        if party is not None:
            party.browser_gone()

    def pause_writing(self) -> None:
        self._full = True
        if self.phase != CLOSED:
            self.ground.deadlines.watch(self, self.ground.clock() + self.ground.door.stall_timeout)
        if self.party is not None:
            self.party.browser_full()

    def resume_writing(self) -> None:
        self._full = False
        ground = self.ground
        if self.phase in (QUIET, TUNNEL):
            self.due = NEVER
        elif self.phase == HEAD:
            rest = ground.rest if self._pending is None else ground.door.head_timeout
            ground.deadlines.watch(self, ground.clock() + rest)
            if self._stopped & UNREAD:
                self.let_read(UNREAD)
                asyncio.get_running_loop().call_soon(self._go_on)
        elif self.phase == DISCARD:
            ground.deadlines.watch(self, ground.clock() + ground.door.discard_timeout)
        if self.party is not None:
            self.party.browser_drained()

    def expire(self, now: float) -> None:
        """A deadline of the browser's has passed."""
        if self._full or self.phase in (DISCARD, CLOSED):
            self.abort()
        elif self.phase == HEAD and self._pending is not None:
            error = ProtocolViolation("the head did not arrive in time", 408)
            self.refuse(error, self._pending)
        elif self.phase == HEAD and self._fields is not None and self.ground.rest == REST:
            self._fields = None  # idle for a while: what was kept for the next request goes
            self.ground.deadlines.watch(self, now + self.ground.door.keep_alive - REST)
        elif self.phase == HEAD:
            self.close()
        elif self.phase in (LENGTH, CHUNKED):
            self._check_rate(now)
        elif self.party is not None:
            self.party.browser_late(now)

    # --- heads

    def _read_head(self, data: bytes) -> None:
        if data[:2] == b"\r\n" and not self._early:
            data = data[2:]  # RFC 9112 2.2: one empty line before a request line is forgiven
            self._early = True
            if not data:
                return
        known = self._fields
        if known is not None and data.endswith(known.tail):
            again = self.ground.reader.again(data, known)
            if again is not None and not known.framed:
                if not self._full:  # ``_watch``, where every request passes
                    self.due = NEVER
                self._early = False
                self.phase = QUIET
                self._doorway.begin(self, again)
                return
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._unfinished(data)
            return
        try:
            if end > self.ground.door.head_limit:
                raise ProtocolViolation("the head is too large", 431)
            # Who stands behind a proxy is found out from the fields and the peer, not shared.
            known = self._fields
            first = known is None and not self.behind_proxy
            head = self.ground.reader.request(data[:end], known, first=first)
        except ProtocolViolation as error:
            self.refuse(error, data)
            return
        self._early = False
        self._watch(NEVER)
        rest = data[end + 4 :]
        self._fields = fields = head.fields
        if not fields.length and not fields.chunked:
            self.phase = QUIET
            if rest:
                self._stash(rest)
            self._doorway.begin(self, head)
            return
        self._begin_body(fields)
        self._doorway.begin(self, head)
        if rest and self.phase in (LENGTH, CHUNKED, DISCARD):
            self._take(self.phase, rest)

    def _unfinished(self, data: bytes | bytearray, start: int = 0) -> None:
        """Part of a head: kept, unless it can no longer become one. What stands before ``start``
        has been looked at: a head may come a byte at a time."""
        door = self.ground.door
        error: ProtocolViolation | None = None
        early = not self._early and data == b"\r"  # of the empty line that is forgiven
        if broken_newline(data, start) or not (65 <= data[0] <= 90 or early):
            error = ProtocolViolation("not HTTP (RFC 9112 2.2)")
        elif len(data) > door.request_line_limit and not (
            0 < data.find(b"\r\n") <= door.request_line_limit
        ):
            error = ProtocolViolation("the request line is too long", 414)
        elif len(data) > door.head_limit:
            error = ProtocolViolation("the head is too large", 431)
        if error is not None:
            self.refuse(error, data)
            return
        if self._pending is None:
            self._watch(self.ground.clock() + door.head_timeout)
            self._pending = bytearray(data)

    def refuse(self, error: ProtocolViolation, data: bytes | bytearray) -> None:
        """The stream cannot be understood from ``data`` on: one answer, then the end."""
        method = b"HEAD" if data.startswith(b"HEAD ") else b"-"
        self._pending = None
        self.phase = QUIET
        self._doorway.broken(self, error, method)

    # --- everything that is not a whole head in one piece

    def _take(self, phase: int, data: bytes) -> None:
        if phase == LENGTH:
            self._taken += len(data)
            left = self._left - len(data)
            if left > 0:
                self._left = left
                self._give(data, last=False)
                return
            body = data if not left else data[: self._left]
            rest = b"" if not left else data[self._left :]
            self._end_body(rest)
            self._give(body, last=True)
        elif phase == CHUNKED:
            self._taken += len(data)
            assert self._chunks is not None
            try:
                body, after = self._chunks.feed(data)
            except ProtocolViolation as error:
                self._chunks = None
                self.phase = QUIET
                if self.party is not None:
                    self.party.body_broken(error)
                return
            if after is not None:
                self._end_body(after)
            if body or after is not None:
                self._give(body, last=after is not None)
        elif phase == HEAD:
            self._more_head(data)
        elif phase == QUIET:
            self._stash(data)
        elif phase == DISCARD:
            self._left -= len(data)
            if self._left <= 0:
                self.close()

    def _more_head(self, data: bytes) -> None:
        """A head in pieces: searched only where it has grown."""
        pending = self._pending
        assert pending is not None
        start = max(len(pending) - 3, 0)
        pending += data
        if pending[:1] == b"\r":  # of an empty line that was cut in two
            self._pending = None
            self._read_head(bytes(pending))
            return
        if self._stopped & PIPELINED:  # a whole head may be in it already: ``_go_on`` looks
            return
        if pending.find(b"\r\n\r\n", start) < 0:
            self._unfinished(pending, start)
            return
        self._pending = None
        self._read_head(bytes(pending))

    def _stash(self, data: bytes) -> None:
        """Pipelined: kept until the exchange in flight has ended; nothing more is read."""
        if self._pending is None:
            self._pending = bytearray(data)
        else:
            self._pending += data
        self.stop_reading(PIPELINED)

    def _begin_body(self, fields: Fields) -> None:
        now = self.ground.clock()
        self._taken = 0
        self._taking_since = now
        self._watch(now + self.ground.door.head_timeout)
        if fields.chunked:
            self.phase = CHUNKED
            self._chunks = ChunkReader()
        else:
            assert fields.length is not None
            self.phase = LENGTH
            self._left = fields.length

    def _end_body(self, rest: bytes) -> None:
        self.phase = QUIET
        self._chunks = None
        self._watch(NEVER)
        if rest:
            self._stash(rest)

    def _watch(self, due: float) -> None:
        """The deadline of what begins now; a browser that does not take what it was sent keeps its
        stall deadline, whatever begins meanwhile."""
        if not self._full:
            self.ground.deadlines.watch(self, due)

    def _give(self, piece: bytes, *, last: bool) -> None:
        if self.party is not None:
            self.party.body(piece, last)

    def _check_rate(self, now: float) -> None:
        """The body's minimum rate since the last look: who sent much at first has no credit to
        hang on with. While we do not read, it is not the browser's."""
        timeout = self.ground.door.head_timeout
        wanted = (now - self._taking_since) * self.ground.door.body_minimum_rate
        if self._taken < wanted and not self._stopped:
            if self.party is not None:
                self.party.body_slow()
            return
        self._taking_since, self._taken = now, 0
        self.ground.deadlines.watch(self, now + timeout)

    # --- the party's side

    def speak_for(self, address: str) -> None:
        """Whose requests these are from here on; empty for a Unix socket's peer."""
        self.address = address
        self.forwarded = b"X-Forwarded-For: %b\r\n" % address.encode("ascii") if address else b""

    def stop_reading(self, reason: int) -> None:
        if not self._stopped and self.phase != CLOSED:
            self.transport.pause_reading()
        self._stopped |= reason

    def let_read(self, reason: int) -> None:
        if self._stopped & reason:
            self._stopped &= ~reason
            if not self._stopped and self.phase != CLOSED:
                self.transport.resume_reading()

    @property
    def is_full(self) -> bool:
        """Whether the browser does not take what it was sent."""
        return self._full

    @property
    def is_held(self) -> bool:
        """Whether we are the ones who do not read."""
        return bool(self._stopped)

    def become_tunnel(self) -> None:
        """From here on the browser's bytes go to the party as they come."""
        self.phase = TUNNEL
        early, self._pending = self._pending, None
        if early:
            self._give(bytes(early), last=False)
        self.let_read(PIPELINED)

    def finished(self, reusable: bool, body_done: bool, now: float) -> None:
        """The exchange has ended and everything for the browser is written."""
        self.party = None
        if self.phase == CLOSED:
            return
        unread = self._stopped & PIPELINED and not self.was_half_closed
        if not body_done or (unread and not reusable):
            self._discard()
            return
        if not reusable or self.was_half_closed:
            self.close()
            return
        self.phase = HEAD
        ground = self.ground
        if self._stopped:
            self.let_read(PRESSURE | EARLY)
        if self._pending is None:
            if not self._full:
                ground.deadlines.watch(self, now + ground.rest)
            elif self._is_piled:
                self.stop_reading(UNREAD)
        else:
            self._watch(now + ground.door.head_timeout)
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        """The next of several pipelined requests."""
        if self.phase != HEAD or self._pending is None:
            return
        if self._is_piled:
            self.stop_reading(UNREAD)
            return
        pending, self._pending = self._pending, None
        self._read_head(bytes(pending))
        if not self._pending_request:
            self.let_read(PIPELINED)

    @property
    def _is_piled(self) -> bool:
        """Whether answers wait for this browser that it does not take: requests may be a tenth of
        their size, and whoever sends them need not be logged in."""
        return self._full and self.transport.get_write_buffer_size() >= BUFFER

    @property
    def _pending_request(self) -> bool:
        """Whether what is kept is for after the exchange in flight, not part of the next head."""
        return self._pending is not None and self.phase != HEAD

    def _discard(self) -> None:
        """Answered before the body was here, or with more requests behind it that will not be
        served. To close with bytes unread would reset the connection under the answer (RFC 9112
        9.6), so a little is read and thrown away first."""
        self.phase = DISCARD
        self._chunks = None
        self._left = self.ground.door.discard_limit
        self._pending = None
        self.let_read(PIPELINED | PRESSURE | EARLY)
        self.flush()
        self._watch(self.ground.clock() + self.ground.door.discard_timeout)
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def drain(self) -> None:
        """Close now if nothing is in flight; else at the end of the exchange."""
        if self.phase == HEAD and self.party is None:
            self.close()

    def close(self) -> None:
        """Close after everything written has gone out, within the stall deadline."""
        if self.phase != CLOSED:
            self.phase = CLOSED
            self._pending = None
            self.ground.deadlines.watch(self, self.ground.clock() + self.ground.door.stall_timeout)
            self._full = True
            self.close_when_sent()

    def abort(self, *, reset: bool = False) -> None:
        """Close at once. ``reset``: so that an end cannot be taken for a clean one."""
        self.phase = CLOSED
        self.flush()
        if reset:
            sock = self.transport.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
