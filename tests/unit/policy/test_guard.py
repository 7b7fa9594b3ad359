"""Windows: what is a breach, what is good, and what says nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.policy.capacity import GuardRule
from broker.policy.guard import (
    BOUNDS,
    Figures,
    PoolWatch,
    look,
    open_watch,
    quantile,
    slowest_allowed,
)

RULE = GuardRule()
SIZE = len(BOUNDS) + 1


def figures(counts: dict[float, int], *, failed: int = 0, undialled: int = 0) -> Figures:
    """Responses by the bound of their bucket."""
    buckets = [0] * SIZE
    for bound, count in counts.items():
        buckets[BOUNDS.index(bound)] = count
    return Figures(tuple(buckets), failed, undialled)


def window(after: Figures, *, baseline: float | None = None, rule: GuardRule = RULE) -> PoolWatch:
    """One window of one worker that began with nothing."""
    return look(open_watch({"a": Figures()}, 0), {"a": after}, rule, baseline, 30_000)


def test_a_window_that_is_open_is_not_judged() -> None:
    watch = open_watch({"a": Figures()}, 0)
    assert look(watch, {"a": figures({0.1: 900})}, RULE, None, 29_999) is watch


def test_good() -> None:
    watch = window(figures({0.1: 1000}))
    assert (watch.verdict, watch.evidence, watch.breaches) == ("good", 1, 0)
    assert watch.p95 == pytest.approx(0.075 + 0.025 * 0.95)
    assert watch.text == "p95 99 ms over 1000 responses"
    assert watch.opened_ms == 30_000


@pytest.mark.parametrize(
    ("after", "baseline", "text"),
    [
        (figures({0.5: 1000}), 0.1, "p95 495 ms is above 350 ms (100 ms before the raise)"),
        (figures({1.5: 1000}), 0.4, "p95 1475 ms is above 800 ms (400 ms before the raise)"),
        (figures({0.1: 1000}, failed=21), 0.1, "2.1% of 1000 responses are 5xx, more than 2.0%"),
        (
            figures({0.1: 1000}, undialled=11),
            0.1,
            "1.1% of 1011 attempts found no connection, more than 1.0%",
        ),
    ],
)
def test_a_breach_says_its_numbers(after: Figures, baseline: float, text: str) -> None:
    watch = window(after, baseline=baseline)
    assert (watch.verdict, watch.breaches, watch.text) == ("breach", 1, text)


@pytest.mark.parametrize(
    "after",
    [
        figures({0.3: 1000}),  # three times as slow as before, but by less than 250 ms
        figures({0.1: 1000}, failed=20),
        figures({0.1: 1000}, undialled=10),
    ],
)
def test_the_limits_themselves_are_allowed(after: Figures) -> None:
    assert window(after, baseline=0.1).verdict == "good"


def test_what_is_slow_is_no_breach_while_nothing_is_known_of_before() -> None:
    assert window(figures({10.0: 1000})).verdict == "good"
    assert slowest_allowed(RULE, 0.1) == pytest.approx(0.35)
    assert slowest_allowed(RULE, 1.0) == 2.0


def test_too_few_responses_say_nothing() -> None:
    one = window(figures({0.5: 1000}), baseline=0.1)
    two = look(one, {"a": figures({0.5: 1199})}, RULE, 0.1, 60_000)
    assert (two.verdict, two.breaches, two.evidence) == ("little", 1, 1)
    assert two.p95 == one.p95


def test_breaches_count_in_a_row() -> None:
    one = window(figures({0.5: 1000}), baseline=0.1)
    two = look(one, {"a": figures({0.5: 2000})}, RULE, 0.1, 60_000)
    assert two.breaches == 2
    three = look(two, {"a": figures({0.5: 2000, 0.1: 1000})}, RULE, 0.1, 90_000)
    assert (three.verdict, three.breaches, three.evidence) == ("good", 0, 3)


def test_all_workers_count_together_and_a_new_one_from_nothing() -> None:
    begun = open_watch({"a": figures({0.1: 5000})}, 0)
    after = {"a": figures({0.1: 5100}), "b": figures({0.1: 100})}
    assert look(begun, after, RULE, None, 30_000).text == "p95 99 ms over 200 responses"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a": Figures(), "b": Figures()}, {"a": figures({0.1: 1000})}),
        ({"a": Figures()}, {"a": figures({0.1: 1000}), "b": None}),
        ({"a": Figures(), "b": None}, {"a": figures({0.1: 1000}), "b": figures({0.1: 1000})}),
    ],
)
def test_a_worker_that_is_not_known_throughout_makes_it_incomplete(
    before: dict[str, Figures | None], after: dict[str, Figures | None]
) -> None:
    watch = look(open_watch(before, 0), after, RULE, None, 30_000)
    assert (watch.verdict, watch.evidence) == ("incomplete", 0)
    again = {worker: figures({0.1: 3000}) for worker, each in after.items() if each is not None}
    healed = look(watch, again, RULE, None, 60_000)
    assert healed.verdict == ("incomplete" if None in after.values() else "good")


def test_opened_anew_it_keeps_what_it_learnt_of_the_times_only() -> None:
    watch = window(figures({0.5: 1000}), baseline=0.1)
    anew = open_watch({"a": Figures()}, 40_000, before=watch)
    assert anew == PoolWatch(40_000, {"a": Figures()}, whole=True, p95=watch.p95)


def test_quantiles() -> None:
    assert quantile(figures({0.1: 1}).buckets, 0.95) == pytest.approx(0.09875)
    beyond = replace(Figures(), buckets=(0,) * len(BOUNDS) + (5,))
    assert quantile(beyond.buckets, 0.95) == 30.0
    assert quantile(figures({0.001: 10}).buckets, 0.5) == pytest.approx(0.0005)
