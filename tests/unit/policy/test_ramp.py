"""Steps, what the guard does to them, ends; and one round of the steward."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.policy.guard import BOUNDS, Figures, PoolWatch
from broker.policy.levels import in_force, site_scale
from broker.policy.orders import level, raise_to
from broker.policy.ramp import Move, at_target, begin, hold, next_move, pools_of, resume, steps
from broker.policy.stewardship import Notes, take_round
from tests.support.capacities import BARE, CAPACITY, order

if TYPE_CHECKING:
    from broker.policy.capacity import Capacity, Raise, Ramp

RAISED = raise_to(CAPACITY, order(), 6.0, ends_ms=1_584_338_500_000)
GOOD = {"feed": PoolWatch(0, verdict="good", text="fine", evidence=1, p95=0.1)}
CIVIL = 1_584_338_400_000


def known(capacity: Capacity) -> Capacity:
    """With a baseline, so that nothing is left to learn."""
    assert capacity.site is not None
    return replace(capacity, site=replace(capacity.site, baseline={"feed": 0.1}))


def ramp(capacity: Capacity) -> Ramp:
    assert capacity.site is not None
    return capacity.site.ramp


def moved(move: Move | None) -> Move:
    assert move is not None
    return move


def breach(times: int) -> dict[str, PoolWatch]:
    return {"feed": PoolWatch(0, verdict="breach", text="slow", evidence=times, breaches=times)}


def test_the_steps_end_exactly_at_the_target() -> None:
    way = begin(1.0, 6.0, factor=1.25, every_ms=60_000, now_ms=5)
    assert [round(scale, 2) for scale in steps(way)] == [
        1.25, 1.56, 1.95, 2.44, 3.05, 3.81, 4.77, 5.96, 6.0,
    ]  # fmt: skip
    assert (way.scale, way.step, way.stepped_ms, way.state) == (1.25, 1, 5, "climbing")
    assert steps(begin(1.0, 4.0, factor=2.0, every_ms=1, now_ms=0)) == [2.0, 4.0]
    assert steps(begin(4.0, 4.0, factor=2.0, every_ms=1, now_ms=0)) == [4.0]


@pytest.mark.parametrize(("start", "factor"), [(1.0, None), (8.0, 1.25)])
def test_now_or_downwards_it_is_one_step(start: float, factor: float | None) -> None:
    way = begin(start, 6.0, factor=factor, every_ms=1, now_ms=0)
    assert (way.scale, way.state, steps(way), at_target(way)) == (6.0, "reached", [6.0], True)


def test_it_climbs_when_the_step_has_lasted_and_proved_itself() -> None:
    capacity = known(RAISED)
    assert next_move(capacity, GOOD, 60_999, CIVIL) is None
    assert next_move(capacity, {}, 61_000, CIVIL) is None
    little = {"feed": replace(GOOD["feed"], verdict="little", evidence=0)}
    assert next_move(capacity, little, 61_000, CIVIL) is None
    move = moved(next_move(capacity, GOOD, 61_000, CIVIL))
    assert (move.action, move.text, move.scope) == ("stepped", "feed: fine", "site")
    assert ramp(move.capacity).scale == pytest.approx(2.25)
    assert ramp(move.capacity).stepped_ms == 61_000


def test_the_last_step_must_prove_itself_too() -> None:
    capacity = known(RAISED)
    now = 1_000
    seen = []
    while ramp(capacity).state == "climbing":
        now += 60_000
        move = moved(next_move(capacity, GOOD, now, CIVIL))
        capacity = move.capacity
        seen.append((move.action, round(ramp(capacity).scale, 2)))
    assert seen == [
        ("stepped", 2.25), ("stepped", 3.38), ("stepped", 5.06), ("stepped", 6.0), ("reached", 6.0),
    ]  # fmt: skip
    assert next_move(capacity, breach(3), now + 60_000, CIVIL) is None


def test_what_was_known_before_becomes_the_baseline_without_an_entry() -> None:
    move = moved(next_move(RAISED, GOOD, 2_000, CIVIL))
    assert move.action == ""
    assert move.capacity.site is not None
    assert move.capacity.site.baseline == {"feed": 0.1}
    assert next_move(move.capacity, GOOD, 2_000, CIVIL) is None
    later = {**GOOD, "wiki": replace(GOOD["feed"], p95=0.3)}
    more = moved(next_move(move.capacity, later, 3_000, CIVIL))
    assert more.capacity.site is not None
    assert more.capacity.site.baseline == {"feed": 0.1, "wiki": 0.3}


def test_one_breach_pauses_and_the_next_good_window_lets_it_go_on() -> None:
    paused = moved(next_move(known(RAISED), breach(1), 32_000, CIVIL))
    assert (paused.action, ramp(paused.capacity).state) == ("paused", "paused")
    assert ramp(paused.capacity).why == "feed: slow"
    assert ramp(paused.capacity).scale == 1.5
    assert next_move(paused.capacity, breach(1), 61_000, CIVIL) is None
    on = moved(next_move(paused.capacity, GOOD, 62_000, CIVIL))
    assert (on.action, ramp(on.capacity).state, ramp(on.capacity).why) == (
        "went on",
        "climbing",
        "",
    )


def test_two_breaches_take_it_back_a_step_and_hold_it() -> None:
    at_two = moved(next_move(known(RAISED), GOOD, 61_000, CIVIL)).capacity
    back = moved(next_move(at_two, breach(2), 121_000, CIVIL))
    assert (back.action, back.text) == ("rolled back", "feed: slow")
    assert ramp(back.capacity).scale == 1.5
    assert (ramp(back.capacity).state, ramp(back.capacity).rolled_back) == ("held", True)
    assert next_move(back.capacity, GOOD, 900_000, CIVIL) is None
    assert hold(back.capacity, "site", "me") is None
    on = moved(resume(back.capacity, "site", 900_000))
    assert (ramp(on.capacity).state, ramp(on.capacity).rolled_back) == ("climbing", False)
    assert ramp(on.capacity).stepped_ms == 900_000
    assert moved(next_move(on.capacity, GOOD, 960_000, CIVIL)).action == "stepped"


def test_the_first_step_goes_back_to_where_it_began() -> None:
    back = moved(next_move(known(RAISED), breach(2), 61_000, CIVIL))
    assert site_scale(back.capacity) == 1.0
    assert in_force(back.capacity, BARE).seats_limit == 60


def test_a_guard_that_only_holds_never_takes_back() -> None:
    assert RAISED.site is not None
    gentle = replace(known(RAISED), site=replace(known(RAISED).site or RAISED.site, guard="hold"))
    paused = moved(next_move(gentle, breach(1), 31_000, CIVIL)).capacity
    assert next_move(paused, breach(2), 61_000, CIVIL) is None
    assert moved(next_move(gentle, breach(2), 61_000, CIVIL)).action == "paused"


def test_an_end_comes_once_and_before_everything_else() -> None:
    assert RAISED.site is not None
    ends = RAISED.site.ends_ms
    assert ends is not None
    assert next_move(known(RAISED), {}, 9_000, ends - 1) is None
    assert next_move(known(RAISED), {}, 9_000, None) is None
    move = moved(next_move(known(RAISED), breach(2), 9_000, ends))
    assert (move.action, move.capacity, move.change) == ("ended", CAPACITY, known(RAISED).site)
    assert next_move(move.capacity, {}, 9_000, ends) is None


def test_at_its_end_the_level_returns_and_never_an_older_raise() -> None:
    over = raise_to(level(CAPACITY, order(factor=None), "elevated"), order(factor=None), 3.0)
    again = raise_to(over, order(factor=None), 6.0, ends_ms=1_584_338_500_000)
    move = moved(next_move(again, {}, 9_000, 1_584_338_500_000))
    assert site_scale(move.capacity) == 2.0


def test_hold_and_resume_by_hand() -> None:
    assert hold(CAPACITY, "site", "me") is None
    assert resume(CAPACITY, "site", 0) is None
    held = moved(hold(RAISED, "site", "held by anna"))
    assert (ramp(held.capacity).state, ramp(held.capacity).why) == ("held", "held by anna")
    assert resume(RAISED, "site", 0) is None


def test_a_pool_raise_is_judged_by_its_pool_alone() -> None:
    capacity = raise_to(CAPACITY, order(), 3.0, pool="wiki")
    assert pools_of(capacity, "wiki") == ("wiki",)
    assert pools_of(capacity, "site") == ("feed", "wiki")
    assert next_move(capacity, breach(2), 61_000, CIVIL) is None


# --- rounds


def answered(count: int, bound: float = 0.1, failed: int = 0) -> Figures:
    buckets = [0] * (len(BOUNDS) + 1)
    buckets[BOUNDS.index(bound)] = count
    return Figures(tuple(buckets), failed)


def test_rounds_learn_before_the_raise_and_judge_after_each_step() -> None:
    capacity, notes = CAPACITY, Notes()
    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(0)})}, 0, CIVIL)
    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(400)})}, 30_000, CIVIL)
    assert move is None
    assert notes.watches["feed"].verdict == "good"

    capacity = raise_to(CAPACITY, order(now_ms=31_000), 6.0)
    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(410)})}, 32_000, CIVIL)
    capacity = moved(move).capacity
    assert capacity.site is not None
    assert capacity.site.baseline["feed"] == pytest.approx(0.09875)
    assert notes.watches["feed"].opened_ms == 32_000  # no window spans a step

    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(900)})}, 62_000, CIVIL)
    assert move is None
    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(950)})}, 91_000, CIVIL)
    assert moved(move).action == "stepped"
    capacity = moved(move).capacity
    notes, move = take_round(notes, capacity, {"w": (0, {"feed": answered(950)})}, 92_000, CIVIL)
    slow = {"w": (0, {"feed": answered(950, 0.1)})}
    slow["w"][1]["feed"] = replace(answered(950), buckets=tuple(
        a + b for a, b in zip(answered(950).buckets, answered(500, 1.0).buckets, strict=True)
    ))  # fmt: skip
    notes, move = take_round(notes, capacity, slow, 122_000, CIVIL)
    assert moved(move).action == "paused"


def test_a_worker_that_fell_silent_makes_a_window_incomplete_and_is_then_left_out() -> None:
    notes, _ = take_round(Notes(), CAPACITY, {"w": (0, {}), "x": (0, {})}, 0, CIVIL)
    late = {"w": (0, {"feed": answered(400)}), "x": (5_000, {"feed": answered(1)})}
    notes, _ = take_round(notes, CAPACITY, late, 30_000, CIVIL)
    assert notes.watches["feed"].verdict == "incomplete"
    gone = {"w": (0, {"feed": answered(800)}), "x": (10_001, {"feed": answered(1)})}
    notes, _ = take_round(notes, CAPACITY, gone, 60_000, CIVIL)
    notes, _ = take_round(notes, CAPACITY, {"w": (0, {"feed": answered(1200)})}, 90_000, CIVIL)
    assert notes.watches["feed"].verdict == "good"


def test_the_uppermost_raise_brings_the_baseline() -> None:
    def based(scope_raise: Raise | None, seconds: float) -> Raise:
        assert scope_raise is not None
        return replace(scope_raise, baseline={"feed": seconds, "wiki": seconds})

    both = raise_to(raise_to(CAPACITY, order(), 6.0), order(), 3.0, pool="feed")
    both = replace(
        both, site=based(both.site, 5.0), pools={"feed": based(both.pools["feed"], 0.05)}
    )
    readings = {"w": (0, {"feed": answered(0), "wiki": answered(0)})}
    notes, _ = take_round(Notes(), both, readings, 2_000, CIVIL)
    readings = {"w": (0, {"feed": answered(400, 1.0), "wiki": answered(400, 1.0)})}
    notes, _ = take_round(notes, both, readings, 32_000, CIVIL)
    assert notes.watches["feed"].verdict == "breach"
    assert notes.watches["wiki"].verdict == "good"
