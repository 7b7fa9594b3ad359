"""Every order of events in small sites: the invariants of seats, tickets and levels, step by step.

Workers ask, poll, sync, crash; replies are lost; limits are raised, lowered, end; Redis forgets all
or its last writes. The checker explores production code, and finds it out as soon as one of its
rules is left out. See ``tests/support/seat_site.py`` for what is modelled.
"""

from __future__ import annotations

import pytest

from tests.support.explore import explore_site
from tests.support.seat_mutations import RULES_LEFT_OUT
from tests.support.seat_site import Bounds

MOST = 1_500

SOUND = {
    "called, claimed, absent, lost": Bounds(asks=4, polls=1, leaves=1, syncs=2, steps=2),
    "replies are lost": Bounds(asks=3, losses=2, leaves=1, syncs=3, steps=2),
    "raised and lowered": Bounds(asks=2, raises=1, lowers=1, leaves=1, syncs=3, steps=2),
    "lowered under people": Bounds(
        scale=2, seated=2, waiting=1, lowers=1, leaves=2, asks=3, syncs=2, steps=2
    ),
    "a worker crashes": Bounds(waiting=2, crashes=1, asks=3, leaves=1, syncs=3, steps=2),
    "a level opens and closes": Bounds(people=2, opens=2, asks=4, polls=1, syncs=2, steps=1),
    "a raise ends": Bounds(people=2, raises=1, ends=3, syncs=3, asks=1, steps=1),
    "redis forgets all": Bounds(waiting=2, forgets_all=1, asks=3, syncs=5, steps=3),
    "redis forgets its last writes": Bounds(waiting=1, forgets_last=1, leaves=1, asks=3, syncs=5),
    "redis forgets a lowering": Bounds(
        people=2, workers=1, scale=2, lowers=1, forgets_last=1, asks=1, syncs=5
    ),
}


@pytest.mark.parametrize("scenario", SOUND)
def test_no_step_breaks_an_invariant_and_all_is_well_at_rest(scenario: str) -> None:
    found = explore_site(SOUND[scenario], most=MOST)
    assert found.violation is None, found.violation
    # Those that do not end within the bound have at least been searched that far, breadth first.
    assert found.complete or found.states == MOST


# The invariant that is broken, and a site small enough to show it soon.
EXPOSED_BY = {
    "no seat above the limit": ("1:", Bounds(asks=1, syncs=0)),
    "a place survives an epoch": (
        "6:", Bounds(waiting=2, forgets_all=1, asks=1, syncs=2)
    ),
    "a ticket is put back once": (
        "3:", Bounds(waiting=1, workers=2, forgets_last=1, asks=2, leaves=1, syncs=3)
    ),
    "a ticket is called once": (
        "called twice", Bounds(waiting=2, workers=1, leaves=1, raises=1, asks=0, syncs=0)
    ),
    "lowering evicts nobody": ("4:", Bounds(scale=2, seated=2, lowers=1)),
    "an absent ticket keeps its number": (
        "6:", Bounds(waiting=2, workers=1, asks=1, syncs=1, steps=2)
    ),
    "an unclaimed seat is freed": ("5:", Bounds(waiting=2, workers=1, leaves=1, asks=1, steps=2)),
    "only idle seats are reclaimed": ("1:", Bounds(waiting=1)),
    "whatever comes back calls": ("5:", Bounds(waiting=1, leaves=1)),
    "first come, first served": ("6:", Bounds(waiting=2, leaves=1)),
    "what was held is written back": ("4:", Bounds(forgets_all=1, workers=1, asks=1, syncs=3)),
    "nobody new while learning": ("1:", Bounds(forgets_all=1, asks=1, syncs=3)),
    "learn from every worker": ("1:", Bounds(people=2, seated=0, forgets_last=1, asks=2, syncs=2)),
    "trust ends before the idle time": ("1:", Bounds(waiting=1, asks=2, syncs=2, steps=2)),
    "an end is compare-and-set": (
        "8:", Bounds(people=1, raises=1, ends=2, asks=0, syncs=2, steps=1)
    ),
    "newer limits are written back": ("1:", SOUND["redis forgets a lowering"]),
}  # fmt: skip


def test_every_rule_has_a_mutation() -> None:
    assert set(EXPOSED_BY) == set(RULES_LEFT_OUT)


@pytest.mark.parametrize("rule", EXPOSED_BY)
def test_leaving_a_rule_out_is_found(rule: str) -> None:
    invariant, bounds = EXPOSED_BY[rule]
    # A place that is lost shows only at rest.
    every = 1 if invariant == "6:" else 7
    found = explore_site(bounds, RULES_LEFT_OUT[rule], most=6_000, settle_every=every)
    assert found.violation is not None
    assert invariant in found.violation


@pytest.mark.parametrize("rule", EXPOSED_BY)
def test_the_same_sites_are_sound_with_the_rule(rule: str) -> None:
    _, bounds = EXPOSED_BY[rule]
    found = explore_site(bounds, most=300)
    assert found.violation is None, found.violation
