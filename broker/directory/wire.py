"""One TCP connection to a directory server, as ldap3 wants a socket, with our limits around it.

Dials every address of the host in turn, adds TLS (always with verification and host name check),
bounds the size of an answer, and can say whether the other side has hung up meanwhile. All sockets
are watched by a ``Cutoff``. Knows nothing of LDAP messages.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from typing import TYPE_CHECKING

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from broker.directory.cutoff import Cutoff
    from broker.directory.plan import DirectoryPlan, Server

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes one answer may have: thousands of groups, but no flood."""

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 10, 3


class Wire:
    """A connected socket; ldap3 calls ``recv``, ``sendall``, ``shutdown`` and ``close``."""

    def __init__(self, sock: socket.socket, cutoff: Cutoff) -> None:
        self._socket = sock
        self._cutoff = cutoff
        self._allowance = ANSWER_LIMIT
        self.silent = False
        """True once the server let a read time out."""

    def recv(self, size: int) -> bytes:
        try:
            data = self._socket.recv(size)
        except TimeoutError:
            self.silent = True
            raise
        self._allowance -= len(data)
        if self._allowance < 0:
            raise OSError(errno.EMSGSIZE, "the answer is larger than 4 MiB")
        return data

    def sendall(self, data: bytes) -> None:
        self._allowance = ANSWER_LIMIT
        self._socket.sendall(data)

    def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Turn it into TLS. Raises ssl.SSLError, OSError."""
        plain = self._socket
        try:
            self._socket = context.wrap_socket(
                plain, server_hostname=host, do_handshake_on_connect=False
            )
        finally:
            self._cutoff.close(plain)  # after success it is an empty shell
        self._cutoff.watch(self._socket)
        self._socket.do_handshake()

    def hung_up(self) -> bool:
        """True when something waits to be read on an idle connection: an end, or nonsense."""
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        self._cutoff.close(self._socket)


def dial(server: Server, plan: DirectoryPlan, cutoff: Cutoff) -> Wire:
    """Connect to the first address that answers. Raises OSError: the last address's problem."""
    problem: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        server.host, server.port, type=socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind, protocol)
        try:
            cutoff.watch(sock)
            sock.settimeout(plan.connect_timeout)
            sock.connect(address)
            _tune(sock, plan.receive_timeout)
        except OSError as error:
            cutoff.close(sock)
            problem = error
        else:
            return Wire(sock, cutoff)
    raise problem


def tls_context(plan: DirectoryPlan) -> ssl.SSLContext:
    """TLS with verification, host name check and a minimum version; the system's authorities when
    no CA file is named. Raises ConfigurationError when that cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion[f"TLSv{plan.tls_minimum.replace('.', '_')}"]
    if plan.ca is None:
        context.load_default_certs()
        return context
    try:
        context.load_verify_locations(cafile=plan.ca)
    except ssl.SSLError as error:
        raise ConfigurationError("directory.ca: this file holds no certificate") from error
    except OSError as error:
        raise ConfigurationError(f"directory.ca: {error.strerror}") from error
    return context


def _tune(sock: socket.socket, receive_timeout: float) -> None:
    """No delay for small messages; notice a peer that vanished without a word (half open)."""
    sock.settimeout(receive_timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(receive_timeout * 1000))
