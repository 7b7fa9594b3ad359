"""The simulation's connections on Redis: the same grants, so the same figures to the last one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.ledger.reporting import sync_report
from loadtest.simulate.connections import Demand, Fleet, Loss
from tests.support.ledgers import START_MS, LedgerClock, limits_document, redis_ledger

if TYPE_CHECKING:
    from broker.ledger.port import SyncReply
    from broker.ledger.redis_ledger import RedisLedger
    from broker.policy.grant_book import Told
    from tests.support.redis_server import RedisServer


class RedisGrants:
    """``connections.Grants`` on a real Redis at the simulation's time."""

    def __init__(self, runner: asyncio.Runner, ledger: RedisLedger, clock: LedgerClock) -> None:
        self._runner = runner
        self._ledger = ledger
        self._clock = clock

    def exchange(self, told: Told, now_ms: int) -> SyncReply:
        self._clock.set(START_MS + now_ms)
        return self._runner.run(self._ledger.sync(sync_report(told)))

    def bury(self, incarnation: str, now_ms: int) -> None:
        self._clock.set(START_MS + now_ms)
        assert self._runner.run(self._ledger.tombstone(incarnation))

    def booked(self) -> dict[str, int]:
        return {each.incarnation: each.held for each in self._runner.run(self._ledger.workers())}


def test_the_same_figures_from_redis(redis_server: RedisServer, redis_url: str) -> None:
    demand = Demand(
        requests={("feed", "sales"): 150.0, ("wiki", "managers"): 80.0},
        tunnels={("feed", "sales"): 20},
    )
    clock = LedgerClock()
    with asyncio.Runner() as runner, redis_server.client() as client:
        clock.drive(client)
        ledger = runner.run(redis_ledger(redis_url, clock))
        try:
            limits = runner.run(ledger.publish(limits_document(), if_match=0, first_start=True))
            on_redis = Fleet(
                limits, demand, hosts=2, each=2, seed=3, grants=RedisGrants(runner, ledger, clock)
            ).run(20.0, loss=Loss(5.0, 5.0), settle=5.0)
        finally:
            runner.run(ledger.close())
    on_twin = Fleet(limits, demand, hosts=2, each=2, seed=3).run(
        20.0, loss=Loss(5.0, 5.0), settle=5.0
    )
    assert on_redis == on_twin
    assert on_redis.refused > 0
    assert on_redis.over_admissions == 0
    assert max(on_redis.dead) > 20
