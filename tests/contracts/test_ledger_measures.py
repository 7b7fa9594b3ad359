"""What what-if asks, and idle seats that end on request, the same on both ledgers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.policy.shares import PopulationLimits
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from tests.support.ledgers import LedgerClock

IDLE_MS = 900_000
MINUTES = (IDLE_MS, 600_000, 300_000)


async def wait(ledger: Ledger, clock: LedgerClock, seconds: int) -> None:
    """Ledger time moves by at most a second a call."""
    for _ in range(seconds):
        clock.advance(1000)
        await ledger.usage()


async def lowered(ledger: Ledger, seats: int, **more: PopulationLimits) -> None:
    present = await ledger.limits()
    assert present is not None
    populations = {**present.populations, **more}
    wanted = replace(present, seats_limit=seats, populations=populations)
    await ledger.publish(wanted, if_match=present.number)


async def seated(ledger: Ledger) -> set[str]:
    people = [f"{kind}{number}" for kind in "ms" for number in range(6)]
    return {name for name in people if (await ledger.look(name)).state == "seated"}


async def test_seats_idle_for_longer_than_each_time(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await ledger.admit("m0", "managers")
    await wait(ledger, ledger_clock, 300)
    await ledger.admit("s0", "sales")
    at_the_bound = await ledger.measures((300_000, 1_000))
    assert at_the_bound.idle == {"managers": (0, 1), "sales": (0, 0), "everyone": (0, 0)}
    await wait(ledger, ledger_clock, 310)
    assert (await ledger.measures(MINUTES)).idle == {
        "managers": (0, 1, 1), "sales": (0, 0, 1), "everyone": (0, 0, 0),
    }  # fmt: skip
    assert (await ledger.measures(())).idle["sales"] == ()


async def test_the_notes_of_the_steward_are_there(ledger: Ledger) -> None:
    assert (await ledger.measures(MINUTES)).notes == b""
    await ledger.steward("a/1/x", {}, lease_ms=500, notes=b"windows")
    assert (await ledger.measures(MINUTES)).notes == b"windows"


async def test_the_time_of_a_script_is_measured_where_there_are_scripts(ledger: Ledger) -> None:
    from broker.ledger.memory import MemoryLedger

    await ledger.usage()
    await ledger.usage()
    seconds = (await ledger.measures(MINUTES)).script_seconds
    if isinstance(ledger, MemoryLedger):
        assert seconds is None
    else:
        assert seconds is not None
        assert 0 < seconds < 1


async def test_the_longest_idle_end_down_to_the_limit_and_no_further(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    for number in range(4):
        await ledger.admit(f"s{number}", "sales")
        await wait(ledger, ledger_clock, 2)
    await ledger.admit("m0", "managers")
    await wait(ledger, ledger_clock, 901)
    await ledger.admit("s1", "sales")  # is at work
    assert await ledger.evict_idle(most=10) == 0, "nothing is above a limit"
    await lowered(ledger, 2)
    assert len(await seated(ledger)) == 5, "lowering alone throws nobody out"
    assert await ledger.evict_idle(most=1) == 1
    assert await seated(ledger) == {"s1", "s2", "s3", "m0"}, "s0 was idle longest"
    assert await ledger.evict_idle(most=10) == 2
    assert await seated(ledger) == {"s1", "m0"}
    assert await ledger.evict_idle(most=10) == 0


async def test_an_active_seat_never_ends(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    for number in range(4):
        await ledger.admit(f"s{number}", "sales")
    await wait(ledger, ledger_clock, 900)
    await lowered(ledger, 1)
    assert await ledger.evict_idle(most=10) == 0, "15 min exactly is not yet idle"
    await ledger.admit("s0", "sales")
    await ledger.admit("s1", "sales")
    await wait(ledger, ledger_clock, 1)
    assert await ledger.evict_idle(most=10) == 2
    assert await seated(ledger) == {"s0", "s1"}, "above the limit, and at work"


async def test_a_population_above_its_maximum_goes_down_to_it(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    for number in range(3):
        await ledger.admit(f"m{number}", "managers")
        await ledger.admit(f"s{number}", "sales")
    await wait(ledger, ledger_clock, 901)
    await lowered(ledger, 10, sales=PopulationLimits(admitted=True, seats_maximum=1))
    assert await ledger.evict_idle(most=10) == 2
    assert await seated(ledger) == {"m0", "m1", "m2", "s2"}


async def test_seats_of_a_population_that_is_gone_count_too(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await ledger.admit("m0", "managers")
    await ledger.admit("s0", "sales")
    await wait(ledger, ledger_clock, 901)
    populations = {"managers": limits_document().populations["managers"]}
    await ledger.publish(limits_document(seats=1, populations=populations), if_match=1)
    await ledger.admit("m0", "managers")
    assert await ledger.evict_idle(most=10) == 1
    assert await seated(ledger) == {"m0"}


async def test_nobody_who_waits_gets_what_was_above_the_limit(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    for number in range(4):
        await ledger.admit(f"s{number}", "sales")
    await wait(ledger, ledger_clock, 880)
    for number in range(4):
        await ledger.admit(f"s{number}", "sales")
    await lowered(ledger, 3)
    assert (await ledger.admit("m0", "managers")).state == "waiting"
    await wait(ledger, ledger_clock, 40)
    assert await ledger.evict_idle(most=10) == 0
    assert (await ledger.look("m0", present=True)).state == "waiting"


async def test_twice_changes_nothing_and_learning_ends_nothing(
    virgin_ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await virgin_ledger.publish(limits_document(), if_match=0)
    assert (await virgin_ledger.usage()).learning
    assert await virgin_ledger.evict_idle(most=10) == 0
