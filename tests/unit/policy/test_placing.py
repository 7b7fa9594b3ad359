"""Sticky sessions: even by weight, the same everywhere, and only those that must move do."""

from __future__ import annotations

from collections import Counter

from broker.policy.placing import order

THREE = (("a", 1.0), ("b", 1.0), ("c", 2.0))
SESSIONS = [f"session-{number}" for number in range(4000)]


def test_sessions_spread_by_weight() -> None:
    homes = Counter(order(each, THREE)[0] for each in SESSIONS)
    for index, expected in enumerate((1000, 1000, 2000)):
        assert abs(homes[index] - expected) < 0.1 * expected


def test_a_server_that_leaves_moves_its_own_sessions_only() -> None:
    for session in SESSIONS[:500]:
        names = [THREE[index][0] for index in order(session, THREE)]
        left = [each for each in THREE if each[0] != "b"]
        assert [left[index][0] for index in order(session, left)] == [n for n in names if n != "b"]


def test_the_order_of_the_configuration_does_not_matter() -> None:
    turned = THREE[::-1]
    for session in SESSIONS[:500]:
        here = [THREE[index][0] for index in order(session, THREE)]
        assert here == [turned[index][0] for index in order(session, turned)]
