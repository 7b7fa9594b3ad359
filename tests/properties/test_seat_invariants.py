"""The invariants of seats and tickets, one test each, on the twin (which is the pure policy).

``test_seats_lua_equals_twin.py`` shows that Redis does the same, step by step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from broker.policy.limits import LimitsDocument
from broker.policy.queueing import (
    LAG,
    ON_CALL_IN_A_ROW,
    OWNERS_IN_A_ROW,
    STRIDE,
    Calls,
    Strides,
    Waiter,
    next_calls,
)
from broker.policy.seats import may_take, never_lent, not_lent_now, shortage
from broker.policy.shares import PopulationLimits
from tests.properties.seat_world import SeatWorld, documents
from tests.properties.session_world import SessionWorld

if TYPE_CHECKING:
    from broker.ledger.memory_seats import MemorySeats

WORLD = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# A mutation is to be found, not explained: no shrinking. The search ends with the first find, so
# what is rare (two who wait in one population, then a free seat) costs time only when it hides.
FOUND = settings(WORLD, max_examples=6000, phases=(Phase.generate,), report_multiple_bugs=False)


def hold(*invariants: int, world: type[SeatWorld] = SeatWorld, effort: settings = WORLD) -> None:
    checked = type("Checked", (world,), {"checked": invariants})
    run_state_machine_as_test(checked, settings=effort)


def test_invariant_1_seats_never_grow_past_a_limit_nor_into_what_is_not_lent() -> None:
    hold(1)


@given(document=documents, data=st.data())
@settings(deadline=None)
def test_invariant_1_a_borrower_leaves_free_what_lendable_does_not_lend(
    document: LimitsDocument, data: st.DataObject
) -> None:
    held = {name: data.draw(st.integers(0, 4)) for name in document.populations}
    for name, own in document.populations.items():
        if not may_take(document, held, name):
            continue
        others = [(other, held[n]) for n, other in document.populations.items() if n != name]
        after = sum(held.values()) + 1
        assert after <= document.seats_limit
        if held[name] >= own.seats_guaranteed:
            kept = sum(not_lent_now(*other) for other in others)
            assert after + kept <= document.seats_limit
        elif never_lent(own, held[name]) == 0:
            kept = sum(never_lent(*other) for other in others)
            assert after + kept <= document.seats_limit


def test_invariant_3_every_seat_and_ticket_counts_once_and_releasing_twice_changes_nothing() -> (
    None
):
    hold(3, world=SessionWorld)


def test_invariant_4_after_lowering_nobody_new_and_nobody_thrown_out() -> None:
    hold(1, 4)


def test_invariant_5_free_or_reclaimable_capacity_and_a_present_waiter_mean_a_call() -> None:
    hold(5)


@given(document=documents, data=st.data())
@settings(deadline=None)
def test_invariant_5_returning_everything_helps_everybody_who_may_have_seats(
    document: LimitsDocument, data: st.DataObject
) -> None:
    """No reservation can block a population for good: what is told as lacking is enough."""
    held = {name: data.draw(st.integers(0, 4)) for name in document.populations}
    for name, own in document.populations.items():
        if shortage(document, held, name) is None:
            assert not own.admitted or own.seats_maximum < 1 or document.seats_limit < 1
            continue
        others = (not_lent_now(other, 0) for n, other in document.populations.items() if n != name)
        mine = own.seats_guaranteed > 0 or 1 + sum(others) <= document.seats_limit
        if mine and (never_lent(own, 0) > 0 or own.seats_guaranteed == 0):
            assert may_take(document, {}, name)


def test_invariant_6_fifo_inside_a_population_and_no_place_lost_or_won_by_refreshing() -> None:
    hold(6)


@given(
    weights=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    guaranteed=st.lists(st.integers(0, 8), min_size=4, max_size=4),
    returned=st.lists(st.integers(0, 7), min_size=1, max_size=40),
    on_call=st.integers(0, 2),
)
@settings(deadline=None, max_examples=25)
def test_invariant_7_every_population_of_weight_above_zero_is_served_in_bounded_time(
    weights: list[int], guaranteed: list[int], returned: list[int], on_call: int
) -> None:
    """Everybody always waits, all guarantees may be lent, and whoever's seats come back (Hypothesis
    chooses, over and over): no population waits longer than the stride scheduler's bound, also
    when the last one is the on-call tier."""
    names = [f"p{index}" for index in range(len(weights))]
    limits = LimitsDocument(
        1,
        "d",
        1.0,
        8,
        0,
        {
            name: PopulationLimits(True, 8, own, 1.0, weight, on_call * (name == names[-1]))
            for name, own, weight in zip(names, guaranteed, weights, strict=False)
        },
        {},
    )
    bound = (
        (ON_CALL_IN_A_ROW + 1)
        * (OWNERS_IN_A_ROW + 2)
        * sum((LAG + STRIDE) // (STRIDE // weight) + 2 for weight in weights)
    )
    held = dict.fromkeys(names, 0)
    held[names[0]] = 8
    strides = Strides()
    waited = dict.fromkeys(names, 0)
    for turn in range(bound + bound // 4):
        occupied = [name for name in names for _ in range(held[name])]
        held[occupied[returned[turn % len(returned)] % len(occupied)]] -= 1
        queues = {name: [Waiter(f"{name}-{turn}", turn)] for name in names}
        calls = next_calls(limits, turn, held, queues, {}, strides, 1)
        strides = calls.strides
        assert len(calls.call) == 1
        for name in names:
            waited[name] += 1
        for name, _employee in calls.call:
            held[name] += 1
            waited[name] = 0
        assert max(waited.values()) <= bound


def test_invariant_10_after_lost_memory_only_who_was_seated_is_seated() -> None:
    hold(1, 3, 10)


def test_all_invariants_together_with_sessions_that_come_and_go() -> None:
    hold(1, 3, 4, 6, 10, world=SessionWorld)


def _nothing(_seats: MemorySeats) -> None:
    """The call script, forgotten."""


def _last_first(*arguments: Any) -> Calls:
    limits, now_ms, held, queues, *rest = arguments
    turned = {name: queue[::-1] for name, queue in queues.items()}
    return next_calls(limits, now_ms, held, turned, *rest)


@pytest.mark.parametrize(
    ("invariant", "place", "mutation"),
    [
        (1, "broker.policy.queueing.may_take", lambda *_: True),
        (4, "broker.policy.queueing.reclaimable", lambda *_: True),
        (5, "broker.ledger.memory_seats.MemorySeats.run_calls", _nothing),
        (6, "broker.ledger.memory_seats.next_calls", _last_first),
    ],
)
def test_the_checks_see_a_broken_rule(
    invariant: int, place: str, mutation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, mutation)
    with pytest.raises(AssertionError):
        hold(invariant, effort=FOUND)
