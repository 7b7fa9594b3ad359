"""Ejection of failing servers: in a row, growing pauses, never the last, a slow return."""

from __future__ import annotations

import pytest

from broker.policy.ejection import LEAST_SHARE, EjectionRule, Standing, can_spare

RULE = EjectionRule(failures=3, pause=10.0, longest=35.0, slow_start=20.0)


def fail(standing: Standing, now: float, times: int = 1, *, others: bool = True) -> list[bool]:
    return [standing.failed(now, RULE, spared=others) for _ in range(times)]


def test_failures_in_a_row_eject_and_a_success_between_them_does_not() -> None:
    standing = Standing()
    assert fail(standing, 0.0, 2) == [False, False]
    standing.succeeded()
    assert fail(standing, 0.0, 3) == [False, False, True]
    assert standing.is_out(9.99)
    assert not standing.is_out(10.0)


def test_what_was_under_way_counts_once() -> None:
    standing = Standing()
    fail(standing, 0.0, 3)
    assert fail(standing, 5.0, 9) == [False] * 9
    assert not standing.is_out(10.0)


def test_the_last_one_stays_and_goes_as_soon_as_there_are_others() -> None:
    standing = Standing()
    assert not any(fail(standing, 0.0, 50, others=False))
    assert not standing.is_out(0.0)
    assert fail(standing, 1.0) == [True]


def test_pauses_double_up_to_the_longest() -> None:
    standing = Standing()
    fail(standing, 0.0, 2)
    now, pauses = 0.0, []
    for _ in range(4):
        assert fail(standing, now) == [True]  # on trial: one failure is enough
        until = next(now + each for each in range(1, 100) if not standing.is_out(now + each))
        pauses.append(until - now)
        now = until
    assert pauses == [10, 20, 35, 35]


def test_a_server_that_held_out_begins_anew() -> None:
    standing = Standing()
    fail(standing, 0.0, 3)
    fail(standing, 10.0)  # until 30
    standing.succeeded()
    assert fail(standing, 50.01, 3) == [False, False, True]
    assert not standing.is_out(60.02)


@pytest.mark.parametrize(
    ("after", "share"), [(0.0, LEAST_SHARE), (10.0, 0.5), (19.0, 0.95), (20.0, 1.0), (99.0, 1.0)]
)
def test_its_share_grows_from_its_return(after: float, share: float) -> None:
    standing = Standing()
    assert standing.share(0.0, RULE) == 1.0
    fail(standing, 0.0, 3)
    assert standing.share(10.0 + after, RULE) == pytest.approx(share)


def test_a_return_after_a_health_check_is_slow_too_but_ends_no_ejection() -> None:
    standing = Standing()
    standing.returned(100.0)
    assert standing.share(110.0, RULE) == 0.5
    fail(standing, 110.0, 3)
    standing.returned(111.0)
    assert standing.is_out(119.0)
    assert standing.share(130.0, RULE) == 0.5


def test_no_slow_start() -> None:
    standing = Standing()
    standing.returned(1.0)
    rule = EjectionRule(failures=1, pause=10.0, slow_start=0.0)
    assert standing.share(1.0, rule) == 1.0
    assert standing.failed(2.0, rule, spared=True)
    assert standing.share(3.0, rule) == LEAST_SHARE  # it is out, and others are chosen among
    assert standing.share(12.0, rule) == 1.0


@pytest.mark.parametrize(
    ("left", "able", "spared"),
    [(0, 1, False), (1, 2, True), (2, 3, True), (1, 3, False), (2, 4, True), (1, 4, False)],
)
def test_half_of_a_pool_stays(left: int, able: int, spared: bool) -> None:
    assert can_spare(left, able) is spared
