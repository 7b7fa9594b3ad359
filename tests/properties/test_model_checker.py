"""Every order of events in small worlds: grants never exceed a limit in force and never leak.

The checker explores the production code of both sides, and finds it out as soon as one of its rules
is left out: a checker that could not would prove nothing.
"""

from __future__ import annotations

import pytest

from tests.support.explore import explore
from tests.support.grant_mutations import RULES_LEFT_OUT
from tests.support.grant_world import Bounds

SOUND = {
    "messages late, in any order, twice": Bounds(syncs=3, doubles=1),
    "limits lowered and raised": Bounds(limits=(2, 1, 2), syncs=3),
    "a worker crashes": Bounds(crashes=1, syncs=3),
    "three workers": Bounds(workers=3, syncs=2, in_flight=1),
    "two cells": Bounds(cells=2, demand=1, syncs=2, in_flight=1),
    "redis forgets all": Bounds(limits=(1,), demand=1, in_flight=1, syncs=2, forgets_all=1),
    "redis forgets its last writes": Bounds(
        limits=(1,), demand=1, in_flight=1, syncs=3, doubles=1, forgets_last=1
    ),
    "leases lapse, the clock of redis jumps": Bounds(
        limits=(1,), demand=1, in_flight=1, syncs=1, steps=6, jumps=1
    ),
}


@pytest.mark.parametrize("scenario", SOUND)
def test_no_step_exceeds_a_limit_and_nothing_leaks(scenario: str) -> None:
    found = explore(SOUND[scenario], most=9_000)
    assert found.violation is None, found.violation
    # Those that do not end within the bound have at least been searched that far, breadth first.
    assert found.complete or found.states == 9_000


_MESSAGES = Bounds(limits=(1,), demand=1, syncs=3, doubles=1)
_LAST_WRITES = Bounds(limits=(1,), demand=1, in_flight=1, syncs=2, doubles=1, forgets_last=1)

EXPOSED_BY = {
    "debit before reporting": _MESSAGES,
    "only the latest sequence number": _MESSAGES,
    "caps are absolute": Bounds(syncs=3),
    "late reports change nothing": _MESSAGES,
    "what is in use stays booked": Bounds(workers=3, syncs=2, in_flight=1),
    "learn in a new epoch": Bounds(limits=(1,), demand=1, in_flight=1, syncs=2, forgets_all=1),
    "an old epoch's report is not this one's": _LAST_WRITES,
    "learn from every worker": Bounds(limits=(1,), demand=1, in_flight=1, syncs=2, forgets_last=1),
    "learn for the longest lease": Bounds(
        limits=(1,), demand=1, in_flight=1, syncs=2, forgets_all=1
    ),
    "reclaim only from the dead": Bounds(limits=(1,), demand=1, in_flight=1, syncs=2),
    "stop before the lease ends": SOUND["leases lapse, the clock of redis jumps"],
}


def test_every_rule_has_a_mutation() -> None:
    assert set(EXPOSED_BY) == set(RULES_LEFT_OUT)


@pytest.mark.parametrize("rule", EXPOSED_BY)
def test_leaving_a_rule_out_is_found(rule: str) -> None:
    found = explore(EXPOSED_BY[rule], RULES_LEFT_OUT[rule], most=60_000, settle_every=10**9)
    assert found.violation is not None
    assert "held together" in found.violation
