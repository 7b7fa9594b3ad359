"""Tickets over changes of epoch, promises, and what the sync tells of the queues: on the twin and
on Redis alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.ledger.port import FormerTicket, Promise, SyncReport
from broker.policy.standing import position
from tests.contracts.test_ledger_limits import lose_memory, restart
from tests.contracts.test_ledger_seats import ABSENT, LOST, Site
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from tests.support.ledgers import LedgerClock
    from tests.support.redis_server import RedisServer


@pytest.fixture
async def site(ledger: Ledger, ledger_clock: LedgerClock) -> Site:
    """One seat, taken; ``carl``, ``dora`` and ``eve`` wait with the numbers 1, 2, 3."""
    site = Site(ledger, ledger_clock)
    await site.limit(1)
    await site.tick()
    for employee in ("ann", "carl", "dora", "eve"):
        await ledger.admit(employee, "sales")
    return site


async def begin_again(site: Site, server: RedisServer) -> None:
    """All memory is lost; the limits come back, and learning is over."""
    await lose_memory(site.ledger, site.clock, server)
    site.sequence = 0
    await site.ledger.publish(limits_document(seats=0), if_match=0, first_start=False)
    while (await site.tick()).learning:
        site.clock.advance(1000)


async def places(site: Site, *employees: str) -> list[int | None]:
    return [(await site.ledger.look(employee)).position for employee in employees]


def ticket(employee: str, number: int, epoch: str, silent_ms: int = 0) -> FormerTicket:
    return FormerTicket(employee, "sales", number, epoch, silent_ms)


async def test_tickets_of_a_former_epoch_come_back_before_all_who_are_new(
    site: Site, redis_server: RedisServer
) -> None:
    former = site.epoch
    await begin_again(site, redis_server)
    for newcomer in ("zoe", "yann"):
        await site.ledger.admit(newcomer, "sales")
    await site.ledger.put_back((ticket("eve", 3, former),))
    await site.ledger.put_back((ticket("carl", 1, former), ticket("dora", 2, former)))
    assert await places(site, "carl", "dora", "eve", "zoe", "yann") == [1, 2, 3, 4, 5]
    assert (await site.ledger.look("dora")).number == 2


async def test_who_took_a_new_ticket_first_gets_the_old_place_all_the_same(
    site: Site, redis_server: RedisServer
) -> None:
    former = site.epoch
    await begin_again(site, redis_server)
    for employee in ("zoe", "carl"):
        await site.ledger.admit(employee, "sales")
    await site.ledger.put_back((ticket("carl", 1, former),))
    assert await places(site, "carl", "zoe") == [1, 2]


async def test_a_ticket_is_put_back_once(site: Site, redis_server: RedisServer) -> None:
    former = site.epoch
    await begin_again(site, redis_server)
    await site.ledger.put_back((ticket("carl", 1, former),))
    assert await site.ledger.remove_ticket("carl")
    await site.ledger.put_back((ticket("carl", 1, former),))
    assert await site.states("carl") == ["gone"]


async def test_a_ticket_of_this_epoch_is_what_the_ledger_says(site: Site) -> None:
    await site.ledger.release("carl")
    await site.ledger.put_back((ticket("carl", 1, site.epoch),))
    assert await site.states("carl") == ["gone"]


async def test_what_outlived_the_change_of_epoch_stays_as_it_is(
    site: Site, redis_server: RedisServer
) -> None:
    former = site.epoch
    await restart(site.ledger, redis_server)
    await site.tick()
    assert site.epoch != former
    await site.ledger.put_back((ticket("dora", 99, former), ticket("ann", 5, former)))
    assert (await site.ledger.look("dora")).number == 2
    assert await site.states("ann") == ["seated"]
    while (await site.tick()).learning:
        site.clock.advance(250)
    await site.ledger.admit("zoe", "sales")
    assert await places(site, "carl", "dora", "eve", "zoe") == [1, 2, 3, 4]


async def test_a_ticket_lost_by_silence_does_not_come_back(
    site: Site, redis_server: RedisServer
) -> None:
    former = site.epoch
    await begin_again(site, redis_server)
    late = (ticket("carl", 1, former, LOST + 1), ticket("dora", 2, former, ABSENT + 1))
    await site.ledger.put_back(late)
    await site.tick()
    assert await site.states("carl", "dora") == ["gone", "waiting"]
    await site.ledger.admit("zoe", "sales")
    assert await places(site, "zoe") == [1], "dora is absent and not counted"
    assert (await site.ledger.look("dora", present=True)).position == 1


async def test_while_learning_tickets_come_back_and_nobody_is_called(
    site: Site, redis_server: RedisServer
) -> None:
    former = site.epoch
    await lose_memory(site.ledger, site.clock, redis_server)
    await site.ledger.put_back((ticket("dora", 2, former), ticket("carl", 1, former)))
    answer = await site.ledger.look("dora", present=True)
    assert (answer.state, answer.number, answer.position) == ("learning", 2, 2)


async def test_several_at_once_are_admitted_in_the_order_in_which_they_ask(site: Site) -> None:
    await site.limit(2)
    asking = [("ann", "sales"), ("mia", "managers"), ("x", "everyone"), ("zoe", "sales")]
    answers = await site.ledger.admit_all(asking)
    assert [answer.state for answer in answers] == ["seated", "waiting", "not_admitted", "waiting"]
    assert await site.states("carl") == ["called"]
    twice = await site.ledger.admit_all([("carl", "sales"), ("carl", "sales"), ("eve", "sales")])
    assert [answer.state for answer in twice] == ["seated", "seated", "waiting"]
    assert twice[2].position == 2


async def test_free_seats_go_to_as_many_as_there_are(ledger: Ledger) -> None:
    await ledger.publish(limits_document(seats=3), if_match=1)
    answers = await ledger.admit_all([(f"e{number}", "sales") for number in range(5)])
    assert [answer.state for answer in answers] == ["seated"] * 3 + ["waiting"] * 2
    assert [answer.position for answer in answers] == [None, None, None, 1, 2]


async def test_an_operator_takes_a_ticket_away_and_no_seat(site: Site) -> None:
    assert await site.ledger.remove_ticket("carl")
    assert not await site.ledger.remove_ticket("carl")
    assert not await site.ledger.remove_ticket("ann")
    assert await site.states("ann", "carl", "dora") == ["seated", "gone", "waiting"]
    assert await places(site, "dora") == [1]


async def test_the_sync_says_whose_presence_found_no_ticket(site: Site) -> None:
    await site.ledger.remove_ticket("carl")
    reply = await site.tick(present=("carl", "dora", "nobody"))
    assert reply.lost_tickets == ("carl", "nobody")


async def test_the_marks_tell_every_place(site: Site) -> None:
    for number in range(60):
        await site.ledger.admit(f"e{number}", "sales")
    queue = (await site.tick()).queues["sales"]
    assert queue.waiting == 63
    told = {}
    for employee in ("carl", "dora", "e0", "e30", "e37", "e59"):
        answer = await site.ledger.look(employee)
        assert answer.number is not None
        told[employee] = position(queue.marks, queue.waiting, answer.number)
        assert told[employee] == answer.position
    assert told["e59"] == 63


async def test_calls_are_told_by_stretch_of_time_and_only_where_somebody_waited(
    site: Site,
) -> None:
    site.clock.set(site.clock.now_ms // 10_000 * 10_000 + 10_000)
    began = (await site.tick()).ledger_ms
    await site.later(20_000 - began % 10_000, polls=("carl", "dora", "eve"))
    await site.ledger.release("ann")  # calls carl
    await site.later(10_000, polls=("carl", "dora", "eve"))
    reply = await site.tick()
    present = reply.ledger_ms // 10_000
    calls = reply.queues["sales"].calls
    assert calls[present - 1] == 1
    assert calls[present - 2] == 0
    assert present not in calls
    report = SyncReport("w1", site.sequence + 1, site.epoch, calls_known=present - 2)
    site.sequence += 1
    assert (await site.ledger.sync(report)).queues["sales"].calls == {present - 1: 1}
    assert reply.queues["managers"].calls == {}


async def test_a_promise_is_kept_by_a_call_in_time(site: Site) -> None:
    async def promise(*promises: Promise) -> None:
        site.sequence += 1
        report = SyncReport(
            "w1", site.sequence, site.epoch, promises=promises, present=("carl", "dora", "eve")
        )
        await site.ledger.sync(report)

    async def estimates() -> tuple[int, int]:
        usage = await site.ledger.usage()
        return usage.estimates_shown, usage.estimates_kept

    await promise(Promise("carl", 5_000), Promise("dora", 5_000), Promise("nobody", 1))
    await promise(Promise("dora", 99_000))  # the first one counts
    await site.later(5_000)
    assert await estimates() == (0, 0)
    await site.ledger.release("ann")
    assert await estimates() == (1, 1)
    await site.ledger.release("carl")  # dora is called in time as well
    await site.later(1_000)
    assert await estimates() == (2, 2)
    await promise(Promise("eve", 1_000))
    await site.later(2_000, polls=("eve",))
    await site.ledger.release("dora")
    assert await estimates() == (3, 2)


async def test_who_leaves_takes_the_promise_along(site: Site) -> None:
    site.sequence += 1
    promises = (Promise("carl", 5_000),)
    await site.ledger.sync(SyncReport("w1", site.sequence, site.epoch, promises=promises))
    await site.ledger.release("carl")
    await site.ledger.admit("carl", "sales")
    await site.limit(9)
    assert (await site.ledger.usage()).estimates_shown == 0
