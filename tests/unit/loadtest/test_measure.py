"""Histograms, notes that travel, and counts over limits."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.measure import histogram
from loadtest.measure.overlap import GRACE, Change, Use, highest_by_second
from loadtest.measure.overlap import use as use_of
from loadtest.measure.recorder import Holding, Recorder
from loadtest.report.model import Wait

if TYPE_CHECKING:
    from collections.abc import Sequence


@given(st.lists(st.floats(1e-4, 100), min_size=1), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_quantiles_are_within_two_per_cent_of_the_nearest_rank(
    times: list[float], q: float
) -> None:
    buckets: dict[int, int] = {}
    for time in times:
        histogram.add(buckets, {histogram.bucket(time): 1})
    exact = sorted(times)[max(1, math.ceil(q * len(times))) - 1]
    assert histogram.quantile(buckets, q) == pytest.approx(exact, rel=0.021)


def use(changes: Sequence[tuple[float, int]], limit: Sequence[tuple[float, float]]) -> Use:
    return use_of((Change(time, step) for time, step in changes), limit)


def test_nothing_measured_has_no_quantile() -> None:
    assert histogram.quantile({}, 0.5) is None
    assert histogram.quantile({histogram.bucket(0): 1}, 0.5) == pytest.approx(1e-4)


def test_what_two_workers_noted_adds_up_whatever_the_order() -> None:
    workers = [Recorder(), Recorder()]
    for number, worker in enumerate(workers):
        worker.request("page", 100.2 + number, 0.1)
        worker.request("page", 100.9, 0.1)
        worker.count("pages", 100.0, 2)
        worker.failed("502", 105.0 - number, f"example {number}")
        worker.waited(Wait(population="sales", seconds=1, ended="seated"))
        worker.held(Holding(population="sales", began=1, ended=2))
        worker.held(Holding(population="sales", began=2, ended=2))
    taken = [worker.take() for worker in workers]
    one, other = Recorder(), Recorder()
    for text in taken:
        one.merge(text)
    for text in reversed(taken):
        other.merge(text)
    notes = one.notes
    assert notes.latency == other.notes.latency
    assert sum(notes.latency["page"][100].values()) == 3
    assert notes.counts["pages"] == {100: 4}
    assert notes.counts["failures"] == {105: 1, 104: 1}
    assert (notes.failures["502"].count, notes.failures["502"].first_at) == (2, 104.0)
    assert notes.failures["502"].example == other.notes.failures["502"].example == "example 1"
    assert len(notes.waits) == len(notes.holdings) == 2, "an empty holding is none"
    assert workers[0].take() == Recorder().take(), "what was taken is forgotten"


def test_a_step_up_beyond_the_limit_counts_and_others_do_not() -> None:
    limit = [(0.0, 2.0), (10.0, 2.0), (11.0, 1.0), (60.0, 1.0)]
    changes = [(1, 1), (2, 1), (3, 1), (4, -1), (20, 1), (21, -1), (30, -1), (40, 1)]
    found = use(changes, limit)
    # The third of 2 at 3 s, and one that came at 20 s although two were in and one is the limit;
    # not those two who were in when it was lowered. At 40 s one was left: a second is over again.
    assert (found.highest, found.exceeded) == (3, 3)


def test_an_honest_change_of_the_limit_is_never_an_over_admission() -> None:
    raised = [(0.0, 1.0), (1.0, 1.0), (2.0, 5.0)]
    assert use([(1.0, 1), (1.1, 1), (1.2, 1)], raised).exceeded == 0, "seen between two samples"
    lowered = [(0.0, 5.0), (1.0, 1.0), (50.0, 1.0)]
    assert use([(0.1, 1), (1.0 + GRACE / 2, 1)], lowered).exceeded == 0
    assert use([(0.1, 1), (1.1 + GRACE, 1)], lowered).exceeded == 1


def test_what_may_have_been_admitted_before_the_limit_was_lowered_accuses_nobody() -> None:
    limit = [(0.0, 5.0), (10.0, 2.0), (90.0, 2.0)]
    two = [Change(1, 1), Change(2, 1)]
    for since, accused in ((-math.inf, 0), (9.0, 0), (12.5, 1), (None, 1)):
        assert use_of([*two, Change(40, 1, since)], limit).exceeded == accused, since
    # More than was ever allowed is too many, whenever they came.
    six = [Change(40 + n, 1, -math.inf) for n in range(6)]
    assert use_of(six, limit).exceeded == 1


def test_two_that_touch_do_not_overlap_and_without_a_limit_nothing_is_exceeded() -> None:
    assert use([(1, 1), (2, -1), (2, 1), (3, -1)], [(0, 1)]).exceeded == 0
    assert use([(1, 1), (1, 1)], []).exceeded == 0


def test_the_highest_of_each_second_is_drawn() -> None:
    points = use([(0.2, 1), (0.4, 1), (0.6, -1), (2.5, -1)], []).points
    assert highest_by_second(points, 3.0) == [(0, 2), (1, 1), (2, 1), (3, 0)]


@given(st.integers(0, 2**32))
def test_who_never_exceeds_the_limit_is_never_accused(seed: int) -> None:
    """A fair door at changing limits, watched once a second, up to a second late."""
    dice = random.Random(seed)
    limit, inside = 5, 0
    samples: list[tuple[float, float]] = []
    changes: list[tuple[float, int]] = []
    for tick in range(200):
        time = tick / 10
        if tick % 10 == 0:
            if dice.random() < 0.3:
                limit = dice.randrange(0, 9)
            samples.append((time + dice.uniform(0, 0.9), float(limit)))
        if dice.random() < 0.5 and inside < limit:
            inside += 1
            changes.append((time, 1))
        elif dice.random() < 0.5 and inside:
            inside -= 1
            changes.append((time, -1))
    assert use(changes, samples).exceeded == 0
