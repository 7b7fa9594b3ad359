"""Invariant 9: jumps of the wall clock change no seat, ticket, claim or lease.

The same history runs on two twins; the clock of one jumps by an hour, back or forth, between any
two steps. Ledger time then differs by a second for each jump at most, and all windows here lie
further than that from what ticks can reach: so every answer must be the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.ledger import memory
from broker.ledger.memory import MemoryLedger
from tests.support.ledgers import LedgerClock, limits_document, pool
from tests.support.workers import Worker

if TYPE_CHECKING:
    from broker.policy.limits import LimitsDocument

PEOPLE = ("ann", "bob", "carl", "dora", "eve")
WINDOW_MS = 12_500
"""Passed after 15 ticks of a second, two jumps more or less, and not after 10."""
HOUR_MS = 3_600_000

person = st.sampled_from(PEOPLE)
steps = st.one_of(
    st.tuples(st.just("admit"), person),
    st.tuples(st.just("admit"), person),
    st.tuples(st.just("look"), person),
    st.tuples(st.just("release"), person),
    st.tuples(st.just("take"), st.integers(0, 1), st.integers(1, 6)),
    st.tuples(st.just("ticks")),
)
jumps = st.dictionaries(
    st.integers(0, 20), st.sampled_from((HOUR_MS, -HOUR_MS)), min_size=1, max_size=2
)


def document() -> LimitsDocument:
    populations = limits_document().populations
    pools = {"feed": pool(8, populations, lease_ms=WINDOW_MS)}
    times = dict.fromkeys(("idle_ms", "claim_ms", "absent_ms"), WINDOW_MS)
    limits = limits_document(seats=2, connections=8, pools=pools)
    return replace(limits, **times, ticket_lost_ms=3 * WINDOW_MS)  # type: ignore[arg-type]


async def answers(
    history: list[tuple[object, ...]], jumps_at: dict[int, int]
) -> list[tuple[object, ...]]:
    clock = LedgerClock()
    ledger = MemoryLedger(lambda: clock.now_ms)
    await ledger.publish(document(), if_match=0, first_start=True)
    # Workers live by CLOCK_BOOTTIME, which no jump reaches; the second one falls silent.
    boot = LedgerClock()
    workers = [Worker(f"h/b/{number}", ledger, boot) for number in range(2)]
    for worker in workers:
        await worker.join()
    said: list[tuple[object, ...]] = []
    for number, (what, *rest) in enumerate(history):
        clock.advance(jumps_at.get(number, 0))
        if what == "ticks":
            for _ in range(5):
                clock.advance(1000)
                boot.advance(1000)
                await workers[0].sync()
        elif what == "take":
            index, count = rest
            assert isinstance(index, int)
            assert isinstance(count, int)
            said.append((await workers[index].take(("feed", "sales"), count),))
        elif what == "release":
            said.append((await ledger.release(str(rest[0])),))
        else:
            name = str(rest[0])
            asked = ledger.admit(name, "sales") if what == "admit" else ledger.look(name)
            answer = await asked
            said.append((answer.state, answer.number, answer.position))
        usage = await ledger.usage()
        said.append((dict(usage.occupied), dict(usage.called), dict(usage.waiting), usage.held))
    return said


def check(history: list[tuple[object, ...]], jumps_at: dict[int, int]) -> None:
    steady = asyncio.run(answers(history, {}))
    assert asyncio.run(answers(history, jumps_at)) == steady


@given(history=st.lists(steps, min_size=5, max_size=21), jumps_at=jumps)
@settings(max_examples=60, deadline=None)
def test_invariant_9_jumps_of_the_wall_clock_change_no_lease_seat_ticket_or_claim(
    history: list[tuple[object, ...]], jumps_at: dict[int, int]
) -> None:
    check(history, jumps_at)


def test_the_check_sees_time_that_follows_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    history: list[tuple[object, ...]] = [("admit", name) for name in PEOPLE]
    history += [("release", "ann"), ("look", "carl"), ("ticks",), ("look", "carl")]
    check(history, {6: HOUR_MS})
    monkeypatch.setattr(memory, "MOST_ADVANCE_MS", 2 * HOUR_MS)
    with pytest.raises(AssertionError):
        check(history, {6: HOUR_MS})
