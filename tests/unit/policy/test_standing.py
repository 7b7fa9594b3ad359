"""Places from marks, and the interval between polls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.standing import (
    CALLED_POLL,
    EVERY_RANK,
    JITTER,
    LONGEST_POLL,
    SHORTEST_POLL,
    marked_ranks,
    poll_seconds,
    position,
)


def marks_of(numbers: list[int]) -> list[tuple[int, int]]:
    return [(rank, numbers[rank]) for rank in marked_ranks(len(numbers))]


def test_a_long_queue_has_few_marks_and_a_short_one_has_all() -> None:
    assert list(marked_ranks(0)) == []
    assert list(marked_ranks(1)) == [0]
    assert list(marked_ranks(EVERY_RANK)) == list(range(EVERY_RANK))
    long = list(marked_ranks(80_000))
    assert len(long) < 120
    assert long[-1] == 79_999
    assert long == sorted(set(long))


@given(st.integers(1, 3000), st.integers(0, 10**13))
def test_where_nobody_left_every_place_is_exact(count: int, first: int) -> None:
    numbers = list(range(first, first + count))
    marks = marks_of(numbers)
    assert [position(marks, count, number) for number in numbers] == list(range(1, count + 1))


@given(st.sets(st.integers(1, 4000), min_size=1, max_size=600))
def test_a_place_is_never_too_good_and_exact_among_the_first(present: set[int]) -> None:
    numbers = sorted(present)
    marks = marks_of(numbers)
    for place, number in enumerate(numbers, 1):
        told = position(marks, len(numbers), number)
        assert told >= place
        if place <= EVERY_RANK:
            assert told == place
        following = next(rank for rank, _ in marks if rank + 1 >= place)
        assert told <= following + 1  # off by no more than the distance of two marks


def test_tickets_beside_the_queue_that_was_marked() -> None:
    marks = marks_of([10, 11, 14])
    assert position(marks, 3, 4) == 1  # came back, before all of them
    assert position(marks, 3, 12) == 3  # came back between two
    assert position(marks, 3, 15) == 4  # came since
    assert position(marks, 3, 17) == 6
    assert position([], 0, 7) == 1


def test_polls_become_more_frequent_as_the_call_comes_near() -> None:
    told = [poll_seconds(None, p50) for p50 in (7200, 300, 60, 5)]
    assert told == sorted(told, reverse=True)
    assert told[0] == LONGEST_POLL
    assert told[-1] == SHORTEST_POLL
    places = [poll_seconds(place, None) for place in (80_000, 50, 1)]
    assert places == sorted(places, reverse=True)
    assert poll_seconds(None, None) in range(SHORTEST_POLL + 1, LONGEST_POLL)


def test_with_jitter_no_poll_is_later_than_45_seconds() -> None:
    assert pytest.approx(45) == LONGEST_POLL * (1 + JITTER)
    assert CALLED_POLL < SHORTEST_POLL
