"""Who is called next: FIFO, guarantees, weights, the absent, and which idle seat goes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.policy.limits import LimitsDocument
from broker.policy.queueing import (
    ON_CALL_IN_A_ROW,
    OWNERS_IN_A_ROW,
    Calls,
    IdleSeat,
    Strides,
    Waiter,
    claim_left,
    is_absent,
    is_lost,
    next_calls,
)
from broker.policy.shares import PopulationLimits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = 10_000_000
IDLE = NOW - 900_001


def document(limit: int, **populations: PopulationLimits) -> LimitsDocument:
    return LimitsDocument(1, "d", 1.0, limit, 0, populations, {})


def population(
    maximum: int = 1000,
    guaranteed: int = 0,
    weight: int = 1,
    lendable: float = 1.0,
    admitted: bool = True,
    on_call: int = 0,
) -> PopulationLimits:
    return PopulationLimits(admitted, maximum, guaranteed, lendable, weight, on_call)


def queue(prefix: str, count: int) -> list[Waiter]:
    return [Waiter(f"{prefix}{number}", NOW) for number in range(count)]


def decide(
    limits: LimitsDocument,
    held: Mapping[str, int],
    queues: Mapping[str, Sequence[Waiter]],
    seats: Mapping[str, Sequence[IdleSeat]] | None = None,
    strides: Strides = Strides(),  # noqa: B008  # frozen
    most: int = 250,
) -> Calls:
    return next_calls(limits, NOW, held, queues, seats or {}, strides, most)


def called(calls: Calls) -> list[str]:
    return [employee for _population, employee in calls.call]


def test_fifo_inside_a_population_up_to_the_limit() -> None:
    calls = decide(document(3, a=population()), {"a": 1}, {"a": queue("a", 5)})
    assert called(calls) == ["a0", "a1"]
    assert calls.reclaim == ()


def test_nobody_waiting_nothing_happens() -> None:
    seats = {"a": [IdleSeat("idle", IDLE)]}
    assert decide(document(3, a=population()), {"a": 1}, {"a": []}, seats) == Calls(
        (), (), (), Strides()
    )


def test_who_is_not_admitted_is_not_called() -> None:
    assert called(decide(document(3, a=population(admitted=False)), {}, {"a": queue("a", 2)})) == []


def test_the_absent_are_skipped_and_named() -> None:
    waiting = [Waiter("asleep", NOW - 90_001), Waiter("awake", NOW - 90_000)]
    calls = decide(document(1, a=population()), {}, {"a": waiting})
    assert called(calls) == ["awake"]
    assert calls.absent == (("a", "asleep"),)


def test_owners_first_then_weights() -> None:
    limits = document(5, a=population(weight=3), b=population(guaranteed=2), c=population(weight=0))
    calls = decide(limits, {}, {name: queue(name, 9) for name in "abc"})
    assert called(calls) == ["b0", "b1", "a0", "b2", "a1"]
    assert called(decide(limits, {}, {"b": queue("b", 9)})) == ["b0", "b1", "b2", "b3", "b4"]


def test_weights_are_proportions() -> None:
    limits = document(400, a=population(weight=3), b=population(weight=1))
    calls = decide(limits, {}, {"a": queue("a", 500), "b": queue("b", 500)}, most=400)
    assert Counter(name for name, _ in calls.call) == {"a": 300, "b": 100}


def test_the_proportions_hold_over_many_small_decisions() -> None:
    limits = document(1, a=population(weight=3), b=population(weight=1))
    strides, counted = Strides(), Counter[str]()
    for _ in range(80):
        calls = decide(limits, {}, {"a": queue("a", 1), "b": queue("b", 1)}, strides=strides)
        counted.update(name for name, _ in calls.call)
        strides = calls.strides
    assert counted == {"a": 60, "b": 20}


def test_nobody_saves_up_credit_while_away() -> None:
    limits = document(1, a=population(), b=population())
    strides = Strides()
    for _ in range(1000):
        strides = decide(limits, {}, {"a": queue("a", 1)}, strides=strides).strides
    in_a_row = 0
    while True:
        calls = decide(limits, {}, {"a": queue("a", 1), "b": queue("b", 1)}, strides=strides)
        strides = calls.strides
        if called(calls) == ["a0"]:
            break
        in_a_row += 1
    assert in_a_row <= 9


def test_weight_zero_is_served_when_nobody_else_waits() -> None:
    limits = document(2, a=population(weight=0), b=population())
    assert called(decide(limits, {}, {"a": queue("a", 2), "b": queue("b", 1)})) == ["b0", "a0"]


def test_guarantees_that_fill_the_site_do_not_starve_the_others() -> None:
    limits = document(10, a=population(guaranteed=10), b=population())
    strides, held = Strides(), {"a": 9, "b": 0}
    served = []
    for _ in range(2 * (OWNERS_IN_A_ROW + 1)):
        calls = decide(limits, held, {"a": queue("a", 1), "b": queue("b", 1)}, strides=strides)
        served += called(calls)
        strides = calls.strides
    assert served == (["a0"] * OWNERS_IN_A_ROW + ["b0"]) * 2


def test_on_call_staff_goes_first_up_to_its_cap() -> None:
    limits = document(10, a=population(guaranteed=10), b=population(on_call=2))
    queues = {"a": queue("a", 9), "b": queue("b", 9)}
    assert called(decide(limits, {"a": 6}, queues)) == ["b0", "b1", "a0", "a1"]
    assert called(decide(limits, {"a": 6, "b": 2}, queues))[0] == "a0"


def test_on_call_staff_costs_nobody_a_turn() -> None:
    limits = document(10, a=population(), b=population(on_call=1))
    calls = decide(limits, {"a": 9}, {"a": queue("a", 1), "b": queue("b", 1)})
    assert called(calls) == ["b0"]
    assert calls.strides == Strides(on_call_in_a_row=1)
    alone = decide(limits, {}, {"b": queue("b", 1)})
    assert alone.strides == Strides()


def test_on_call_staff_that_comes_and_goes_starves_nobody() -> None:
    """Only the on-call tier gives seats back: others have one after eight."""
    limits = document(4, a=population(), b=population(on_call=1))
    strides, served = Strides(), []
    for _ in range(2 * (ON_CALL_IN_A_ROW + 1)):
        queues = {"a": queue("a", 9), "b": queue("b", 9)}
        calls = decide(limits, {"a": 3}, queues, strides=strides)
        strides = calls.strides
        served += called(calls)
    assert served == (["b0"] * ON_CALL_IN_A_ROW + ["a0"]) * 2


def test_the_longest_idle_seat_goes_while_somebody_present_waits() -> None:
    limits = document(2, a=population(), b=population())
    seats = {"a": [IdleSeat("later", IDLE)], "b": [IdleSeat("longest", IDLE - 1)]}
    calls = decide(limits, {"a": 1, "b": 1}, {"a": queue("a", 1)}, seats)
    assert calls.reclaim == (("b", "longest"),)
    assert called(calls) == ["a0"]


def test_an_active_seat_never_goes() -> None:
    limits = document(1, a=population())
    seats = {"a": [IdleSeat("active", NOW - 900_000)]}
    assert decide(limits, {"a": 1}, {"a": queue("a", 1)}, seats).reclaim == ()


def test_no_seat_goes_for_the_absent() -> None:
    limits = document(1, a=population())
    seats = {"a": [IdleSeat("idle", IDLE)]}
    assert decide(limits, {"a": 1}, {"a": [Waiter("asleep", 0)]}, seats).reclaim == ()


def test_at_its_maximum_only_a_population_s_own_seats_help_it() -> None:
    limits = document(5, a=population(maximum=1), b=population())
    seats = {"a": [IdleSeat("own", IDLE)], "b": [IdleSeat("longest", 0)]}
    calls = decide(limits, {"a": 1, "b": 1}, {"a": queue("a", 1)}, seats)
    assert calls.reclaim == (("a", "own"),)


def test_no_seat_goes_when_all_idle_ones_together_do_not_help() -> None:
    limits = document(1, a=population(), b=population())
    seats = {"a": [IdleSeat("one", IDLE)]}  # lowered from 3: two would have to go
    assert decide(limits, {"a": 3}, {"b": queue("b", 1)}, seats).reclaim == ()


def test_several_seats_go_when_they_are_needed_and_enough() -> None:
    limits = document(1, a=population(), b=population())
    seats = {"a": [IdleSeat("one", IDLE - 2), IdleSeat("two", IDLE)]}
    calls = decide(limits, {"a": 2}, {"b": queue("b", 1)}, seats)
    assert calls.reclaim == (("a", "one"), ("a", "two"))
    assert called(calls) == ["b0"]


def test_a_seat_whose_return_only_restores_a_reservation_stays() -> None:
    limits = document(2, a=population(), b=population(guaranteed=2, lendable=0.0))
    seats = {"b": [IdleSeat("owner", IDLE)]}
    assert decide(limits, {"b": 2}, {"a": queue("a", 1)}, seats).reclaim == ()


def test_the_steps_of_one_decision_are_bounded() -> None:
    limits = document(100, a=population())
    absent = [Waiter(f"x{number}", 0) for number in range(3)]
    calls = decide(limits, {}, {"a": absent + queue("a", 9)}, most=5)
    assert (len(calls.absent), len(calls.call)) == (3, 2)
    assert decide(limits, {}, {"a": absent}, most=3).call == ()


def test_a_long_reclaim_goes_on_in_the_next_decision() -> None:
    limits = document(1, a=population())
    seats = {"a": [IdleSeat(f"i{number}", IDLE - 9 + number) for number in range(9)]}
    calls = decide(limits, {"a": 9}, {"a": queue("a", 1)}, seats, most=4)
    assert [employee for _, employee in calls.reclaim] == ["i0", "i1", "i2", "i3"]
    assert calls.call == ()


def test_a_population_without_seats_waits_for_nothing() -> None:
    limits = document(2, a=population(maximum=0))
    seats = {"a": [IdleSeat("idle", IDLE)]}
    assert decide(limits, {"a": 1}, {"a": queue("a", 1)}, seats).reclaim == ()


def test_windows_of_silence_and_claim() -> None:
    limits = document(1, a=population())
    assert not is_absent(limits, NOW - 90_000, NOW)
    assert is_absent(limits, NOW - 90_001, NOW)
    assert not is_lost(limits, NOW - 1_800_000, NOW)
    assert is_lost(limits, NOW - 1_800_001, NOW)
    assert claim_left(limits, NOW - 89_999, NOW) == 1
    assert claim_left(limits, NOW - 90_000, NOW) == 0
