"""What a what-if starts from and what it answers, as values. Units: milliseconds in what is given,
seconds in what is answered, whole numbers for capacity. What was not measured is None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence  # noqa: TC003  # the admin API writes them by types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.policy.guard import Load


@dataclass(frozen=True, slots=True)
class ServerSeen:
    """``most``: exchanges in flight that all workers together may have to it, None: unbounded.
    ``usable``: it gets exchanges at present."""

    name: str
    weight: int = 1
    most: int | None = None
    usable: bool = True


@dataclass(frozen=True, slots=True)
class Descriptors:
    """File descriptors of the worker that has most open, and its limit."""

    open: int
    limit: int


@dataclass(frozen=True, slots=True)
class Situation:
    """The present state. ``occupied``, ``called``, ``waiting``: by population. ``idle``: by
    population, seats idle for longer than each of ``idle_after`` (ms; the first is the time after
    which a seat may go). ``used``: connections in use by pool. ``loads``: by pool, as measured.
    ``script_seconds``: of one call of the ledger."""

    now_ms: int
    occupied: Mapping[str, int]
    called: Mapping[str, int]
    waiting: Mapping[str, int]
    idle_after: Sequence[int] = ()
    idle: Mapping[str, Sequence[int]] = field(default_factory=dict)
    used: Mapping[str, int] = field(default_factory=dict)
    loads: Mapping[str, Load] = field(default_factory=dict)
    servers: Mapping[str, Sequence[ServerSeen]] = field(default_factory=dict)
    workers: int = 0
    script_seconds: float | None = None
    descriptors: Descriptors | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step: when (seconds from now, if every step before proves itself), the limits then, how
    many are ``called`` by population, who waits after that. ``fullest``: what is nearest to its
    limit if every seat is taken, and the share (1: at the limit)."""

    at_seconds: float
    scale: float
    seats: int
    connections: int
    called: Mapping[str, int]
    waiting: Mapping[str, int]
    fullest: str | None = None
    fullest_share: float | None = None


@dataclass(frozen=True, slots=True)
class PoolNeed:
    """What a pool needs when every seat is taken at the end: connections on average and at the
    peak, of ``limit``. ``per_seat`` and ``seconds``: as measured."""

    limit: int
    exchanges: int | None = None
    per_second: float | None = None
    seconds: float | None = None
    websockets: int | None = None
    per_seat: float | None = None
    mean: float | None = None
    peak: int | None = None


@dataclass(frozen=True, slots=True)
class Saturation:
    """``what`` runs out first, at ``scale``; None: nothing does, up to the ceiling ``upto``."""

    what: str | None
    scale: float | None
    upto: float


@dataclass(frozen=True, slots=True)
class LedgerNeed:
    """``admissions_per_second``: what is left beside the workers' syncs; ``seconds``: for all who
    are called."""

    admissions_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class DescriptorNeed:
    """Of one worker: open now, needed when every seat is taken, and the limit."""

    open: int
    needed: int
    limit: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """``drained_seconds``: when nobody waits any more; None: ``left_waiting`` do at the end.
    ``turned_away``: they wait, and their population is not admitted then. ``idle``: (minutes,
    seats idle for longer)."""

    steps: tuple[Step, ...]
    drained_seconds: float | None
    left_waiting: int
    turned_away: int
    seats_needed: int
    seats: int
    pools: Mapping[str, PoolNeed]
    connections: PoolNeed
    saturation: Saturation | None
    idle: tuple[tuple[float, int], ...]
    ledger: LedgerNeed | None
    descriptors: DescriptorNeed | None
    not_known: tuple[str, ...]
