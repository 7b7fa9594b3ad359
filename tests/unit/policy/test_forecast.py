"""How long a wait is said to be: the arithmetic, and how often it is right."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest

from broker.policy.forecast import (
    STRETCH_MS,
    STRETCHES,
    Estimate,
    Flow,
    _beta_prime,
    estimate,
    measure,
    stretch_of,
)

NOW = 1_000_000


def stretches(*counts: int) -> dict[int, int]:
    """Calls by stretch, the latest last; all over before NOW."""
    return {NOW - len(counts) + index: count for index, count in enumerate(counts)}


def test_the_flow_is_what_was_called_while_somebody_waited() -> None:
    assert stretch_of(NOW * STRETCH_MS + 9_999) == NOW
    flow = measure(stretches(1, 2, 1, 2, 1, 2), NOW)
    assert flow == Flow(9, 60.0, 1.0)
    apart = {NOW - 50: 1, NOW - 49: 2, NOW - 20: 1, NOW - 19: 2, NOW - 5: 1, NOW - 1: 2}
    assert measure(apart, NOW) == flow, "nobody waited in between"


def test_the_stretch_of_now_and_those_long_past_do_not_count() -> None:
    calls = stretches(2, 2, 2) | {NOW: 1, NOW - STRETCHES - 1: 9, NOW + 1: 9}
    assert measure(calls, NOW) == Flow(6, 30.0)


@pytest.mark.parametrize(
    "counts",
    [
        (),
        (0, 0, 0),
        (1, 1, 1),  # three calls are no ground
        (3, 3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0),  # it has come to a halt
        (0, 0, 0, 0, 0, 300),  # one raise is no flow
    ],
)
def test_without_ground_nothing_is_said(counts: tuple[int, ...]) -> None:
    assert measure(stretches(*counts), NOW) is None
    assert estimate(None, 5) is None


def test_all_that_is_looked_at_may_be_silent_after_a_flow() -> None:
    assert measure(stretches(*[40] * 20, *[0] * 6), NOW) is None


def test_the_present_counts_when_there_is_enough_of_it() -> None:
    """A raise has gone by: what is measured is what came after it."""
    flow = measure(stretches(*[1] * 20, 500, *[10] * 6), NOW)
    assert flow == Flow(60, 60.0)


def test_swarms_widen_the_range() -> None:
    calm = estimate(Flow(100, 600.0, 1.0), 50)
    swarms = estimate(Flow(100, 600.0, 10.0), 50)
    assert calm is not None
    assert swarms is not None
    assert swarms.p90 - swarms.p50 > 2 * (calm.p90 - calm.p50)


def test_more_places_are_a_longer_wait_and_times_are_told_in_round_numbers() -> None:
    flow = Flow(60, 600.0)
    told = [estimate(flow, place) for place in (1, 5, 20, 100, 1000)]
    assert all(each is not None for each in told)
    p90s = [each.p90 for each in told if each is not None]
    assert p90s == sorted(p90s)
    assert estimate(Flow(600, 60.0), 1) == Estimate(5, 5)
    assert all(p90 % 60 == 0 for p90 in p90s if 90 < p90 <= 1800)
    assert all(p90 % 300 == 0 for p90 in p90s if p90 > 1800)


def test_longer_than_a_session_is_not_foreseen() -> None:
    assert estimate(Flow(60, 600.0), 3000) is not None
    assert estimate(Flow(60, 600.0), 80_000) is None


@pytest.mark.parametrize("k", [1, 3, 40])
@pytest.mark.parametrize("n", [4, 12, 300])
def test_the_quantiles_are_those_of_the_distribution(k: int, n: int) -> None:
    chance = random.Random(k * n)
    drawn = sorted(chance.gammavariate(k, 1) / chance.gammavariate(n, 1) for _ in range(20_000))
    for quantile, z in ((0.5, 0.0), (0.9, 1.2815515655446004)):
        assert _beta_prime(k, n, z) == pytest.approx(drawn[int(quantile * 20_000)], rel=0.06)


def waits(chance: random.Random, rate: float, swarm: int, place: int) -> tuple[bool, bool] | None:
    """One history of a steady flow: whether the wait of ``place`` ended by p50 and by p90."""
    looked_back = STRETCHES * STRETCH_MS / 1000
    now_ms = NOW * STRETCH_MS + chance.randrange(STRETCH_MS)
    now = looked_back + (now_ms - NOW * STRETCH_MS) / 1000
    needed = place // swarm + 1
    gaps = (chance.expovariate(rate / swarm) for _ in iter(int, 1))
    calls = dict.fromkeys(range(NOW - STRETCHES, NOW), 0)
    after: list[float] = []
    for moment in accumulate(gaps):
        if moment >= now:
            after.append(moment - now)
            if len(after) == needed:
                break
        elif moment < looked_back:
            calls[NOW - STRETCHES + int(moment * 1000 / STRETCH_MS)] += swarm
    told = estimate(measure(calls, NOW), place)
    if told is None:
        return None
    wait = after[(place - 1) // swarm]
    return wait <= told.p50, wait <= told.p90


@pytest.mark.parametrize(
    ("rate", "swarm", "place"),
    [
        (0.02, 1, 1), (0.05, 1, 5), (0.05, 1, 50), (0.5, 1, 30), (0.5, 1, 500),
        (0.1, 5, 20), (1.0, 5, 20), (1.0, 50, 120),
    ],
)  # fmt: skip
def test_nine_of_ten_are_admitted_by_the_p90_shown(rate: float, swarm: int, place: int) -> None:
    """Steady flows, calls one by one or in swarms. A little more than 90 % is right: times are
    rounded up."""
    chance = random.Random(f"{rate} {swarm} {place}")
    told = [seen for _ in range(500) if (seen := waits(chance, rate, swarm, place)) is not None]
    assert len(told) > 350, "an estimate is given where there is ground for one"
    half, nine = (sum(kept) / len(told) for kept in zip(*told, strict=True))
    assert 0.87 <= nine <= 0.98
    assert 0.38 <= half <= 0.75
