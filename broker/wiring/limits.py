"""From the configuration to the limits document: what the YAML proposes, as admission reads it."""

from __future__ import annotations

from broker.policy.capacity import Base, Capacity, GuardRule, Level
from broker.policy.levels import in_force, rebased
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.settings import CellSettings, Pool, Population, Settings

FENCE_LEASE_MS = 5_000


def limits_document(
    settings: Settings, digest: str, present: Capacity | None = None
) -> LimitsDocument:
    """The document that the configuration proposes, not yet numbered: its numbers are the base
    under the level and the raises that are in force at ``present``."""
    bare = LimitsDocument(
        number=0,
        digest=digest,
        scale=1.0,
        seats_limit=0,
        connections_limit=0,
        populations={},
        pools={},
        idle_ms=_ms(settings.seats.idle),
        claim_ms=_ms(settings.seats.claim),
        absent_ms=_ms(settings.seats.absent),
        ticket_lost_ms=_ms(settings.seats.ticket_lost),
    )
    return in_force(rebased(present, base(settings)), bare)


def base(settings: Settings) -> Base:
    """The configured numbers, which a scale multiplies."""
    names = [population.name for population in settings.populations]
    return Base(
        seats_limit=settings.seats.limit,
        connections_limit=settings.connections.limit,
        populations={
            population.name: _population(population, settings.seats.limit)
            for population in settings.populations
        },
        pools={name: _pool(pool, names) for name, pool in settings.pools.items()},
        seats_ceiling=settings.seats.ceiling,
        connections_ceiling=settings.connections.ceiling,
        pool_ceilings={name: pool.ceiling for name, pool in settings.pools.items()},
        guards={name: _guard(pool) for name, pool in settings.pools.items()},
        levels={
            name: Level(level.scale, tuple(level.open_to), dict(level.pools))
            for name, level in settings.levels.items()
        },
    )


def _guard(pool: Pool) -> GuardRule:
    guard = pool.guard
    return GuardRule(
        window_ms=_ms(guard.window),
        responses=guard.responses,
        slower=guard.slower,
        slower_ms=_ms(guard.slower_by),
        failed=guard.failed,
        undialled=guard.undialled,
    )


def _population(population: Population, seats_limit: int) -> PopulationLimits:
    seats = population.seats
    return PopulationLimits(
        admitted=population.admitted,
        seats_maximum=seats_limit if seats.maximum is None else seats.maximum,
        seats_guaranteed=seats.guaranteed,
        lendable=seats.lendable,
        weight=population.weight,
    )


def _pool(pool: Pool, populations: list[str]) -> PoolLimits:
    whole = pool.connections
    return PoolLimits(
        connections=Share(whole.limit, whole.guaranteed, whole.lendable),
        cells={
            name: _cell(pool.populations.get(name, CellSettings()), whole.limit)
            for name in populations
        },
        lease=pool.lease,
        lease_ms=FENCE_LEASE_MS if pool.lease == "fence" else _ms(pool.keep_for),
    )


def _cell(cell: CellSettings, pool_limit: int) -> Share:
    limit = pool_limit if cell.limit is None else cell.limit
    return Share(limit, cell.guaranteed, cell.lendable)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
