"""The limits document: every number that bounds admission, as one numbered, immutable value.

The document lives in the ledger and is the only place from which admission reads limits; the YAML
is a proposal for it. The same values feed the pure policy, the in-memory twin, the Lua scripts (as
JSON) and what-if. Units: milliseconds for durations, whole numbers for capacity, a fraction 0..1
for ``lendable``.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the ledger decodes the document by its types
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Share:
    """What a part (a pool of the site, a cell of a pool) may use of the whole above it.

    ``limit``: never more than this. ``guaranteed``: kept free for this part, except for what
    ``lendable`` (0..1) of the *unused* guarantee may serve others meanwhile.
    """

    limit: int
    guaranteed: int = 0
    lendable: float = 1.0


@dataclass(frozen=True, slots=True)
class PopulationLimits:
    """One population: whether it is admitted at present, its seats, and its weight in the queue.

    ``seats_on_call``: while it holds fewer seats than this, its tickets are called before all
    others (a small tier for on-call staff; no part of it is ever kept free)."""

    admitted: bool
    seats_maximum: int
    seats_guaranteed: int = 0
    lendable: float = 1.0
    weight: int = 1
    seats_on_call: int = 0


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """One pool: its share of the site's connections, its cells by population, its lease.

    ``lease``: ``keep`` or ``fence``; ``lease_ms``: how long what a silent worker holds stays
    reserved for it (``keep_for``, or 5 s for ``fence``).
    """

    connections: Share
    cells: Mapping[str, Share]
    lease: str = "keep"
    lease_ms: int = 600_000


@dataclass(frozen=True, slots=True)
class LimitsDocument:
    """Everything admission needs. ``number`` counts publications (1, 2, ...); ``digest`` names the
    configuration it was made from. ``populations`` and ``pools`` keep the order of configuration.
    """

    number: int
    digest: str
    scale: float
    seats_limit: int
    connections_limit: int
    populations: Mapping[str, PopulationLimits]
    pools: Mapping[str, PoolLimits]
    idle_ms: int = 900_000
    claim_ms: int = 90_000
    absent_ms: int = 90_000
    ticket_lost_ms: int = 1_800_000
    sync_ms: int = 250
    draining: tuple[str, ...] = field(default=())
