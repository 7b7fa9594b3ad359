"""What follows from the base, the level and the raises in force: the numbers that admission reads.

Apply and what-if are the same call: ``in_force``. A scale multiplies the *configured* numbers,
rounded up, each up to its ceiling; guarantees that would then promise more than there is shrink
in proportion, because a promise that cannot be kept starves somebody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.policy.capacity import Capacity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.policy.capacity import Base, Raise
    from broker.policy.limits import LimitsDocument
    from broker.policy.shares import PoolLimits, PopulationLimits, Share

_ROUNDING = 1e-9
"""5 x 1.2 is 6.000000000000001 or so in floating point, and means 6."""


@dataclass(frozen=True, slots=True)
class Cap:
    """A ceiling that bites: ``what`` was to be multiplied by ``asked`` and is by ``ceiling``."""

    what: str
    asked: float
    ceiling: float


def in_force(capacity: Capacity, document: LimitsDocument) -> LimitsDocument:
    """``document`` with the numbers of ``capacity``; its times and digest stay."""
    base = capacity.base
    scale = site_scale(capacity)
    seats = times(base.seats_limit, scale, base.seats_ceiling)
    connections = times(base.connections_limit, scale, base.connections_ceiling)
    admitted = admitted_populations(capacity)
    return replace(
        document,
        scale=scale,
        seats_limit=seats,
        connections_limit=connections,
        populations=_populations(base, scale, seats, admitted),
        pools=_pools(capacity, connections),
        capacity=capacity,
    )


def site_scale(capacity: Capacity) -> float:
    """The factor in force on seats and on the site's connections."""
    layer = capacity.site or capacity.level
    return 1.0 if layer is None else layer.ramp.scale


def pool_scale(capacity: Capacity, pool: str) -> float:
    """The factor in force on a pool, before its ceiling."""
    own = capacity.pools.get(pool)
    if own is not None:
        return own.ramp.scale
    layer = capacity.site or capacity.level
    if layer is None:
        return 1.0
    if pool in layer.pools:
        wanted = layer.pools[pool]
        climbing = layer.ramp.target > layer.ramp.start
        return min(wanted, layer.ramp.scale) if climbing else wanted
    return layer.ramp.scale


def admitted_populations(capacity: Capacity) -> tuple[str, ...]:
    """Who may take a seat, in the order of configuration."""
    for layer in (capacity.site, capacity.level):
        if layer is not None and layer.open_to:
            return tuple(name for name in capacity.base.populations if name in layer.open_to)
    return tuple(name for name, each in capacity.base.populations.items() if each.admitted)


def raises(capacity: Capacity) -> Iterator[tuple[str, Raise]]:
    """What is in force with its scope, undermost first: ``level``, ``site`` or a pool's name."""
    if capacity.level is not None:
        yield "level", capacity.level
    if capacity.site is not None:
        yield "site", capacity.site
    yield from capacity.pools.items()


def with_raise(capacity: Capacity, scope: str, change: Raise | None) -> Capacity:
    """``change`` in place of what was in force for ``scope``; None: what lies underneath."""
    if scope == "level":
        return replace(capacity, level=change)
    if scope == "site":
        return replace(capacity, site=change)
    others = {pool: each for pool, each in capacity.pools.items() if pool != scope}
    return replace(capacity, pools=others if change is None else {**others, scope: change})


def rebased(capacity: Capacity | None, base: Base) -> Capacity:
    """Another configuration under what is in force. A level or pool that it no longer has goes."""
    if capacity is None:
        return Capacity(base)
    level = capacity.level
    return replace(
        capacity,
        base=base,
        level=level if level is not None and level.level in base.levels else None,
        pools={pool: each for pool, each in capacity.pools.items() if pool in base.pools},
    )


def caps(capacity: Capacity) -> tuple[Cap, ...]:
    """Every ceiling that bites at the *targets* of what is in force."""
    base = capacity.base
    layer = capacity.site or capacity.level
    target = 1.0 if layer is None else layer.ramp.target
    found = [
        Cap(what, target, ceiling)
        for what, ceiling in (
            ("seats", base.seats_ceiling),
            ("connections of the site", base.connections_ceiling),
        )
        if target > ceiling
    ]
    for pool in base.pools:
        own = capacity.pools.get(pool)
        asked = target if layer is None else layer.pools.get(pool, target)
        asked = asked if own is None else own.ramp.target
        ceiling = base.pool_ceilings.get(pool, math.inf)
        if asked > ceiling:
            found.append(Cap(f"pool {pool}", asked, ceiling))
    return tuple(found)


def times(number: int, scale: float, ceiling: float) -> int:
    """``number`` scaled, rounded up."""
    return math.ceil(number * min(scale, ceiling) - _ROUNDING)


def fitted(promises: Sequence[int], limit: int) -> list[int]:
    """Guarantees that together promise no more than ``limit``."""
    promised = sum(promises)
    if promised <= limit:
        return list(promises)
    return [promise * limit // promised for promise in promises]


def _populations(
    base: Base, scale: float, seats: int, admitted: Sequence[str]
) -> Mapping[str, PopulationLimits]:
    promised = fitted(
        [
            times(each.seats_guaranteed, scale, base.seats_ceiling)
            for each in base.populations.values()
        ],
        seats,
    )
    return {
        name: replace(
            each,
            admitted=name in admitted,
            seats_maximum=times(each.seats_maximum, scale, base.seats_ceiling),
            seats_guaranteed=guaranteed,
        )
        for (name, each), guaranteed in zip(base.populations.items(), promised, strict=True)
    }


def _pools(capacity: Capacity, connections: int) -> Mapping[str, PoolLimits]:
    base = capacity.base
    scaled = {name: _pool(capacity, name) for name in base.pools}
    promised = fitted([pool.connections.guaranteed for pool in scaled.values()], connections)
    return {
        name: replace(pool, connections=replace(pool.connections, guaranteed=guaranteed))
        for (name, pool), guaranteed in zip(scaled.items(), promised, strict=True)
    }


def _pool(capacity: Capacity, name: str) -> PoolLimits:
    pool = capacity.base.pools[name]
    scale = pool_scale(capacity, name)
    ceiling = capacity.base.pool_ceilings.get(name, math.inf)

    def scaled(share: Share) -> Share:
        return replace(
            share,
            limit=times(share.limit, scale, ceiling),
            guaranteed=times(share.guaranteed, scale, ceiling),
        )

    whole = scaled(pool.connections)
    cells = {population: scaled(cell) for population, cell in pool.cells.items()}
    promised = fitted([cell.guaranteed for cell in cells.values()], whole.limit)
    return replace(
        pool,
        connections=whole,
        cells={
            population: replace(cell, guaranteed=guaranteed)
            for (population, cell), guaranteed in zip(cells.items(), promised, strict=True)
        },
    )
