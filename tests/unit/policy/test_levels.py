"""The numbers that follow from base, level and raises."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.capacity import Base, Capacity
from broker.policy.levels import (
    admitted_populations,
    caps,
    fitted,
    in_force,
    pool_scale,
    raises,
    rebased,
    site_scale,
    times,
    with_raise,
)
from broker.policy.orders import level, raise_to
from tests.support.capacities import BARE, BASE, CAPACITY, order

NOW = order(factor=None)


def test_nothing_in_force_is_as_configured() -> None:
    document = in_force(CAPACITY, BARE)
    assert (document.scale, document.seats_limit, document.connections_limit) == (1.0, 60, 500)
    assert document.populations == BASE.populations
    assert document.pools == BASE.pools
    assert (document.number, document.digest) == (BARE.number, BARE.digest)
    assert document.capacity == CAPACITY


def test_six_times_multiplies_everything_that_was_configured() -> None:
    document = in_force(raise_to(CAPACITY, NOW, 6.0, open_to=["everyone"]), BARE)
    assert (document.scale, document.seats_limit, document.connections_limit) == (6.0, 360, 3000)
    managers, sales = document.populations["managers"], document.populations["sales"]
    assert (managers.seats_maximum, managers.seats_guaranteed) == (360, 120)
    assert (sales.seats_maximum, sales.seats_guaranteed) == (300, 0)
    feed = document.pools["feed"]
    assert (feed.connections.limit, feed.connections.guaranteed) == (1800, 600)
    assert (feed.cells["sales"].limit, feed.cells["managers"].guaranteed) == (1200, 180)
    assert document.populations["everyone"].admitted


def test_six_times_twice_is_still_six_times() -> None:
    once = raise_to(CAPACITY, NOW, 6.0)
    assert in_force(raise_to(once, NOW, 6.0), BARE).seats_limit == 360


def test_a_ceiling_bites_and_is_named() -> None:
    raised = raise_to(CAPACITY, NOW, 6.0)
    assert in_force(raised, BARE).pools["wiki"].connections.limit == 480
    assert [(cap.what, cap.asked, cap.ceiling) for cap in caps(raised)] == [("pool wiki", 6.0, 4.0)]
    assert caps(CAPACITY) == ()
    low = replace(BASE, seats_ceiling=3.0, connections_ceiling=2.0, pool_ceilings={})
    crisis = level(Capacity(low), NOW, "crisis")
    assert [cap.what for cap in caps(crisis)] == ["seats", "connections of the site"]
    assert in_force(crisis, BARE).seats_limit == 180


def test_a_pool_raise_lies_over_the_site_raise_and_neither_adds() -> None:
    both = raise_to(raise_to(CAPACITY, NOW, 2.0), NOW, 3.0, pool="feed")
    document = in_force(both, BARE)
    assert document.pools["feed"].connections.limit == 900
    assert document.pools["wiki"].connections.limit == 240
    assert [scope for scope, _ in raises(both)] == ["site", "feed"]
    assert not caps(both)


def test_a_level_has_scales_of_its_own_for_pools_and_a_raise_lies_over_it() -> None:
    crisis = level(CAPACITY, NOW, "crisis")
    document = in_force(crisis, BARE)
    assert document.seats_limit == 360
    assert document.pools["wiki"].connections.limit == 360
    assert document.populations["everyone"].admitted
    over = raise_to(crisis, NOW, 2.0)
    assert (site_scale(over), pool_scale(over, "wiki")) == (2.0, 2.0)
    assert admitted_populations(over) == ("managers", "sales", "everyone")
    assert with_raise(over, "site", None) == crisis


def test_a_pool_of_a_level_climbs_with_the_ramp_up_to_its_own_scale() -> None:
    climbing = level(CAPACITY, order(factor=2.0), "crisis")
    assert (site_scale(climbing), pool_scale(climbing, "wiki")) == (2.0, 2.0)
    assert climbing.level is not None
    higher = replace(
        climbing, level=replace(climbing.level, ramp=replace(climbing.level.ramp, step=2))
    )
    assert (site_scale(higher), pool_scale(higher, "wiki")) == (4.0, 3.0)


def test_a_level_may_admit_fewer() -> None:
    few = level(CAPACITY, NOW, "managers only")
    assert admitted_populations(few) == ("managers",)
    assert not in_force(few, BARE).populations["sales"].admitted


def test_another_configuration_takes_its_place_under_what_is_in_force() -> None:
    raised = raise_to(raise_to(level(CAPACITY, NOW, "crisis"), NOW, 6.0), NOW, 2.0, pool="wiki")
    other = replace(BASE, seats_limit=100)
    assert in_force(rebased(raised, other), BARE).seats_limit == 600
    assert rebased(None, other) == Capacity(other)
    gone = replace(other, pools={"feed": BASE.pools["feed"]}, levels={})
    left = rebased(raised, gone)
    assert (left.level, left.pools, left.site) == (None, {}, raised.site)
    assert rebased(CAPACITY, other).level is None


def test_rounding_is_upwards_but_not_of_what_is_whole() -> None:
    assert times(5, 1.2, 10) == 6
    assert times(5, 1.21, 10) == 7
    assert times(0, 6, 10) == 0
    assert times(5, 6, 2) == 10


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=6),
    st.integers(0, 60),
    st.floats(0.1, 12),
    st.floats(1, 10),
)
def test_guarantees_never_promise_more_than_there_is(
    guaranteed: list[int], spare: int, scale: float, ceiling: float
) -> None:
    limit = sum(guaranteed) + spare
    populations = {
        f"p{index}": replace(BASE.populations["sales"], seats_guaranteed=each, seats_maximum=limit)
        for index, each in enumerate(guaranteed)
    }
    base = Base(limit, limit, populations, {}, seats_ceiling=ceiling)
    capacity = with_raise(Capacity(base), "site", raise_to(CAPACITY, NOW, 1.0).site)
    assert capacity.site is not None
    ramp = replace(capacity.site.ramp, target=scale)
    document = in_force(with_raise(capacity, "site", replace(capacity.site, ramp=ramp)), BARE)
    promised = sum(each.seats_guaranteed for each in document.populations.values())
    assert promised <= document.seats_limit
    assert fitted([3, 3], 6) == [3, 3]
    assert fitted([4, 4], 6) == [3, 3]
