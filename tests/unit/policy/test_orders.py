"""What operators may order, and the sentences with which the rest is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from broker.errors import NotFound, Refused
from broker.policy.levels import admitted_populations, site_scale
from broker.policy.orders import Order, in_words, level, lower, raise_to, scope_to_steer
from tests.support.capacities import BASE, CAPACITY, order

NOW = order(factor=None)
PAST = 1_584_338_400_000


@pytest.mark.parametrize(
    ("scale", "given", "sentence"),
    [
        (0.0, {}, "a number above 0"),
        (-6.0, {}, "a number above 0"),
        (math.nan, {}, "a number above 0"),
        (math.inf, {}, "a number above 0"),
        (0.5, {}, "for less there is lower"),
        (11.0, {}, "above the ceiling of the seats, 10x; raise to 10x"),
        (5.0, {"pool": "wiki"}, "above the ceiling of pool wiki, 4x"),
        (6.0, {"ends_ms": PAST}, "the end lies in the past"),
        (2.0, {"pool": "wiki", "open_to": ["everyone"]}, "admits nobody"),
    ],
)
def test_a_raise_that_makes_no_sense(scale: float, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(Refused, match=sentence):
        raise_to(CAPACITY, NOW, scale, **given)  # type: ignore[arg-type]


def test_the_ceiling_of_connections_counts_too() -> None:
    low = replace(CAPACITY, base=replace(BASE, connections_ceiling=3.0))
    with pytest.raises(Refused, match="the site's connections, 3x"):
        raise_to(low, NOW, 6.0)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"reason": " "}, "say why"),
        ({"reason": "a\nb"}, "one line"),
        ({"reason": "x" * 501}, "one line"),
        ({"factor": 1.0}, "more than 1"),
        ({"factor": math.nan}, "more than 1"),
        ({"factor": 11.0}, "at most 10"),
        ({"factor": 1.0001}, "at most 200 steps"),
        ({"every_ms": 99}, "between 0.1s and 24h"),
        ({"every_ms": 86_400_001}, "between 0.1s and 24h"),
    ],
)
def test_an_order_that_makes_no_sense(changed: dict[str, object], sentence: str) -> None:
    wrong: Order = replace(order(), **changed)  # type: ignore[arg-type]
    with pytest.raises(Refused, match=sentence):
        raise_to(CAPACITY, wrong, 6.0)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"open_to": ["evryone"]}, "no population evryone; known: everyone"),
        ({"pool": "feet"}, "no pool feet; known: feed"),
        ({"pool": "zzz"}, "no pool zzz; known: feed, wiki"),
    ],
)
def test_the_nearest_names_are_offered(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(NotFound, match=sentence):
        raise_to(CAPACITY, NOW, 2.0, **wrong)  # type: ignore[arg-type]
    if "pool" in wrong:
        with pytest.raises(NotFound, match=sentence):
            lower(CAPACITY, NOW, pool=str(wrong["pool"]))
        with pytest.raises(NotFound, match=sentence):
            scope_to_steer(CAPACITY, str(wrong["pool"]))


def test_opening_adds_to_those_admitted() -> None:
    opened = raise_to(CAPACITY, NOW, 1.0, open_to=["everyone"])
    assert admitted_populations(opened) == ("managers", "sales", "everyone")
    assert opened.site is not None
    assert (opened.site.name, opened.site.author, opened.site.reason) == (8, "anna", "lockdown")


def test_lowering_ends_the_raise_or_goes_down_under_the_same_end() -> None:
    raised = raise_to(CAPACITY, NOW, 6.0, open_to=["everyone"], ends_ms=PAST + 1)
    assert lower(raised, NOW) == CAPACITY
    less = lower(raised, order(), 3.0)
    assert less.site is not None
    assert (site_scale(less), less.site.ramp.state, less.site.ends_ms) == (3.0, "reached", PAST + 1)
    assert "everyone" in admitted_populations(less)
    with pytest.raises(Refused, match="6x is in force, and 6x is not lower"):
        lower(raised, NOW, 6.0)
    below = lower(CAPACITY, NOW, 0.5)
    assert site_scale(below) == 0.5
    assert lower(CAPACITY, NOW, 0.5, pool="feed").pools["feed"].ends_ms is None
    pool = raise_to(raised, NOW, 8.0, pool="feed")
    assert lower(pool, NOW, pool="feed") == raised
    assert lower(pool, NOW, 7.0, pool="feed").pools["feed"].ramp.scale == 7.0


def test_lowering_what_is_not_raised_says_what_is_in_force() -> None:
    with pytest.raises(Refused, match="no raise is in force for the site: the level is normal"):
        lower(CAPACITY, NOW)
    crisis = level(CAPACITY, NOW, "crisis")
    with pytest.raises(Refused, match="no raise is in force for feed: the level is crisis"):
        lower(crisis, NOW, pool="feed")
    with pytest.raises(Refused, match="a number above 0"):
        lower(crisis, NOW, -1.0)


def test_levels() -> None:
    crisis = level(CAPACITY, order(), "crisis")
    assert crisis.level is not None
    assert (crisis.level.level, crisis.level.ramp.target, site_scale(crisis)) == (
        "crisis",
        6.0,
        1.5,
    )
    assert level(crisis, NOW, "normal") == CAPACITY
    down = level(level(CAPACITY, NOW, "crisis"), order(), "elevated")
    assert site_scale(down) == 2.0
    with pytest.raises(NotFound, match="no level crysis; known: crisis"):
        level(CAPACITY, NOW, "crysis")
    named = replace(CAPACITY, base=replace(BASE, levels={"normal": BASE.levels["elevated"]}))
    assert site_scale(level(named, NOW, "normal")) == 2.0


def test_what_hold_and_resume_mean_without_a_pool() -> None:
    assert scope_to_steer(CAPACITY, None) == "level"
    assert scope_to_steer(raise_to(CAPACITY, NOW, 2.0), None) == "site"
    assert scope_to_steer(CAPACITY, "wiki") == "wiki"


def test_in_words() -> None:
    crisis = raise_to(level(CAPACITY, NOW, "crisis"), NOW, 2.0, pool="wiki")
    assert in_words(crisis) == "6x, open to managers, sales, everyone; level crisis; pool wiki 2x"
    assert in_words(CAPACITY) == "1x, open to managers, sales"
