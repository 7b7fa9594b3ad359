"""What a part may use of a whole, for each kind of part. Units: milliseconds, whole numbers for
capacity, a fraction 0..1 for ``lendable``."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the ledger decodes the document by its types
from dataclasses import dataclass


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
    """One population: whether it is admitted at present, its seats, and its weight in the queue."""

    admitted: bool
    seats_maximum: int
    seats_guaranteed: int = 0
    lendable: float = 1.0
    weight: int = 1


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
