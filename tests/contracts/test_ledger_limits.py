"""The limits document, ledger time, the epoch and learning, the same on the twin and on Redis."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.errors import Stale
from broker.ledger.memory import MemoryLedger
from broker.ledger.redis_ledger import RedisLedger
from broker.policy.shares import PopulationLimits
from broker.policy.worker_book import Accepted
from tests.support.ledgers import LedgerClock, limits_document
from tests.support.workers import Worker

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from tests.support.redis_server import RedisServer

FEED = ("feed", "sales")
SCARCE = limits_document(connections=20)
"""Too little for base slices."""


async def lose_memory(ledger: Ledger, clock: LedgerClock, server: RedisServer) -> None:
    """As FLUSHALL, which keeps the run id."""
    if isinstance(ledger, MemoryLedger):
        ledger.lose_memory()
        return
    assert isinstance(ledger, RedisLedger)
    with server.client() as client:
        client.flushall()
    clock.set(clock.now_ms)


async def restart(ledger: Ledger, server: RedisServer) -> None:
    """Another run id, the data kept."""
    if isinstance(ledger, MemoryLedger):
        ledger.restart()
        return
    with server.client() as client:
        # The run id itself can only be changed by a restart: the stored one is, to the same effect.
        client.hset("broker:{test}:meta", "run", "another")


async def pass_seconds(clock: LedgerClock, worker: Worker, seconds: int) -> None:
    """Ledger time moves by at most 1 s a call."""
    for _ in range(seconds):
        clock.advance(1000)
        await worker.sync()


async def test_there_is_none_before_the_first_publication(virgin_ledger: Ledger) -> None:
    assert await virgin_ledger.limits() is None
    assert (await virgin_ledger.usage()).limits.seats_limit == 0


async def test_publish_numbers_and_keeps_every_order(virgin_ledger: Ledger) -> None:
    populations = {
        name: PopulationLimits(True, seats_maximum=3) for name in ("zebra", "ape", "mole", "bee")
    }
    document = limits_document(populations=populations)
    published = await virgin_ledger.publish(document, if_match=0)
    assert published.number == 1
    found = await virgin_ledger.limits()
    assert found == published
    assert list(found.populations) == ["zebra", "ape", "mole", "bee"]
    assert list(found.pools["feed"].cells) == ["zebra", "ape", "mole", "bee"]


async def test_a_stale_publication_changes_nothing(ledger: Ledger) -> None:
    await ledger.publish(limits_document(connections=7), if_match=1)
    for number in (0, 1, 3):
        with pytest.raises(Stale):
            await ledger.publish(limits_document(connections=9), if_match=number)
    found = await ledger.limits()
    assert found is not None
    assert (found.number, found.connections_limit) == (2, 7)


async def test_ledger_time_ignores_jumps_of_the_wall_clock(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    start = (await ledger.usage()).ledger_ms
    ledger_clock.advance(300)
    assert (await ledger.usage()).ledger_ms == start + 300
    ledger_clock.advance(-3_600_000)
    assert (await ledger.usage()).ledger_ms == start + 300
    ledger_clock.advance(200)
    assert (await ledger.usage()).ledger_ms == start + 500
    ledger_clock.advance(3_600_000)
    assert (await ledger.usage()).ledger_ms == start + 1500


async def test_an_empty_ledger_learns_unless_told_that_it_is_new(
    virgin_ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    worker = Worker("h/b/1", virgin_ledger, ledger_clock)
    await virgin_ledger.publish(limits_document(), if_match=0)
    await worker.sync()
    assert await worker.take(FEED, 1) == 0
    assert (await virgin_ledger.usage()).learning
    await pass_seconds(ledger_clock, worker, 601)
    assert not (await virgin_ledger.usage()).learning
    assert worker.used[FEED] == 1


async def test_first_start_does_not_wait(virgin_ledger: Ledger) -> None:
    await virgin_ledger.publish(limits_document(), if_match=0, first_start=True)
    assert not (await virgin_ledger.usage()).learning


async def test_lost_memory_means_a_new_epoch_and_learning(
    ledger: Ledger, ledger_clock: LedgerClock, redis_server: RedisServer
) -> None:
    await ledger.publish(SCARCE, if_match=1)
    worker = Worker("h/b/1", ledger, ledger_clock)
    await worker.join()
    await worker.take(FEED, 5)
    epoch = worker.book.epoch
    await lose_memory(ledger, ledger_clock, redis_server)

    accepted, reply = await worker.sync()
    assert accepted is Accepted.EPOCH
    assert reply.epoch != epoch
    assert reply.learning
    assert reply.limits is None
    # The worker writes its document back: its number goes on.
    republished = await ledger.publish(replace(SCARCE, number=2), if_match=0)
    assert republished.number == 3
    # What is held goes on; nothing new is granted.
    worker.want(FEED, 3)
    await worker.sync()
    assert worker.used[FEED] == 5
    assert worker.book.cap(*FEED) == 5
    assert (await ledger.usage()).held == {FEED: 5}
    worker.end(FEED)
    assert worker.spend(FEED)
    await pass_seconds(ledger_clock, worker, 602)
    assert worker.used[FEED] == 8


async def test_learning_ends_when_every_worker_known_has_reported(
    ledger: Ledger, ledger_clock: LedgerClock, redis_server: RedisServer
) -> None:
    await ledger.publish(SCARCE, if_match=1)
    one, two = (Worker(f"h/b/{n}", ledger, ledger_clock) for n in (1, 2))
    for worker in (one, two):
        await worker.join()
        await worker.take(FEED, 5)
    await restart(ledger, redis_server)
    assert (await one.sync())[0] is Accepted.EPOCH
    assert await one.take(FEED, 1) == 0
    assert (await two.sync())[0] is Accepted.EPOCH
    assert await one.take(FEED, 0) == 0
    await two.sync()
    await pass_seconds(ledger_clock, two, 2)
    assert await one.take(FEED, 0) == 1
    assert not (await ledger.usage()).learning


async def test_learning_waits_for_a_silent_worker_unless_it_is_dead(
    ledger: Ledger, ledger_clock: LedgerClock, redis_server: RedisServer
) -> None:
    one, two = (Worker(f"h/b/{n}", ledger, ledger_clock) for n in (1, 2))
    for worker in (one, two):
        await worker.join()
    await restart(ledger, redis_server)
    await one.sync()
    await pass_seconds(ledger_clock, one, 20)
    assert one.book.learning
    await ledger.tombstone("h/b/2")
    await one.sync()
    assert not one.book.learning
