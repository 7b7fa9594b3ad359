"""The limits document: every number that bounds admission, as one numbered, immutable value.

The document lives in the ledger and is the only place from which admission reads limits; the YAML
is a proposal for it. The same values feed the pure policy, the in-memory twin, the Lua scripts (as
JSON) and what-if. Units: milliseconds for durations, whole numbers for capacity, a fraction 0..1
for ``lendable``.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the ledger decodes the document by its types
from dataclasses import dataclass, field

from broker.policy.capacity import Capacity  # noqa: TC001
from broker.policy.shares import PoolLimits, PopulationLimits, Share

__all__ = ["LimitsDocument", "PoolLimits", "PopulationLimits", "Share"]


@dataclass(frozen=True, slots=True)
class LimitsDocument:
    """Everything admission needs. ``number`` counts publications (1, 2, ...); ``digest`` names the
    configuration it was made from. ``populations`` and ``pools`` keep the order of configuration.
    ``capacity``: what these numbers were made from (``levels.in_force``); admission never reads it.
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
    capacity: Capacity | None = None
