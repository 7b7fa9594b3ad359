"""From the configuration to the limits document: what the YAML proposes, as admission reads it."""

from __future__ import annotations

from broker.policy.limits import LimitsDocument, PoolLimits, PopulationLimits, Share
from broker.settings import CellSettings, Pool, Population, Settings

FENCE_LEASE_MS = 5_000


def limits_document(settings: Settings, digest: str) -> LimitsDocument:
    """The document of the configured base (scale 1), not yet numbered."""
    names = [population.name for population in settings.populations]
    return LimitsDocument(
        number=0,
        digest=digest,
        scale=1.0,
        seats_limit=settings.seats.limit,
        connections_limit=settings.connections.limit,
        populations={
            population.name: _population(population, settings.seats.limit)
            for population in settings.populations
        },
        pools={name: _pool(pool, names) for name, pool in settings.pools.items()},
        idle_ms=_ms(settings.seats.idle),
        claim_ms=_ms(settings.seats.claim),
        absent_ms=_ms(settings.seats.absent),
        ticket_lost_ms=_ms(settings.seats.ticket_lost),
    )


def _population(population: Population, seats_limit: int) -> PopulationLimits:
    seats = population.seats
    return PopulationLimits(
        admitted=population.admitted,
        seats_maximum=seats_limit if seats.maximum is None else seats.maximum,
        seats_guaranteed=seats.guaranteed,
        lendable=seats.lendable,
        weight=population.weight,
        seats_on_call=seats.on_call,
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
