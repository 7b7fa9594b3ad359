"""Where connections wait before they are browsers: counted by address and, for TLS, greeted.

A plain connection is counted when the event loop hands it over, which is when it is accepted. With
TLS the loop hands over only what has finished its handshake; whoever never begins one would hold
its descriptor uncounted until the deadline. So TLS listeners accept here: count first, refuse what
is over the limit without a byte, then let the loop speak TLS. So do listeners that speak the PROXY
protocol, whose header comes in clear before anything else.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.errors import ProtocolViolation
from broker.gateway.forwarded import is_trusted
from broker.gateway.proxy_protocol import ProxyHeader

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from broker.gateway.ground import Ground

BATCH: Final = 64
"""Connections accepted in one turn of the loop, so that a crowd does not stop everybody else."""
PAUSE: Final = 0.25
"""Seconds without accepting after the process or the system ran out of descriptors or memory."""
EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""What says that this process or its system has nothing left, not that a peer failed."""

_log = logging.getLogger(__name__)


class Place:
    """One connection's place among those of its address. Leaving twice changes nothing."""

    __slots__ = ("_among", "_taken", "address")

    def __init__(self, taken: dict[str, int], address: str, among: str = "") -> None:
        """``among``: what ``counted_as`` says of ``address``, if that is known."""
        self._taken: dict[str, int] | None = taken
        self.address = address
        self._among = among = among or counted_as(address)
        taken[among] = taken.get(among, 0) + 1

    def leave(self) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        left = taken[self._among] - 1
        if left:
            taken[self._among] = left
        else:
            del taken[self._among]

    def move(self, address: str) -> None:
        """Count for another address from here on."""
        taken = self._taken
        if taken is not None:
            self.leave()
            self._taken = taken
            self.address = address
            self._among = among = counted_as(address)
            taken[among] = taken.get(among, 0) + 1


def counted_as(address: str) -> str:
    """What an address is counted by: of IPv6 the /64, for every host has all of one (RFC 4291
    2.5.4, RFC 7934 3)."""
    if ":" not in address:
        return address
    whole = ipaddress.IPv6Address(address.partition("%")[0])
    return str(ipaddress.IPv6Network((int(whole) >> 64 << 64, 64)))


def plain_address(peer: object) -> str:
    """The address of a socket's peer as text, IPv4 as IPv4; empty for a Unix socket."""
    if isinstance(peer, tuple) and peer:
        return str(peer[0]).removeprefix("::ffff:")
    return ""


class Doorstep:
    """One such listener, without TLS when ``context`` is None: ``open`` once, ``stop`` once.
    ``senders``: the only peers, who speak the PROXY protocol; empty when nobody does. ``factory``
    makes the protocol of a connection that has its place; the protocol leaves it when the
    connection is lost."""

    def __init__(
        self,
        ground: Ground,
        sock: socket.socket,
        context: ssl.SSLContext | None,
        factory: Callable[[Place], asyncio.BufferedProtocol],
        *,
        backlog: int,
        senders: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._ground = ground
        self._socket = sock
        self._context = context
        self.factory = factory
        self._backlog = backlog
        self._senders = senders
        self._loop = asyncio.get_running_loop()
        self._shaking: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def open(self) -> None:
        self._socket.setblocking(False)
        self._socket.listen(self._backlog)
        self._loop.add_reader(self._socket, self._accept)

    def stop(self) -> None:
        """Accept no more; who has not finished the handshake has asked for nothing yet."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()
        for task in self._shaking:
            task.cancel()

    async def stopped(self) -> None:
        """Wait until nothing of this listener's is left on the loop."""
        await asyncio.gather(*self._shaking, return_exceptions=True)

    def _accept(self) -> None:
        ground = self._ground
        for _ in range(BATCH):
            try:
                sock, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    continue  # that connection is gone already: accept(2), "Error handling"
                self._rest(error)
                return
            address = plain_address(peer)
            if self._senders and not is_trusted(address, self._senders):
                sock.close()
                continue
            # A balancer's connections are its clients' own, once their header is here; until then
            # they are nobody's, or a few slow clients would take its places from all the others.
            place = ground.place("" if self._senders else address)
            if place is None:
                sock.close()
                continue
            sock.setblocking(False)
            task = self._loop.create_task(self._shake_hands(sock, place, address))
            self._shaking.add(task)
            task.add_done_callback(partial(self._shaken, sock, place, address))

    def _rest(self, error: OSError) -> None:
        """The listener stays readable: without a pause the loop would do nothing else."""
        _log.error("no connection can be accepted for %s s: %s", PAUSE, error.strerror)
        self._loop.remove_reader(self._socket)
        self._pause = self._loop.call_later(
            PAUSE, self._loop.add_reader, self._socket, self._accept
        )

    async def _shake_hands(self, sock: socket.socket, place: Place, peer: str) -> None:
        timeout = self._ground.door.head_timeout
        if self._senders:
            async with asyncio.timeout(timeout):
                await self._learn_client(sock, place, peer)
        if self._context is None:
            await self._loop.connect_accepted_socket(lambda: self.factory(place), sock)
            return
        handshakes = self._ground.traffic.handshakes
        try:
            transport, _ = await self._loop.connect_accepted_socket(
                lambda: self.factory(place), sock, ssl=self._context, ssl_handshake_timeout=timeout
            )
        except OSError:
            handshakes["failed"] += 1
            raise
        spoken = transport.get_extra_info("ssl_object")
        handshakes["resumed" if spoken.session_reused else "full"] += 1

    async def _learn_client(self, sock: socket.socket, place: Place, peer: str) -> None:
        """Read the PROXY header and nothing after it; without a client in it the connection is the
        balancer's (``peer``). Raises ProtocolViolation for another start, ConnectionError when the
        balancer leaves or the client has all of its places."""
        header = ProxyHeader()
        while header.wanted:
            piece = await self._loop.sock_recv(sock, header.wanted)
            if not piece:
                raise ConnectionResetError("ended before its PROXY header")
            header.feed(piece)
        if not self._ground.move(place, header.source or peer):
            raise ConnectionRefusedError("the client has all of its places")

    def _shaken(
        self, sock: socket.socket, place: Place, peer: str, task: asyncio.Task[None]
    ) -> None:
        """Here and not in the task: one that is cancelled before its first step never runs."""
        self._shaking.discard(task)
        if task.cancelled():
            failure: BaseException | None = asyncio.CancelledError()
        else:
            failure = task.exception()
        if failure is None:
            return  # the protocol has the place, the event loop the socket
        place.leave()
        sock.close()
        if isinstance(failure, ProtocolViolation):
            _log.warning("%s is to speak the PROXY protocol: %s", peer, failure)
        elif not isinstance(failure, OSError | asyncio.CancelledError):
            # ssl.SSLError, a reset and the handshake's deadline are OSErrors, and a stranger's.
            _log.error("a TLS handshake failed", exc_info=failure)
