"""The supervisor of one host: opens the public ports, starts the processes, brings them back.

It carries no traffic and does as little as possible, because what does little does not crash. It
starts N workers, one portal and one admin process; after the death of a worker it writes the
tombstone that brings the worker's grants home, and nothing else may write it: only the parent knows
from waitpid that the process is certainly gone. If it dies itself, its children see the end of
their lifeline, drain and end. It talks to its children by signals and descriptors; the ledger and
the control sockets come in as callables.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import BrokerError, ConfigurationError, Refused
from broker.supervisor import sockets
from broker.supervisor.plan import Opened
from broker.supervisor.slot import Slot, how
from broker.supervisor.tombstones import Tombstones
from broker.telemetry import names

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from broker.supervisor.plan import Kind, SupervisorPlan
    from broker.supervisor.slot import Command
    from broker.telemetry.exposition import Exposition

_log = logging.getLogger(__name__)
_OTHERS = ("portal", "admin")
_GRACE = 3.0  # seconds after ``stop_timeout``, for what follows the drain: leaving, flushing
_OTHERS_STOP = 5.0  # seconds for portal and admin, after the workers have drained
_LAST_TOMBSTONES = 2.0  # seconds for tombstones still unwritten when everything has ended


class Supervisor:
    """``command`` makes a child's argument list. ``tombstone(incarnation)`` writes it, or raises
    LedgerAway to be called again. ``reload`` checks and takes a new configuration, or raises
    BrokerError, and names what in it needs a restart; ``tell(name, action)`` then passes it on to
    each child. ``on_ready`` is called once when every child serves. ``clock`` is monotonic seconds,
    ``civil`` seconds since 1970.
    """

    def __init__(
        self,
        plan: SupervisorPlan,
        *,
        command: Command,
        tombstone: Callable[[str], Awaitable[bool]],
        reload: Callable[[], Awaitable[Sequence[str]]],
        tell: Callable[[str, str], Awaitable[None]],
        on_ready: Callable[[Opened], None],
        clock: Callable[[], float],
        civil: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._command = command
        self._tombstones = Tombstones(tombstone, clock)
        self._reload = reload
        self._needs_restart: tuple[str, ...] = ()
        self._tell = tell
        self._on_ready = on_ready
        self._clock = clock
        self._civil = civil
        self._boot = boot_id()
        self._slots: list[Slot] = []
        self._groups: list[list[list[socket.socket]]] = []
        self._opened = Opened((), ())
        self._announced = False
        self._changed = asyncio.Event()
        self._stop_asked_at: float | None = None
        self._reloading = asyncio.Lock()
        self._errands: asyncio.TaskGroup | None = None

    async def run(self) -> int:
        """Until stopped. Returns the exit code: 0, or 1 when a child gave up while starting.

        Raises ConfigurationError before any process is started: port in use, bad address. When
        cancelled it kills its children and waits for them.
        """
        sockets.raise_file_limit()
        try:
            self._open()
            with self._signals():
                # Outer group: tombstones and reloads, which outlive the processes a little.
                async with asyncio.TaskGroup() as self._errands:
                    async with asyncio.TaskGroup() as lives:
                        running = {lives.create_task(slot.run()): slot for slot in self._slots}
                        code = await self._watch()
                        await self._end(running)
                    self._tombstones.give_up_in(_LAST_TOMBSTONES)
        finally:
            self._close()
        return code

    def stop(self) -> None:
        """Drain and end; called again, a second later or more, kill. (Sooner it is the same Ctrl-C,
        which a terminal and a parent process may both have delivered.)"""
        now = self._clock()
        if self._stop_asked_at is None:
            self._stop_asked_at = now
            self._changed.set()
        elif now - self._stop_asked_at >= 1.0:
            _log.warning("told to stop again: ending at once")
            for slot in self._slots:
                slot.kill()

    async def reload(self) -> None:
        """Take a new configuration, then tell the children. Raises BrokerError when it was refused
        (everything stays as it was), or Refused when a child did not take it."""
        async with self._reloading:
            self._needs_restart = tuple(await self._reload())
            if self._needs_restart:
                _log.warning(
                    "reloaded; in force only after a restart: %s", ", ".join(self._needs_restart)
                )
            failed = []
            for slot in self._slots:
                if slot.ready:  # one that is starting reads the new file anyway
                    try:
                        await self._tell(slot.name, "reload")
                    except BrokerError as error:
                        failed.append(f"{slot.name}: {error.reason}")
            if failed:
                raise Refused(f"reloaded, but not everywhere: {'; '.join(failed)}")

    async def reopen(self) -> None:
        """Every process opens its log anew."""
        for slot in self._slots:
            slot.reopen()

    async def drain(self) -> None:
        """What SIGTERM does, for the control socket."""
        self.stop()

    def state(self) -> dict[str, Any]:
        """For people and for the admin process; all values are JSON."""
        return {
            "kind": "supervisor",
            "pid": os.getpid(),
            "host": self._plan.host,
            "ready": all(slot.ready for slot in self._slots),
            "stopping": self._stop_asked_at is not None,
            "public": self._opened.public,
            "admin": self._opened.admin,
            "children": [slot.state() for slot in self._slots],
            "needs_restart": list(self._needs_restart),
            "tombstones_waiting": sorted(self._tombstones.waiting),
        }

    def export(self, exposition: Exposition) -> None:
        exposition.expose(names.WORKERS_EXPECTED, lambda: {(): self._plan.workers})
        exposition.expose(names.WORKER_RESTARTS, self._restarts)

    def _restarts(self) -> Mapping[tuple[str, ...], float]:
        counts: dict[tuple[str, ...], float] = {
            (kind,): 0.0 for kind in ("worker", "portal", "admin")
        }
        for slot in self._slots:
            counts[(slot.kind,)] += slot.restarts
        return counts

    def _open(self) -> None:
        """Open every port before the first process is started: all or nothing."""
        plan = self._plan
        for address in plan.public:
            self._groups.append(sockets.open_group(address, plan.workers))
        public = tuple(sockets.names_of(group[0]) for group in self._groups)
        for number in range(plan.workers):
            mine = [(index, group[number]) for index, group in enumerate(self._groups)]
            self._slots.append(self._slot("worker", number, mine))
        others: tuple[tuple[Kind, str], ...] = (("portal", plan.portal), ("admin", plan.admin))
        for kind, address in others:
            group = sockets.open_group(address, 1)
            self._groups.append(group)
            self._slots.append(self._slot(kind, 0, [(0, group[0])]))
        self._opened = Opened(public, sockets.names_of(self._groups[-1][0]))

    def _slot(self, kind: Kind, number: int, groups: list[tuple[int, list[socket.socket]]]) -> Slot:
        return Slot(
            kind,
            number,
            [(index, one) for index, group in groups for one in group],
            self._plan,
            command=self._command,
            new_incarnation=self._incarnation,
            on_change=self._changed.set,
            on_death=self._bury if kind == "worker" else lambda _: None,
            clock=self._clock,
            civil=self._civil,
        )

    def _close(self) -> None:
        for group in self._groups:
            sockets.close_all(group)
        for address in (*self._plan.public, self._plan.portal, self._plan.admin):
            sockets.forget_file(address)

    async def _watch(self) -> int:
        """Wait for a reason to end, and announce readiness on the way. Returns the exit code."""
        while True:
            for slot in self._slots:
                if slot.failed is not None:
                    _log.error("%s did not start (%s): stopping", slot.name, how(slot.failed))
                    return 1
            if self._stop_asked_at is not None:
                return 0
            if not self._announced and all(slot.ready for slot in self._slots):
                self._announced = True
                self._on_ready(self._opened)
            await self._changed.wait()
            self._changed.clear()

    async def _end(self, running: Mapping[asyncio.Task[None], Slot]) -> None:
        """Workers drain first, for they still need the portal; then the others end."""
        drained = self._plan.stop_timeout + _GRACE
        for kinds, seconds in ((("worker",), drained), (_OTHERS, _OTHERS_STOP)):
            mine = {task: slot for task, slot in running.items() if slot.kind in kinds}
            for slot in mine.values():
                slot.end()
            if "worker" in kinds:
                # As long as anybody holds a listening socket open the kernel completes handshakes
                # that nobody will answer: the supervisor lets go when the workers do.
                for group in self._groups[: len(self._plan.public)]:
                    sockets.close_all(group)
            _, late = await asyncio.wait(mine, timeout=seconds)
            for task in late:
                _log.warning("%s did not end within %g s: killed", mine[task].name, seconds)
                mine[task].kill()
            if late:
                await asyncio.wait(late)

    def _bury(self, incarnation: str) -> None:
        if self._errands is not None:
            self._errands.create_task(self._tombstones.bury(incarnation))

    def _incarnation(self) -> str:
        return f"{self._plan.host}/{self._boot}/{secrets.token_hex(4)}"

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGHUP: lambda: self._run_errand(self.reload),
            signal.SIGUSR1: lambda: self._run_errand(self.reopen),
        }
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _run_errand(self, what: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await what()
            except ConfigurationError as error:
                for line in error.at_reload().splitlines():
                    _log.error("%s", line)
            except BrokerError as error:
                _log.error("%s: %s", getattr(what, "__name__", "signal"), error.reason)
            except Exception:  # noqa: BLE001  the same
                _log.exception("a signal could not be obeyed")

        if self._errands is not None:
            self._errands.create_task(run())


def boot_id() -> str:
    """Names this boot of the machine: a nonce from before a reboot can never come back."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
