"""What the supervisor is told, and what it hands to a child: plain values.

Nothing here does anything; ``ChildFds`` is the whole contract of file descriptors between the two
sides, written into the child's command line as one word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["worker", "portal", "admin"]


@dataclass(frozen=True, slots=True)
class SupervisorPlan:
    """``host`` names this machine in incarnations. Addresses are ``host:port``, ``[v6]:port`` or
    ``unix:PATH``; port 0 lets the system choose. ``public``: the listeners of the workers, in the
    order of the configuration. ``stop_timeout``: seconds the workers may drain. A child started
    again waits 0, then ``backoff`` seconds, doubling up to ``backoff_most``; one that lived
    ``settled`` seconds counts as healthy again.
    """

    host: str
    workers: int
    public: tuple[str, ...]
    portal: str
    admin: str
    run_dir: Path
    stop_timeout: float = 30.0
    backoff: float = 0.5
    backoff_most: float = 30.0
    settled: float = 30.0


@dataclass(frozen=True, slots=True)
class Opened:
    """Where the host really listens, ports chosen by the system filled in: for each public address
    of the plan its places, and those of the admin listener."""

    public: tuple[tuple[str, ...], ...]
    admin: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChildFds:
    """Descriptors a child inherits. ``sockets``: (index, listening socket); the index is that of
    the address in ``plan.public`` for a worker, 0 for portal and admin, and an address may have
    several sockets (``localhost`` is IPv4 and IPv6). ``lifeline``: end of file there means the
    supervisor died. ``ready``: write a line there when serving, then close it.
    """

    sockets: tuple[tuple[int, int], ...]
    lifeline: int
    ready: int

    def encode(self) -> str:
        """One word for the command line: ``0:7,0:8,1:9/10/11``."""
        sockets = ",".join(f"{index}:{descriptor}" for index, descriptor in self.sockets)
        return f"{sockets}/{self.lifeline}/{self.ready}"

    @classmethod
    def decode(cls, word: str) -> ChildFds:
        """The reverse of ``encode``. Raises ValueError."""
        sockets, lifeline, ready = word.split("/")
        pairs = [pair.split(":") for pair in sockets.split(",") if pair]
        return cls(
            tuple((int(index), int(descriptor)) for index, descriptor in pairs),
            int(lifeline),
            int(ready),
        )

    def all(self) -> tuple[int, ...]:
        return (*(descriptor for _, descriptor in self.sockets), self.lifeline, self.ready)
