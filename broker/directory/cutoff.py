"""The hand that ends another thread's blocking socket calls.

A read timeout starts anew with every byte, so a server that drips one byte a second holds a thread
for ever. What bounds a whole exchange is this: every socket of the exchange is watched here, and at
the deadline (or when nobody wants the answer any more) all are shut down from outside; the blocked
call fails at once and the thread returns. Knows nothing of LDAP.
"""

from __future__ import annotations

import contextlib
import socket
import threading


class Cutoff:
    """For one thread at a time: ``renew`` before an exchange, ``cut`` from any other thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[socket.socket] = set()
        self._passed = False
        self._overdue = False

    @property
    def passed(self) -> bool:
        """True after ``cut``: nothing more is to be tried."""
        return self._passed

    @property
    def overdue(self) -> bool:
        """True when it was cut because time was up: most likely the server's doing."""
        return self._overdue

    def renew(self) -> None:
        with self._lock:
            self._passed = self._overdue = False

    def watch(self, sock: socket.socket) -> None:
        """Raises TimeoutError when the cut has been made already."""
        with self._lock:
            if self._passed:
                raise TimeoutError("the deadline has passed")
            self._watched.add(sock)

    def close(self, sock: socket.socket) -> None:
        """Close a socket and watch it no more. Under the same lock as ``cut``, which could
        otherwise shut down a stranger's socket that was just given the same descriptor."""
        with self._lock:
            self._watched.discard(sock)
            sock.close()

    def cut(self, *, overdue: bool) -> None:
        """Shut everything down. Not through SSLSocket.shutdown, which would take the TLS layer away
        under the thread that reads, and let it read or write in clear text."""
        with self._lock:
            self._passed = True
            self._overdue = overdue
            for sock in self._watched:
                with contextlib.suppress(OSError):  # never connected, or closed by the peer
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
