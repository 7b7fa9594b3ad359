"""When there is an answer, what it is; and when the data cannot carry one."""

from __future__ import annotations

import math
from dataclasses import replace

import msgspec
import pytest

from broker.scaling.answer import Answer, answer, answers, levels
from broker.scaling.chart import svg
from broker.scaling.law import Law
from broker.scaling.words import about, as_json, breaks_first
from tests.support.step_loads import step_load

LAW = Law(20.0, 0.03, 0.0004)  # its knee lies at 18.7
SLOWER = Law(20.0, 0.08, 0.0)  # at 11.5


def only_reason(found: Answer) -> str:
    assert not found.answered
    assert found.safe == 0.0
    (reason,) = found.refused
    assert about(found, 6.0) == [f"No answer: {reason}."]
    return reason


def test_safe_is_the_lower_end_of_the_knee() -> None:
    found = answer("feed", step_load(LAW), base=4.0)
    assert found.answered
    assert found.fit is not None
    assert found.safe == found.fit.knee.low < LAW.knee()
    assert found.safe_scale == found.safe / 4.0
    words = " ".join(about(found, 6.0))
    assert "take turns at one thing" in words
    assert "add servers" in words
    assert "95% confidence" in words
    assert "is safe with what is there" in " ".join(about(found, 2.0))


def test_pairs_that_hinder_each_other_are_told_from_a_queue() -> None:
    found = answer("feed", step_load(Law(20.0, 0.0, 0.002)), base=4.0)
    words = " ".join(about(found, 6.0))
    assert "hinder each other in pairs" in words
    assert "more servers make it worse" in words
    assert "there is less of it" in words


def test_too_few_loads() -> None:
    assert "4 different loads" in only_reason(answer("feed", step_load(LAW, (1, 8, 32, 96))))


def test_loads_too_close_together() -> None:
    assert "begin lower or go higher" in only_reason(
        answer("feed", step_load(LAW, (20, 24, 29, 35, 42, 50)))
    )


def test_no_saturation_seen() -> None:
    reason = only_reason(answer("feed", step_load(LAW, (1, 2, 3, 4, 6, 8))))
    assert "no saturation was seen" in reason
    assert "higher loads" in reason


def test_a_knee_known_too_vaguely() -> None:
    reasons = {
        only_reason(found)
        for seed in range(20)
        for found in [answer("feed", step_load(LAW, (2, 4, 8, 16, 32, 48), noise=0.12, seed=seed,
                                               per_level=1))]
        if not found.answered
    }  # fmt: skip
    assert any("too wide to act on" in reason for reason in reasons)


def test_a_load_that_was_not_steady() -> None:
    assert "scatters by" in only_reason(answer("feed", step_load(LAW, noise=0.4, per_level=4)))


def test_websockets_counted_as_load_contradict_littles_law() -> None:
    counted = [
        msgspec.structs.replace(step, in_flight=step.in_flight + 300.0 * step.in_flight)
        for step in step_load(LAW)
    ]
    assert "Little's law" in only_reason(answer("feed", counted))


def test_errors_are_left_out_and_bound_what_is_safe() -> None:
    late = answer("feed", step_load(LAW, errors_from=64.0))
    assert late.left_out == 6
    assert late.errors_from == pytest.approx(64.0)
    assert late.answered
    assert late.fit is not None
    assert late.safe == late.fit.knee.low
    many = (1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 48.0, 96.0)
    refusing = [
        msgspec.structs.replace(step, errors=round(step.ended / 4))
        if step.in_flight == 12
        else step
        for step in step_load(LAW, many)
    ]
    early = answer("feed", refusing)
    assert early.answered
    assert early.safe < 12.0
    assert "before the knee" in " ".join(about(early, 6.0))


def test_what_is_idle_or_hardly_used_says_nothing() -> None:
    idle = [msgspec.structs.replace(step, seconds=0.1) for step in step_load(LAW)]
    assert answer("feed", idle).points == ()
    sparse = answer("feed", step_load(LAW, (0.3, 0.5, 0.6, 0.8, 0.9, 2.0)))
    assert sparse.points == tuple(point for point in sparse.points if point[0] == 2.0)
    assert "1 different loads" in only_reason(sparse)


def test_the_tightest_pool_comes_first() -> None:
    loads = {"feed": step_load(LAW), "wiki": step_load(SLOWER), "portal": step_load(LAW, (1, 2))}
    without = answers(loads, {})
    assert [each.pool for each in without] == ["wiki", "feed", "portal"]
    assert "wiki breaks first, in the mix of this run" in breaks_first(without)
    assert "Of portal nothing is known" in breaks_first(without)
    known = answers(loads, {"feed": 6.0, "wiki": 1.0})
    assert [each.pool for each in known] == ["feed", "wiki", "portal"]
    assert breaks_first(known).startswith("feed breaks first: beyond 2.")
    assert breaks_first(answers({"portal": step_load(LAW, (1, 2))}, {})).startswith("No pool's")


def test_the_json_has_no_infinity() -> None:
    found = answers({"feed": step_load(Law(20.0, 0.0, 0.0)), "wiki": step_load(SLOWER)}, {})
    encoded = msgspec.json.decode(msgspec.json.encode(as_json(found, 6.0)))
    assert encoded["breaks_first"] == "wiki"
    assert encoded["pools"]["feed"]["safe_in_flight"] is None
    assert encoded["pools"]["feed"]["fit"]["knee"][2] is None
    assert math.isfinite(encoded["pools"]["wiki"]["safe_in_flight"])


def test_levels() -> None:
    assert levels([8.0, 1.0, 1.1, 8.5]) == [1.05, 8.25]
    assert levels([]) == []


def test_the_chart_draws_what_was_fitted() -> None:
    found = answers({"feed": step_load(LAW), "a<b": step_load(SLOWER), "x": []}, {})
    text = svg(found)
    assert text.count("<circle") == len(found[0].points) + len(found[1].points)
    assert "a&lt;b" in text
    assert "nan" not in text
    assert svg([]).startswith("<svg")
    assert "no answer" in svg([replace(found[0], refused=("so",))])
