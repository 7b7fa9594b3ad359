"""The retry budget: a tenth of the requests, a small reserve, a trickle for quiet pools."""

from __future__ import annotations

from broker.policy.retries import COST, MOST, RetryBudget


def emptied(now: float = 0.0) -> RetryBudget:
    budget = RetryBudget(now)
    while budget.spend(now):
        pass
    return budget


def test_the_reserve_is_spent_once() -> None:
    budget = RetryBudget(0.0)
    assert sum(budget.spend(0.0) for _ in range(MOST)) == MOST // COST


def test_ten_requests_pay_for_one_retry() -> None:
    budget = emptied()
    for _ in range(COST - 1):
        budget.request()
    assert not budget.allows(0.0)
    assert not budget.spend(0.0)
    budget.request()
    assert budget.allows(0.0)
    assert budget.spend(0.0)
    assert not budget.spend(0.0)


def test_old_requests_do_not_add_up() -> None:
    budget = RetryBudget(0.0)
    for _ in range(10 * MOST):
        budget.request()
    assert budget.tokens == MOST


def test_a_quiet_pool_gets_one_a_second() -> None:
    budget = emptied(5.0)
    assert not budget.allows(5.99)
    assert budget.allows(6.0)
    assert budget.spend(6.0)
    assert not budget.spend(6.0)
    assert sum(budget.spend(1000.0) for _ in range(MOST)) == MOST // COST


def test_time_in_small_pieces_is_not_lost() -> None:
    budget = emptied()
    asked = [budget.spend(number / 64) for number in range(1, 65)]
    assert asked.count(True) == 1
