"""Both ledgers for tests, at a time that the test sets, and a limits document to start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.redis_ledger import RedisLedger
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share

if TYPE_CHECKING:
    from collections.abc import Mapping

    import redis

SITE = "test"
CLOCK_KEY = f"broker:{{{SITE}}}:test:wall"
WALL_CLOCK = f"return tonumber(redis.call('GET', '{CLOCK_KEY}'))"
START_MS = 1_600_000_000_000


class LedgerClock:
    """A wall clock in milliseconds that stands still until moved. Redis reads it from a key, in
    place of its TIME: the scripts are loaded with another clock, production has no such door."""

    def __init__(self) -> None:
        self.now_ms = START_MS
        self._client: redis.Redis | None = None

    def drive(self, client: redis.Redis) -> None:
        """Move the clock of that Redis from now on."""
        self._client = client
        self.set(self.now_ms)

    def set(self, now_ms: int) -> None:
        self.now_ms = now_ms
        if self._client is not None:
            self._client.set(CLOCK_KEY, now_ms)

    def advance(self, ms: int) -> None:
        self.set(self.now_ms + ms)


async def redis_ledger(url: str, clock: LedgerClock | None = None) -> RedisLedger:
    """A ledger on a real Redis; with ``clock`` at its time. The deadline leaves room for a machine
    that does much else."""
    wall_clock = None if clock is None else WALL_CLOCK
    return await RedisLedger.connect(url, SITE, deadline=5.0, wall_clock=wall_clock)


def limits_document(
    *,
    seats: int = 10,
    connections: int = 120,
    populations: Mapping[str, PopulationLimits] | None = None,
    pools: Mapping[str, PoolLimits] | None = None,
    number: int = 0,
    digest: str = "d1",
) -> LimitsDocument:
    """Managers and sales admitted, everyone not; pools feed and wiki with 100 each of 120."""
    if populations is None:
        populations = {
            "managers": PopulationLimits(admitted=True, seats_maximum=seats, weight=2),
            "sales": PopulationLimits(admitted=True, seats_maximum=seats),
            "everyone": PopulationLimits(admitted=False, seats_maximum=seats),
        }
    if pools is None:
        pools = {name: pool(100, populations) for name in ("feed", "wiki")}
    return LimitsDocument(
        number=number,
        digest=digest,
        scale=1.0,
        seats_limit=seats,
        connections_limit=connections,
        populations=populations,
        pools=pools,
    )


def pool(
    limit: int,
    populations: Mapping[str, PopulationLimits],
    *,
    guaranteed: int = 0,
    lendable: float = 1.0,
    lease_ms: int = 600_000,
) -> PoolLimits:
    """A pool whose cells may each use all of it."""
    return PoolLimits(
        connections=Share(limit, guaranteed, lendable),
        cells={name: Share(limit) for name in populations},
        lease_ms=lease_ms,
    )
