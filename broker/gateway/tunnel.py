"""After a server's 101: a WebSocket, byte for byte, until either side ends it.

No frame is read, injected or changed. A dead peer is found by TCP keep-alive and
TCP_USER_TIMEOUT, an idle tunnel by its bytes; its age is bounded, with jitter, so that not all
reconnect at once. Only bytes from the *browser* are activity: a forgotten tab with a live feed
keeps no seat.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from broker.gateway.browser import PRESSURE

if TYPE_CHECKING:
    import asyncio

    from broker.errors import ProtocolViolation
    from broker.gateway.browser import BrowserConnection
    from broker.gateway.relay import Exchange
    from broker.gateway.upstream import ServerConnection

KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 120_000),
)


class Tunnel:
    """Takes over both connections of an exchange; the exchange keeps what must be released."""

    __slots__ = ("_active", "_browser", "_browser_descriptor", "_clock", "_exchange", "_last_byte",
                 "_oldest", "_server", "_server_descriptor")  # fmt: skip

    def __init__(self, exchange: Exchange, oldest: float) -> None:
        """``oldest``: the moment at which the tunnel is closed whatever happens on it."""
        assert exchange.connection is not None
        self._exchange = exchange
        self._browser: BrowserConnection = exchange.browser
        self._server: ServerConnection | None = exchange.connection
        self._clock = exchange.ground.clock
        self._active = exchange.person if exchange.activity else None
        self._browser_descriptor = exchange.browser.descriptor()
        self._server_descriptor = exchange.connection.descriptor()
        self._oldest = oldest
        self._last_byte = self._clock()

    def start(self) -> None:
        exchange, server = self._exchange, self._server
        assert server is not None
        assert exchange.pool is not None
        server.party = self
        self._browser.party = self
        if exchange.session is not None:
            # In the exchange's place: whoever closes the streams must find the tunnel alone.
            exchange.session.streams.discard(exchange)
            exchange.session.streams.add(self)
        exchange.pool.traffic.tunnels += 1
        watch_peer(self._browser.transport)
        server.due = float("inf")
        if self._browser.is_full:  # of an earlier answer: the loop does not tell it again
            self.browser_full()
        else:
            self._watch()
        self._browser.become_tunnel()
        if self._browser.was_half_closed:  # the loop told it before there was a tunnel
            self.half_closed()

    def _watch(self) -> None:
        assert self._exchange.pool is not None
        idle = self._last_byte + self._exchange.pool.deadlines.tunnel_idle
        self._exchange.ground.deadlines.watch(self._browser, min(idle, self._oldest))

    @property
    def exchange(self) -> Exchange:
        return self._exchange

    # --- bytes

    def body(self, piece: bytes, last: bool) -> None:
        """What the browser sent before it could know of the tunnel."""
        self.passed(memoryview(piece))

    def passed(self, piece: memoryview) -> None:
        """From the browser."""
        self._exchange.received += len(piece)
        self._last_byte = now = self._clock()
        if self._active is not None:
            self._active.last_active = now
        server = self._server
        if server is not None and not server.closed:
            server.pass_on(piece, self._server_descriptor)

    def server_data(self, data: memoryview) -> None:
        self._exchange.sent += len(data)
        self._last_byte = self._clock()
        self._browser.pass_on(data, self._browser_descriptor)

    def browser_full(self) -> None:
        if self._server is not None:
            self._server.hold_reading()

    def browser_drained(self) -> None:
        if self._server is not None:
            self._server.let_read()
        self._watch()

    def server_full(self) -> None:
        self._browser.stop_reading(PRESSURE)

    def server_drained(self) -> None:
        self._browser.let_read(PRESSURE)

    # --- ends

    def browser_late(self, now: float) -> None:
        assert self._exchange.pool is not None
        if now >= self._oldest:
            self._end("tunnel_age")
        elif now - self._last_byte >= self._exchange.pool.deadlines.tunnel_idle:
            self._end("tunnel_idle")
        else:
            self._watch()

    def server_late(self, now: float) -> None:
        """Has no deadline of its own: bytes either way count for the tunnel."""
        if self._server is not None:
            self._server.due = float("inf")

    def half_closed(self) -> bool:
        """Both ends are told now: the loop closes the browser's once it has taken what waits for
        it, which may be never."""
        self._close_server()
        self._end("ok", flush=True)
        return False

    def browser_gone(self) -> None:
        self._close_server()
        self._end("ok")

    def server_ended(self) -> None:
        self._close_server()
        self._end("ok", flush=True)

    def _close_server(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()  # what the browser said last still goes out

    def server_gone(self, error: Exception | None) -> None:
        self._server = None
        self._end("ok" if error is None else "backend_gone", flush=error is None)

    def revoke(self) -> None:
        self._end("revoked")

    def body_broken(self, error: ProtocolViolation) -> None:
        """Cannot be: a tunnel has no chunks."""

    def body_slow(self) -> None:
        """Cannot be: a tunnel has no minimum rate."""

    def _end(self, outcome: str, *, flush: bool = False) -> None:
        exchange = self._exchange
        if exchange.session is not None:
            exchange.session.streams.discard(self)
        browser = self._browser
        if browser.party is self:
            browser.party = None
            if flush:
                browser.close()
            else:
                browser.abort()
        server, self._server = self._server, None
        if server is not None:
            server.drop()
        exchange.connection = None
        if exchange.end_tunnel(outcome) and exchange.pool is not None:
            exchange.pool.traffic.tunnels -= 1


def watch_peer(transport: asyncio.Transport) -> None:
    """Let the kernel find out about a peer that is gone without a word (RFC 9293 3.8.4, 5482)."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, option, value in KEEPALIVE:
        sock.setsockopt(level, option, value)
