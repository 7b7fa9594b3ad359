"""The other side: what a worker, the portal and the admin process do with what they inherited.

Used by ``wiring`` in the child. It turns SIGTERM and the end of the supervisor into one event, and
SIGUSR1 into a call.

Why a lifeline and not PR_SET_PDEATHSIG: a pipe whose only write end the supervisor holds closes
however it dies, is seen by the event loop like any other input, and leads to the same drain as
SIGTERM. The death signal is tied to the *thread* that forked, can only be set between fork and exec
(code there is unsafe once threads exist, and rules out vfork) or too late, after a window in which
the parent may already be gone, and would need a signal handler all the same.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.supervisor.plan import ChildFds


class Child:
    """Made at the start of the child's event loop, before anything slow.

    ``sockets``: for each address of the plan, by its index, the listening sockets (non-blocking).
    ``stop`` is set when the process is to drain and end; ``why`` then says who asked.
    """

    def __init__(self, fds: ChildFds, reopen: Callable[[], None]) -> None:
        self.sockets: dict[int, list[socket.socket]] = {}
        for index, descriptor in fds.sockets:
            inherited = socket.socket(fileno=descriptor)
            inherited.setblocking(False)
            self.sockets.setdefault(index, []).append(inherited)
        self.stop = asyncio.Event()
        self.why = ""
        self._lifeline = fds.lifeline
        self._ready = fds.ready
        os.set_blocking(self._lifeline, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._lifeline, self._on_lifeline)
        loop.add_signal_handler(signal.SIGTERM, self._stop, "asked to stop")
        loop.add_signal_handler(signal.SIGINT, self._stop, "interrupted")
        loop.add_signal_handler(signal.SIGUSR1, reopen)
        # A reload comes over the control socket; the default action here would be to die.
        loop.add_signal_handler(signal.SIGHUP, lambda: None)

    def ready(self) -> None:
        """Tell the supervisor that this process serves. Once."""
        if self._ready >= 0:
            try:
                os.write(self._ready, b"ready\n")
            except BrokenPipeError:
                pass  # the supervisor died meanwhile: the lifeline tells
            finally:
                os.close(self._ready)
                self._ready = -1

    def stop_accepting(self) -> None:
        """Close this process's side of the listening sockets."""
        for group in self.sockets.values():
            for listening in group:
                listening.close()

    def _on_lifeline(self) -> None:
        if os.read(self._lifeline, 1) == b"":
            asyncio.get_running_loop().remove_reader(self._lifeline)
            self._stop("the supervisor is gone")

    def _stop(self, why: str) -> None:
        if not self.stop.is_set():
            self.why = why
            self.stop.set()
