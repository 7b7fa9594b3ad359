"""One child of the supervisor through all its lives: spawned, watched, started again, ended.

A slot keeps its listening sockets and its number for good; each life has a new process and, for a
worker, a new incarnation. It knows nothing of the ledger: it calls ``on_death`` with the
incarnation after the kernel said that the process is gone (waitpid), never before.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Any

from broker.supervisor.plan import ChildFds
from broker.supervisor.sockets import close_descriptor

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from broker.supervisor.plan import Kind, SupervisorPlan

    Command = Callable[[Kind, int, str, ChildFds], Sequence[str]]

_log = logging.getLogger(__name__)
_NOT_STARTED = 127  # as a shell says it

# uvloop gives each TLS connection a buffer of 256 KiB, of which it uses a page or two. glibc hands
# such blocks out from untouched memory until the first of them is freed; from then on from its
# heap, where what others left behind is resident: 46 KiB a connection instead of 24. A threshold
# that is set stays where it is. The environment of the broker itself may say otherwise.
_SURROUNDINGS = {"MALLOC_MMAP_THRESHOLD_": "131072"}


class Slot:
    """``listeners``: (index of the address, socket). ``command`` makes the argument list of a life.
    ``clock``: monotonic seconds; ``civil``: seconds since 1970, for display only.
    """

    def __init__(
        self,
        kind: Kind,
        number: int,
        listeners: Sequence[tuple[int, socket.socket]],
        plan: SupervisorPlan,
        command: Command,
        new_incarnation: Callable[[], str],
        on_change: Callable[[], None],
        on_death: Callable[[str], None],
        clock: Callable[[], float],
        civil: Callable[[], float],
    ) -> None:
        self.kind = kind
        self.number = number
        self.name = f"worker-{number}" if kind == "worker" else kind
        self.restarts = 0
        self.ready = False
        self.failed: int | None = None
        """Exit code of a first life that gave up by itself before it was ever ready."""
        self._ever_ready = False
        self._listeners = listeners
        self._plan = plan
        self._command = command
        self._new_incarnation = new_incarnation
        self._on_change = on_change
        self._on_death = on_death
        self._clock = clock
        self._civil = civil
        self._process: asyncio.subprocess.Process | None = None
        self._incarnation = ""
        self._started = 0.0
        self._ending = asyncio.Event()
        self._reopen_when_ready = False

    async def run(self) -> None:
        """Keep one process alive until ``end`` was called; returns when it is gone."""
        early_deaths = 0
        while not self._ending.is_set():
            born = self._clock()
            code = await self._one_life()
            if self._ending.is_set():
                return
            if code > 0 and not self._ever_ready:
                self.failed = code
                self._on_change()
                return
            early_deaths = 0 if self._clock() - born >= self._plan.settled else early_deaths + 1
            delay = restart_delay(early_deaths, self._plan.backoff, self._plan.backoff_most)
            _log.warning("%s ended (%s); starting it again in %g s", self.name, how(code), delay)
            self.restarts += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay)

    def end(self) -> None:
        """Ask the process to drain and end, and start no other."""
        self._ending.set()
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it now."""
        self._ending.set()
        self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    def reopen(self) -> None:
        """Tell it to reopen its log. A process still starting has no handler yet, and the signal
        would kill it: it is told when it is ready."""
        if self.ready:
            self.signal(signal.SIGUSR1)
        else:
            self._reopen_when_ready = True

    def state(self) -> dict[str, Any]:
        """For people and for the admin process. ``started``: civil time."""
        process = self._process
        return {
            "name": self.name,
            "kind": self.kind,
            "slot": self.number,
            "pid": process.pid if process is not None and process.returncode is None else None,
            "incarnation": self._incarnation,
            "started": self._started,
            "restarts": self.restarts,
            "ready": self.ready,
        }

    async def _one_life(self) -> int:
        """Spawn, wait, clean up. Returns the exit code, negative for the signal that ended it."""
        self._incarnation = self._new_incarnation()
        lifeline, lifeline_held = os.pipe()
        ready, ready_given = os.pipe()
        os.set_blocking(ready, False)
        sockets = tuple((index, one.fileno()) for index, one in self._listeners)
        fds = ChildFds(sockets, lifeline, ready_given)
        loop = asyncio.get_running_loop()
        try:
            self._started = self._civil()
            try:
                process = await asyncio.create_subprocess_exec(
                    *self._command(self.kind, self.number, self._incarnation, fds),
                    stdin=asyncio.subprocess.DEVNULL,
                    env={**_SURROUNDINGS, **os.environ},
                    pass_fds=fds.all(),
                    # Its own session: Ctrl-C in a terminal reaches the supervisor alone, which
                    # then ends its children in good order.
                    start_new_session=True,
                )
            except OSError as error:  # no such program, no process or memory left: try again
                _log.error("%s could not be started: %s", self.name, error)
                return _NOT_STARTED
            finally:
                os.close(lifeline)
                os.close(ready_given)
            self._process = process
            try:
                if self._ending.is_set():
                    self.signal(signal.SIGTERM)
                loop.add_reader(ready, self._on_ready, ready)
                code = await process.wait()
            finally:
                if process.returncode is None:  # we are being cancelled: leave nobody behind
                    self.signal(signal.SIGKILL)
                    await asyncio.shield(process.wait())
        finally:
            loop.remove_reader(ready)
            close_descriptor(ready)
            close_descriptor(lifeline_held)
            self.ready = False
        self._on_death(self._incarnation)
        return code

    def _on_ready(self, descriptor: int) -> None:
        told = os.read(descriptor, 64)
        asyncio.get_running_loop().remove_reader(descriptor)
        if told:
            self.ready = self._ever_ready = True
            if self._reopen_when_ready:
                self._reopen_when_ready = False
                self.signal(signal.SIGUSR1)
            self._on_change()


def restart_delay(early_deaths: int, backoff: float, most: float) -> float:
    """Seconds before the next life after this many early deaths in a row: the first restart is
    immediate (a crash is most often a single one), then ``backoff``, doubling."""
    if early_deaths <= 1:
        return 0.0
    return min(most, backoff * 2.0 ** min(early_deaths - 2, 30))


def how(code: int) -> str:
    """How a process ended, in words."""
    if code >= 0:
        return f"exit {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
