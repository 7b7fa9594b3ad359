"""The arithmetic of seats: limits, maxima, guarantees and what of them is lent."""

from __future__ import annotations

import pytest

from broker.policy.limits import LimitsDocument
from broker.policy.seats import (
    guarantee,
    is_owner,
    may_take,
    never_lent,
    not_lent_now,
    reclaimable,
    shortage,
)
from broker.policy.shares import PopulationLimits


def document(limit: int, **populations: PopulationLimits) -> LimitsDocument:
    return LimitsDocument(1, "d", 1.0, limit, 0, populations, {})


def population(
    guaranteed: int = 0, lendable: float = 1.0, maximum: int = 100, admitted: bool = True
) -> PopulationLimits:
    return PopulationLimits(admitted, maximum, guaranteed, lendable)


def test_the_site_limit_bounds_all_together() -> None:
    limits = document(3, a=population(), b=population())
    assert may_take(limits, {"a": 1, "b": 1}, "a")
    assert not may_take(limits, {"a": 1, "b": 2}, "a")


def test_seats_of_populations_no_longer_in_the_document_count_too() -> None:
    limits = document(3, a=population())
    assert shortage(limits, {"a": 1, "gone": 2}, "a") == 1


def test_a_population_never_exceeds_its_maximum() -> None:
    limits = document(10, a=population(maximum=2))
    assert may_take(limits, {"a": 1}, "a")
    assert shortage(limits, {"a": 2}, "a") == 1
    assert shortage(limits, {"a": 5}, "a") == 4


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (document(3, a=population(admitted=False)), "a"),
        (document(3, a=population()), "unknown"),
        (document(3, a=population(maximum=0)), "a"),
        (document(0, a=population()), "a"),
    ],
)
def test_where_no_return_would_help_there_is_no_shortage_to_tell(
    limits: LimitsDocument, name: str
) -> None:
    assert shortage(limits, {}, name) is None
    assert not may_take(limits, {}, name)


def test_a_borrower_leaves_free_what_is_not_lent() -> None:
    limits = document(10, a=population(), b=population(guaranteed=4, lendable=0.5))
    assert may_take(limits, {"a": 7}, "a")
    assert not may_take(limits, {"a": 8}, "a")
    # b uses 2 of its 4: of the other 2 one is lent
    assert may_take(limits, {"a": 6, "b": 2}, "a")
    assert not may_take(limits, {"a": 7, "b": 2}, "a")


def test_a_guarantee_that_is_fully_lendable_serves_others_while_unused() -> None:
    limits = document(10, a=population(), b=population(guaranteed=4))
    assert may_take(limits, {"a": 9}, "a")
    assert shortage(limits, {"a": 10}, "b") == 1  # and comes back with the next seat


def test_what_is_never_lent_is_at_hand_at_once() -> None:
    limits = document(10, a=population(), b=population(guaranteed=4, lendable=0.0))
    assert not may_take(limits, {"a": 6}, "a")
    assert all(may_take(limits, {"a": 6, "b": taken}, "b") for taken in range(4))


def test_an_owner_does_not_take_what_another_never_lends() -> None:
    limits = document(
        10,
        a=population(guaranteed=5, lendable=1.0),
        b=population(guaranteed=5, lendable=0.0),
        c=population(),
    )
    assert may_take(limits, {"a": 2, "c": 2}, "a")
    assert not may_take(limits, {"a": 3, "c": 2}, "a")  # c holds what a lent; b's is not touched
    assert may_take(limits, {"a": 3, "c": 2, "b": 4}, "b")


def test_reservations_of_two_owners_never_block_a_free_seat() -> None:
    limits = document(
        12,
        a=population(guaranteed=5, lendable=0.5),
        b=population(guaranteed=5, lendable=0.5),
        c=population(),
    )
    held = {"a": 1, "b": 1, "c": 8}
    assert may_take(limits, held, "a")
    assert may_take(limits, held, "b")
    assert not may_take(limits, held, "c")


def test_a_population_that_is_not_admitted_reserves_nothing() -> None:
    closed = population(guaranteed=5, lendable=0.0, admitted=False)
    assert guarantee(closed) == 0
    assert may_take(document(5, a=population(), b=closed), {"a": 4}, "a")


def test_a_guarantee_is_worth_no_more_than_the_maximum() -> None:
    small = population(guaranteed=5, maximum=2, lendable=0.0)
    assert guarantee(small) == 2
    assert (never_lent(small, 1), not_lent_now(small, 1)) == (1, 1)
    assert (never_lent(small, 3), not_lent_now(small, 3)) == (0, 0)


def test_owner_and_borrower() -> None:
    limits = document(5, a=population(guaranteed=2), b=population())
    assert is_owner(limits, {"a": 1}, "a")
    assert not is_owner(limits, {"a": 2}, "a")
    assert not is_owner(limits, {}, "b")
    assert not is_owner(limits, {}, "unknown")


def test_a_seat_is_reclaimable_when_idle_for_longer_than_the_idle_time() -> None:
    limits = document(1, a=population())
    assert not reclaimable(limits, 0, limits.idle_ms)
    assert reclaimable(limits, 0, limits.idle_ms + 1)
