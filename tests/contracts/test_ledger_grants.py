"""Workers and their grants, the same on the twin and on Redis."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.ledger import reporting
from broker.ledger.port import CellReport, Ledger, SyncReport
from broker.policy.shares import PoolLimits, Share
from broker.policy.worker_book import Accepted
from tests.support.ledgers import LedgerClock, limits_document, pool
from tests.support.workers import Worker

FEED = ("feed", "sales")
WIKI = ("wiki", "sales")


@pytest.fixture
async def one(ledger: Ledger, ledger_clock: LedgerClock) -> Worker:
    worker = Worker("h/b/1", ledger, ledger_clock)
    await worker.join()
    return worker


@pytest.fixture
async def two(one: Worker, ledger: Ledger, ledger_clock: LedgerClock) -> Worker:
    worker = Worker("h/b/2", ledger, ledger_clock)
    await worker.join()
    return worker


async def held(ledger: Ledger) -> int:
    return sum((await ledger.usage()).held.values())


async def test_first_word_is_the_epoch_and_the_document(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    worker = Worker("h/b/1", ledger, ledger_clock)
    accepted, reply = await worker.sync()
    assert accepted is Accepted.EPOCH
    assert not reply.caps
    accepted, reply = await worker.sync()
    assert accepted is Accepted.CAPS
    assert reply.limits == await ledger.limits()
    assert worker.book.limits_known == 1
    _, reply = await worker.sync()
    assert reply.limits is None


async def test_two_pools_of_a_hundred_share_a_site_of_120(
    ledger: Ledger, ledger_clock: LedgerClock, one: Worker, two: Worker
) -> None:
    await one.take(FEED, 100)
    await two.sync()  # gives back its base slices, now that somebody wants
    await one.sync()
    assert one.used[FEED] == 100
    await two.take(WIKI, 100)
    await one.sync()
    await two.sync()
    assert two.used[WIKI] == 20
    assert await held(ledger) == 120
    one.end(FEED, 50)
    ledger_clock.advance(250)
    await one.sync()
    await two.sync()
    assert two.used[WIKI] == 70
    assert await held(ledger) == 120


async def test_unused_slices_go_home_within_a_tick(
    ledger: Ledger, ledger_clock: LedgerClock, one: Worker
) -> None:
    await ledger.publish(limits_document(connections=20), if_match=1)
    await one.take(FEED, 10)
    one.end(FEED, 10)
    ledger_clock.advance(250)
    await one.sync()
    assert await held(ledger) == 0


async def test_base_slices_where_there_is_plenty(ledger: Ledger, one: Worker) -> None:
    await one.sync()
    # A quarter of 120 for one worker's 6 cells; a quarter of each pool's 100 for 3 would be more.
    assert one.book.cap(*FEED) == one.book.cap(*WIKI) == 5
    await one.sync()
    assert one.book.cap(*FEED) == 5
    await ledger.publish(limits_document(connections=20), if_match=1)
    await one.sync()
    assert not list(one.book.cells())


async def test_a_doubled_report_is_answered_alike_and_counts_once(
    ledger: Ledger, one: Worker
) -> None:
    one.want(FEED, 3)
    report = reporting.sync_report(one.book.report(one.now, one.uses()))
    first = await ledger.sync(report)
    second = await ledger.sync(report)
    assert second.caps == first.caps
    assert (await ledger.usage()).held[FEED] == first.caps[FEED]


async def test_a_late_report_changes_nothing(ledger: Ledger, one: Worker) -> None:
    late = reporting.sync_report(one.book.report(one.now, one.uses()))
    assert await one.take(FEED, 3) == 3
    before = (await ledger.usage()).held
    reply = await ledger.sync(late)
    assert one.book.accept(reply) is Accepted.STALE
    assert (await ledger.usage()).held == before


async def test_tombstone_brings_grants_back_once(ledger: Ledger, one: Worker, two: Worker) -> None:
    await one.take(FEED, 100)
    assert await ledger.tombstone("h/b/1")
    assert not await ledger.tombstone("h/b/1")
    assert await two.take(WIKI, 100) == 100


async def test_a_dead_workers_late_report_is_refused(ledger: Ledger, one: Worker) -> None:
    await ledger.tombstone("h/b/1")
    _, reply = await one.sync()
    assert not reply.caps
    one.want(FEED, 2)
    await one.sync()
    assert one.used.get(FEED, 0) == 0
    assert [worker.incarnation for worker in await ledger.workers()] == []


async def test_a_forgotten_workers_grants_come_back(ledger: Ledger, one: Worker) -> None:
    await one.take(FEED, 5)
    assert await ledger.forget_worker("h/b/1")
    assert not await ledger.forget_worker("h/b/1")
    assert await held(ledger) == 0


async def test_a_silent_workers_lease_lapses(
    ledger: Ledger, ledger_clock: LedgerClock, one: Worker, two: Worker
) -> None:
    pools = {
        "feed": pool(100, limits_document().populations, lease_ms=5_000),
        "wiki": pool(100, limits_document().populations),
    }
    await ledger.publish(limits_document(pools=pools), if_match=1)
    await one.sync()
    await one.sync()
    # The lease told under the former document is never shortened: begin anew.
    three = Worker("h/b/3", ledger, ledger_clock)
    await ledger.tombstone("h/b/1")
    await three.join()
    await three.take(FEED, 5)
    await three.take(WIKI, 5)
    for _ in range(6):
        ledger_clock.advance(1000)
        await two.sync()
    assert three.now >= three.book.fence_at("feed")
    assert not three.spend(FEED)
    usage = await ledger.usage()
    assert usage.held.get(FEED, 0) <= two.book.cap(*FEED)
    assert usage.held[WIKI] >= 5


async def test_a_leaving_worker_gives_back_what_it_does_not_use(
    ledger: Ledger, one: Worker
) -> None:
    await one.take(FEED, 3)
    one.end(FEED, 2)
    await one.sync(leaving=True)
    assert (await ledger.usage()).held == {FEED: 1}
    assert not one.spend(FEED)


async def test_after_lowering_nobody_new_until_below(
    ledger: Ledger, one: Worker, two: Worker
) -> None:
    await one.take(FEED, 40)
    await two.take(WIKI, 40)
    await ledger.publish(limits_document(connections=50), if_match=1)
    await one.sync()
    await two.sync()
    assert one.used[FEED] == 40
    one.end(FEED, 10)
    assert not one.spend(FEED)
    await one.sync()
    assert not one.spend(FEED)
    one.end(FEED, 25)
    assert await two.take(WIKI, 5) == 0
    await one.sync()
    assert await two.take(WIKI, 5) == 5
    assert await held(ledger) == 50


async def test_workers_tell_what_they_know(ledger: Ledger, one: Worker, two: Worker) -> None:
    await one.take(FEED, 2)
    await ledger.publish(limits_document(digest="d2"), if_match=1)
    await one.sync()
    await one.sync()
    views = {view.incarnation: view for view in await ledger.workers()}
    assert views["h/b/1"].limits_known == 2
    assert views["h/b/2"].limits_known < 2
    assert views["h/b/1"].used == 2


async def test_a_raised_limit_is_in_force_at_once(ledger: Ledger, one: Worker) -> None:
    await ledger.publish(limits_document(connections=2), if_match=1)
    assert await one.take(FEED, 5) == 2
    await ledger.publish(limits_document(connections=4), if_match=2)
    await one.sync()
    assert one.used[FEED] == 4


async def test_guarantee_is_kept_as_far_as_it_is_not_lent(
    ledger: Ledger, one: Worker, two: Worker
) -> None:
    populations = limits_document().populations
    cells = {
        "managers": Share(10, guaranteed=6, lendable=0.5),
        "sales": Share(10),
        "everyone": Share(10),
    }
    pools = {
        "feed": PoolLimits(Share(10), cells),
        "wiki": pool(10, populations),
    }
    await ledger.publish(limits_document(connections=10, pools=pools), if_match=1)
    await two.sync()
    assert await one.take(FEED, 10) == 7
    assert await two.take(("feed", "managers"), 6) == 3
    assert await held(ledger) == 10


async def test_a_pool_that_left_the_document_drains(ledger: Ledger, one: Worker) -> None:
    await one.take(WIKI, 3)
    document = limits_document()
    without = replace(document, pools={"feed": document.pools["feed"]})
    await ledger.publish(without, if_match=1)
    await one.sync()
    one.end(WIKI)
    assert not one.spend(WIKI)
    await one.sync()
    assert (await ledger.usage()).held[WIKI] == 2


async def test_a_worker_from_nowhere_gets_nothing_for_what_it_claims(
    ledger: Ledger, one: Worker
) -> None:
    """An old report, or a worker of a former epoch: what it holds is booked, nothing is granted."""
    row = CellReport("feed", "sales", held=30, used=30, want=5, want_age_ms=900)
    reply = await ledger.sync(SyncReport("h/b/9", 7, "an epoch long ago", cells=(row,)))
    assert not reply.caps
    assert (await ledger.usage()).held[FEED] >= 30


async def test_wakeups_tell_of_limits(ledger: Ledger, one: Worker) -> None:
    wakeups = await ledger.wakeups()
    try:
        await ledger.publish(limits_document(connections=60), if_match=1)
        assert await wakeups.next(5.0)
        assert not await wakeups.next(0.01)
    finally:
        await wakeups.close()


async def test_wakeups_tell_of_wants_and_returns(ledger: Ledger, one: Worker, two: Worker) -> None:
    await ledger.publish(limits_document(connections=4), if_match=1)
    await two.sync()
    await one.take(FEED, 4)
    wakeups = await ledger.wakeups()
    try:
        await two.take(FEED, 1)
        assert await wakeups.next(5.0)
        one.end(FEED, 2)
        await one.sync()
        assert await wakeups.next(5.0)
        await two.sync()
        assert two.used[FEED] == 1
    finally:
        await wakeups.close()


@pytest.mark.parametrize("jump_ms", [3_600_000, -3_600_000])
async def test_invariant_9_a_jump_of_the_wall_clock_lapses_nothing(
    jump_ms: int, ledger: Ledger, ledger_clock: LedgerClock, one: Worker, two: Worker
) -> None:
    pools = {"feed": pool(20, limits_document().populations, lease_ms=5_000)}
    await ledger.publish(limits_document(connections=20, pools=pools), if_match=1)
    await two.sync()
    await one.sync()
    await one.take(FEED, 15)
    ledger_clock.advance(jump_ms)
    assert await two.take(FEED, 20) == 5
    assert (await ledger.usage()).held[FEED] == 20
