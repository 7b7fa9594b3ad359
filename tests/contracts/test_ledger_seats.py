"""Seats and tickets: what the port promises, on the twin and on Redis alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.ledger.port import SyncReport, Touch
from broker.policy.shares import PopulationLimits
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from broker.ledger.port import Ledger, SyncReply
    from tests.support.ledgers import LedgerClock

IDLE, CLAIM, ABSENT, LOST = 900_000, 90_000, 90_000, 1_800_000


class Site:
    """One ledger with two seats (or as told), its clock, and a worker that keeps it ticking."""

    def __init__(self, ledger: Ledger, clock: LedgerClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.sequence = 0
        self.epoch = ""

    async def limit(self, seats: int, **populations: PopulationLimits) -> None:
        current = await self.ledger.limits()
        assert current is not None
        document = limits_document(seats=seats, populations=populations or None)
        await self.ledger.publish(document, if_match=current.number)

    async def tick(
        self, touches: tuple[Touch, ...] = (), present: tuple[str, ...] = ()
    ) -> SyncReply:
        """A sync of a worker that holds no grants."""
        self.sequence += 1
        reply = await self.ledger.sync(
            SyncReport("w1", self.sequence, self.epoch, touches=touches, present=present)
        )
        self.epoch = reply.epoch
        return reply

    async def later(self, ms: int, *, polls: tuple[str, ...] = ()) -> None:
        """Ledger time passes, at most one second a call."""
        while ms > 0:
            step = min(ms, 1000)
            ms -= step
            self.clock.advance(step)
            await self.tick(present=polls)

    async def states(self, *employees: str) -> list[str]:
        return [(await self.ledger.look(employee)).state for employee in employees]


@pytest.fixture
async def site(ledger: Ledger, ledger_clock: LedgerClock) -> Site:
    site = Site(ledger, ledger_clock)
    await site.limit(2)
    await site.tick()
    return site


async def test_a_seat_is_the_employee_s_not_the_browser_s(site: Site) -> None:
    first = await site.ledger.admit("ann", "managers")
    assert (first.state, first.population) == ("seated", "managers")
    assert (await site.ledger.admit("ann", "managers")).state == "seated"
    assert (await site.ledger.usage()).occupied["managers"] == 1


async def test_when_all_seats_are_taken_a_ticket_keeps_the_place(site: Site) -> None:
    for employee in ("ann", "bob"):
        await site.ledger.admit(employee, "sales")
    carl = await site.ledger.admit("carl", "sales")
    dora = await site.ledger.admit("dora", "sales")
    assert (carl.state, carl.number, carl.position) == ("waiting", 1, 1)
    assert (dora.state, dora.number, dora.position) == ("waiting", 2, 2)
    again = await site.ledger.admit("dora", "sales")
    assert (again.number, again.position) == (2, 2)


async def test_a_freed_seat_calls_the_first_in_line_who_claims_it_by_asking(site: Site) -> None:
    for employee in ("ann", "bob", "carl", "dora"):
        await site.ledger.admit(employee, "sales")
    assert await site.ledger.release("ann")
    called = await site.ledger.look("carl", present=True)
    assert (called.state, called.claim_ms) == ("called", CLAIM)
    assert await site.states("dora") == ["waiting"]
    assert (await site.ledger.usage()).called["sales"] == 1
    assert (await site.ledger.admit("carl", "sales")).state == "seated"
    assert (await site.ledger.usage()).called["sales"] == 0


async def test_nobody_overtakes_by_arriving_when_a_seat_is_free(site: Site) -> None:
    for employee in ("ann", "bob", "carl"):
        await site.ledger.admit(employee, "sales")
    await site.ledger.release("ann")  # reserved for carl, who is called
    assert (await site.ledger.admit("eve", "managers")).state == "waiting"
    assert await site.states("carl") == ["called"]


async def test_releasing_twice_changes_nothing(site: Site) -> None:
    await site.ledger.admit("ann", "sales")
    assert await site.ledger.release("ann")
    assert not await site.ledger.release("ann")
    assert not await site.ledger.release("nobody")


async def test_who_never_asked_is_gone(site: Site) -> None:
    answer = await site.ledger.look("nobody", present=True)
    assert (answer.state, answer.number, answer.position) == ("gone", None, None)


async def test_a_population_that_is_not_admitted_gets_neither_seat_nor_ticket(site: Site) -> None:
    assert (await site.ledger.admit("ann", "everyone")).state == "not_admitted"
    assert (await site.ledger.admit("ann", "unheard-of")).state == "not_admitted"
    assert await site.states("ann") == ["gone"]


async def test_an_unclaimed_call_is_freed_and_repeated_at_the_next_poll(site: Site) -> None:
    await site.limit(1)
    for employee in ("ann", "bob", "carl"):
        await site.ledger.admit(employee, "sales")
    await site.ledger.release("ann")
    await site.later(CLAIM, polls=("carl",))
    assert await site.states("bob", "carl") == ["waiting", "called"]
    await site.ledger.release("carl")
    back = await site.ledger.look("bob", present=True)
    assert (back.state, back.number) == ("called", 1)


async def test_the_absent_are_skipped_and_come_back_to_their_place(site: Site) -> None:
    for employee in ("ann", "bob", "carl", "dora", "eve"):
        await site.ledger.admit(employee, "sales")
    await site.later(ABSENT + 1000, polls=("dora", "eve"))
    await site.ledger.release("ann")
    assert await site.states("carl", "dora", "eve") == ["waiting", "called", "waiting"]
    back = await site.ledger.look("carl", present=True)
    assert (back.number, back.position) == (1, 1)
    assert (await site.ledger.look("eve")).position == 2
    await site.ledger.release("bob")
    assert await site.states("carl", "eve") == ["called", "waiting"]


async def test_a_ticket_is_lost_only_after_long_silence(site: Site) -> None:
    for employee in ("ann", "bob", "carl"):
        await site.ledger.admit(employee, "sales")
    await site.later(LOST)
    assert await site.states("carl") == ["waiting"]
    await site.later(1)
    await site.tick()
    assert await site.states("carl") == ["gone"]
    # ann and bob kept their seats: nobody present waited
    assert await site.states("ann", "bob") == ["seated", "seated"]


async def test_the_longest_idle_seat_goes_when_somebody_present_waits(site: Site) -> None:
    await site.ledger.admit("ann", "sales")
    await site.ledger.admit("bob", "sales")
    await site.later(IDLE + 1)
    assert (await site.tick()).lost_seats == ()
    assert (await site.tick(touches=(Touch("ann", 0),))).lost_seats == ()
    assert (await site.ledger.admit("carl", "sales")).state == "seated"
    reply = await site.tick(touches=(Touch("ann", 0), Touch("bob", 1000)))
    assert reply.lost_seats == ("bob",)
    assert (await site.ledger.admit("dora", "sales")).state == "waiting"


async def test_a_touch_never_moves_activity_back(site: Site) -> None:
    await site.limit(1)
    await site.ledger.admit("ann", "sales")
    await site.later(IDLE)
    await site.tick(touches=(Touch("ann", 10),))
    await site.tick(touches=(Touch("ann", IDLE),))
    await site.later(1000)
    assert (await site.ledger.admit("bob", "sales")).state == "waiting"


async def test_after_lowering_nobody_is_thrown_out_and_nobody_new_comes_in(site: Site) -> None:
    await site.limit(3)
    for employee in ("ann", "bob", "carl"):
        await site.ledger.admit(employee, "sales")
    await site.limit(1)
    assert (await site.ledger.admit("dora", "sales")).state == "waiting"
    assert await site.states("ann", "bob", "carl") == ["seated"] * 3
    await site.ledger.release("ann")
    await site.ledger.release("bob")
    assert await site.states("dora") == ["waiting"]
    await site.ledger.release("carl")
    assert await site.states("dora") == ["called"]


async def test_a_raised_limit_calls_at_once(site: Site) -> None:
    for employee in ("ann", "bob", "carl", "dora"):
        await site.ledger.admit(employee, "sales")
    await site.limit(4)
    assert await site.states("carl", "dora") == ["called", "called"]


async def test_a_population_no_longer_admitted_keeps_its_seats_and_its_tickets_end(
    site: Site,
) -> None:
    for employee in ("ann", "bob", "carl"):
        await site.ledger.admit(employee, "sales")
    closed = {
        "managers": PopulationLimits(admitted=True, seats_maximum=2),
        "sales": PopulationLimits(admitted=False, seats_maximum=2),
    }
    await site.limit(2, **closed)
    assert await site.states("ann", "carl", "carl") == ["seated", "not_admitted", "not_admitted"]
    assert (await site.ledger.admit("carl", "sales")).state == "not_admitted"
    assert (await site.ledger.usage()).waiting["sales"] == 0


async def test_a_seat_and_a_ticket_keep_the_population_they_were_taken_under(site: Site) -> None:
    await site.ledger.admit("ann", "sales")
    assert (await site.ledger.admit("ann", "managers")).population == "sales"
    await site.ledger.admit("bob", "sales")
    await site.ledger.admit("carl", "sales")
    assert (await site.ledger.admit("carl", "managers")).population == "sales"


async def test_a_guarantee_that_is_not_lent_is_at_hand(site: Site) -> None:
    await site.limit(
        2,
        managers=PopulationLimits(True, 2, seats_guaranteed=1, lendable=0.0),
        sales=PopulationLimits(True, 2),
    )
    assert (await site.ledger.admit("ann", "sales")).state == "seated"
    assert (await site.ledger.admit("bob", "sales")).state == "waiting"
    assert (await site.ledger.admit("mia", "managers")).state == "seated"


async def test_the_queues_in_the_sync_tell_who_was_called_up_to(site: Site) -> None:
    for employee in ("ann", "bob", "carl", "dora"):
        await site.ledger.admit(employee, "sales")
    await site.ledger.release("ann")
    queue = (await site.tick()).queues["sales"]
    assert (queue.waiting, queue.called_upto) == (1, 1)


@pytest.mark.parametrize("jump", [3_600_000, -3_600_000])
async def test_invariant_9_a_jump_of_the_wall_clock_changes_no_seat_ticket_or_claim(
    site: Site, jump: int
) -> None:
    for employee in ("ann", "bob", "carl", "dora"):
        await site.ledger.admit(employee, "sales")
    await site.ledger.release("ann")
    before = [await site.ledger.look(employee) for employee in ("bob", "carl", "dora")]
    site.clock.advance(jump)
    await site.tick()
    after = [await site.ledger.look(employee) for employee in ("bob", "carl", "dora")]
    assert [answer.state for answer in before] == ["seated", "called", "waiting"]
    assert [(a.state, a.number, a.position) for a in after] == [
        (b.state, b.number, b.position) for b in before
    ]
    assert before[1].claim_ms is not None
    assert after[1].claim_ms is not None
    assert before[1].claim_ms - after[1].claim_ms <= 1000


async def test_while_learning_nobody_new_is_seated(virgin_ledger: Ledger) -> None:
    await virgin_ledger.publish(limits_document(), if_match=0)
    await virgin_ledger.restore((), (), (("ann", "sales", 0),))
    assert (await virgin_ledger.admit("ann", "sales")).state == "seated"
    assert (await virgin_ledger.look("ann")).state == "seated"
    assert (await virgin_ledger.admit("bob", "sales")).state == "learning"
    assert (await virgin_ledger.look("bob")).state == "learning"
    assert (await virgin_ledger.usage()).occupied["sales"] == 1


async def test_invariant_10_after_lost_memory_every_seat_known_comes_back_and_no_other(
    virgin_ledger: Ledger,
) -> None:
    """Also above a limit that was lowered meanwhile: they are held in truth."""
    await virgin_ledger.publish(limits_document(seats=1), if_match=0)
    known = (("ann", "sales", 0), ("bob", "sales", 5_000), ("ann", "sales", 9_000))
    await virgin_ledger.restore((), (), known)
    assert (await virgin_ledger.usage()).occupied["sales"] == 2


async def test_written_back_after_learning_a_seat_obeys_the_limits(site: Site) -> None:
    await site.limit(1)
    await site.ledger.restore((), (), (("ann", "sales", 0), ("bob", "sales", 0)))
    assert await site.states("ann", "bob") == ["seated", "gone"]
