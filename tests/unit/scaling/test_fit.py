"""The fit against synthetic step loads with known parameters: does the interval hold the truth?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.scaling.fit import Fit, fit
from broker.scaling.law import Law
from tests.support.step_loads import LEVELS, step_load

REPEATS = 100


def fitted(law: Law, **how: float) -> Fit:
    load = step_load(law, **how)  # type: ignore[arg-type]
    return fit([s.in_flight for s in load], [s.per_second for s in load], len(LEVELS))


@pytest.mark.parametrize(
    "law",
    [Law(20.0, 0.03, 0.0004), Law(20.0, 0.1, 0.0), Law(20.0, 0.0, 0.001)],
    ids=["both", "contention", "coherency"],
)
def test_the_intervals_cover_the_truth(law: Law) -> None:
    """95 of 100 should; 88 to 100 is what chance allows of a hundred (binomial, 1 in 500)."""
    held = {"knee": 0, "contention": 0, "coherency": 0}
    for seed in range(REPEATS):
        found = fitted(law, seed=seed)
        held["knee"] += found.knee.low <= law.knee() <= found.knee.high
        held["contention"] += found.contention.low <= law.contention <= found.contention.high
        held["coherency"] += found.coherency.low <= law.coherency <= found.coherency.high
    assert min(held.values()) >= 88, held
    # Not because they hold everything.
    assert found.knee.high < 1.5 * found.knee.low


def test_intervals_that_are_alike_count_for_less() -> None:
    """Six in a row that go astray together: taken for independent, they would promise too much."""
    law = Law(20.0, 0.03, 0.0004)
    held = sum(
        found.knee.low <= law.knee() <= found.knee.high
        for seed in range(REPEATS)
        for found in [fitted(law, seed=seed, per_level=6, alike=0.6)]
    )
    assert held >= 85
    assert fitted(law, per_level=6, alike=0.6).points < 30
    assert fitted(law, per_level=6).points > 30


def test_without_noise_the_truth_is_found() -> None:
    law = Law(12.0, 0.02, 0.0003)
    found = fitted(law, noise=0.0)
    assert found.law.alone == pytest.approx(law.alone, rel=1e-3)
    assert found.law.contention == pytest.approx(law.contention, rel=1e-2)
    assert found.law.coherency == pytest.approx(law.coherency, rel=1e-2)
    assert found.knee.low == pytest.approx(found.knee.high, rel=0.01)
    assert found.scatter < 1e-4


def test_a_straight_line_has_no_knee() -> None:
    found = fitted(Law(20.0, 0.0, 0.0))
    assert found.knee.high == math.inf
    assert found.contention.low == found.coherency.low == 0.0


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1e5), st.floats(0.01, 1e5)),
        min_size=4,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_measured_the_intervals_hold_the_best(
    points: list[tuple[float, float]],
) -> None:
    found = fit([n for n, _ in points], [x for _, x in points], len(points))
    law = found.law
    assert found.contention.low <= law.contention <= found.contention.high
    assert found.coherency.low <= law.coherency <= found.coherency.high
    assert found.knee.low <= law.knee() or law.knee() < 1.0
    assert law.knee() <= found.knee.high


@pytest.mark.parametrize(
    ("n", "x"), [([1, 2, 3], [1, 2, 3]), ([1, 2, 3, 0], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 2, 3])]
)
def test_too_few_or_none_above_nothing(n: list[float], x: list[float]) -> None:
    with pytest.raises(ValueError, match="four points"):
        fit(n, x, 3)


def test_figures_that_say_next_to_nothing_bound_nothing() -> None:
    """Few and wild ones: an interval without an upper end, not a failure."""
    ends = {
        fitted(Law(20.0, 0.1, 0.0), seed=seed, per_level=1, noise=1.5).knee.high
        for seed in range(40)
    }
    assert math.inf in ends
