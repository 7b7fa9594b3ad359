"""The arithmetic of escrow grants, case by case."""

from __future__ import annotations

import math

import pytest

from broker.policy.grants import PICKS, Cell, Holding, Settlement, Want, Whole, room, settle
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share

NOW = 10_000
A: Cell = ("p", "a")
B: Cell = ("p", "b")
Q: Cell = ("q", "a")


def document(
    *,
    site: int = 100,
    pool: Share | None = None,
    other: Share | None = None,
    a: Share | None = None,
    b: Share | None = None,
    weights: tuple[int, int] = (1, 1),
) -> LimitsDocument:
    pools = {
        "p": PoolLimits(pool or Share(100), {"a": a or Share(100), "b": b or Share(100)}),
        "q": PoolLimits(other or Share(100), {"a": Share(100)}),
    }
    return LimitsDocument(
        number=1,
        digest="",
        scale=1.0,
        seats_limit=0,
        connections_limit=site,
        populations={
            "a": PopulationLimits(True, 0, weight=weights[0]),
            "b": PopulationLimits(True, 0, weight=weights[1]),
        },
        pools=pools,
    )


def want(who: str, cell: Cell, count: int = 1, *, age: int = 1, held: int = 0) -> Want:
    return Want(who, cell, count, NOW - age, held, waiting=age > 0)


def ask(
    limits: LimitsDocument,
    mine: dict[Cell, Holding],
    *wants: Want,
    others: dict[Cell, int] | None = None,
    workers: int = 50,
) -> Settlement:
    """The settlement of worker ``w``; fifty workers leave no base."""
    booked = dict(others or {})
    for cell, holding in mine.items():
        booked[cell] = booked.get(cell, 0) + holding.held
    return settle(limits, booked, "w", mine, wants, workers=workers, now_ms=NOW)


class TestRoom:
    def test_no_guarantees(self) -> None:
        assert room(10, [(Share(10), 3), (Share(10), 4)], 0) == 3

    def test_never_beyond_the_own_limit(self) -> None:
        assert room(10, [(Share(5), 3), (Share(10), 0)], 0) == 2

    def test_never_below_zero(self) -> None:
        assert room(10, [(Share(10), 8), (Share(10), 4)], 0) == 0

    def test_a_borrower_leaves_what_is_not_lent_at_present(self) -> None:
        # Unused 6, half of it lent: 3 stay free.
        assert room(10, [(Share(10), 0), (Share(10, guaranteed=6, lendable=0.5), 0)], 0) == 7

    def test_an_owner_takes_its_own_back(self) -> None:
        parts = [(Share(10, guaranteed=4, lendable=1.0), 1), (Share(10), 6)]
        assert room(10, parts, 0) == 3

    def test_what_is_never_lent_is_its_own_by_right(self) -> None:
        parts = [
            (Share(10, guaranteed=4, lendable=0.0), 0),
            (Share(10, guaranteed=8, lendable=0.0), 6),
        ]
        # More is guaranteed than there is: what is free goes to either owner.
        assert room(10, parts, 0) == 4

    def test_a_guarantee_is_worth_no_more_than_the_limit(self) -> None:
        assert room(10, [(Share(10), 0), (Share(2, guaranteed=9, lendable=0.0), 0)], 0) == 8


class TestHandingOut:
    def test_what_is_free_is_given(self) -> None:
        got = ask(document(), {A: Holding(1, 1)}, want("w", A, 3))
        assert got.caps == {A: 4}
        assert not got.others
        assert not got.starved

    def test_all_three_levels_bound(self) -> None:
        limits = document(site=10, pool=Share(8), a=Share(5))
        assert ask(limits, {}, want("w", A, 9)).caps == {A: 5}
        assert ask(limits, {}, want("w", A, 9), others={B: 6}).caps == {A: 2}
        assert ask(limits, {}, want("w", A, 9), others={Q: 9}).caps == {A: 1}

    def test_the_oldest_want_in_a_cell_goes_first(self) -> None:
        got = ask(document(site=1), {}, want("w", A, age=5), want("v", A, age=9))
        assert got.caps == {A: 0}
        assert got.others
        assert ask(document(site=1), {}, want("w", A, age=9), want("v", A, age=5)).caps == {A: 1}

    def test_one_to_each_before_a_second_to_anybody(self) -> None:
        got = ask(document(site=3), {}, want("w", A, 3, age=9), want("v", A, 3, age=5))
        assert got.caps == {A: 2}

    def test_the_least_full_cell_for_its_weight_goes_first(self) -> None:
        limits = document(site=10, weights=(3, 1))
        got = ask(limits, {}, want("w", A), want("v", B, age=9), others={A: 5, B: 4})
        assert got.caps == {A: 1}

    def test_weight_nought_only_gets_what_nobody_else_wants(self) -> None:
        limits = document(site=1, weights=(0, 1))
        assert ask(limits, {}, want("w", A, age=9), want("v", B)).caps == {A: 0}
        assert ask(limits, {}, want("w", A)).caps == {A: 1}

    def test_a_cell_below_its_guarantee_goes_first(self) -> None:
        limits = document(site=10, a=Share(100, guaranteed=6))
        got = ask(limits, {}, want("w", A), want("v", B, age=9), others={A: 5, B: 4})
        assert got.caps == {A: 1}

    def test_a_pool_below_its_guarantee_goes_first(self) -> None:
        limits = document(site=10, other=Share(100, guaranteed=6))
        got = ask(limits, {}, want("w", Q), want("v", B, age=9), others={Q: 5, B: 4})
        assert got.caps == {Q: 1}

    def test_who_waits_goes_before_who_foresees(self) -> None:
        got = ask(document(site=1), {}, want("w", A, age=0), want("v", B))
        assert got.caps == {A: 0}

    def test_a_full_cell_ends_the_search_for_all_its_wants(self) -> None:
        limits = document(a=Share(0))
        got = ask(limits, {}, want("w", A, age=9), want("v", A, age=8), want("w", B))
        assert got.caps == {A: 0, B: 1}

    def test_large_wants_are_shared_in_portions(self) -> None:
        got = ask(document(site=100), {}, want("w", A, 400, age=9), want("v", B, 400))
        assert 30 <= got.caps[A] <= 70

    def test_a_settlement_is_bounded(self) -> None:
        wants = [want(f"v{index:03}", A, 15, age=1000 - index) for index in range(60)]
        got = ask(document(site=10_000, pool=Share(10_000), a=Share(10_000)), {}, *wants)
        assert got.caps == {}
        assert got.others
        assert PICKS < 60 * 15

    def test_a_cell_outside_the_document_gets_nothing(self) -> None:
        for cell in (("gone", "a"), ("p", "gone")):
            got = ask(document(), {cell: Holding(2, 2)}, want("w", cell, 3))
            assert got.caps == {cell: 0}


class TestLowered:
    @pytest.mark.parametrize(
        "limits",
        [document(site=3), document(pool=Share(3)), document(a=Share(3))],
        ids=["site", "pool", "cell"],
    )
    def test_above_a_limit_all_goes_home_as_it_ends(self, limits: LimitsDocument) -> None:
        assert ask(limits, {A: Holding(4, 4)}, want("w", A)).caps == {A: 0}

    def test_only_below_the_level_that_is_above(self) -> None:
        got = ask(document(a=Share(3)), {A: Holding(4, 4), B: Holding(2, 2)}, want("w", B))
        assert got.caps == {A: 0, B: 3}


class TestBase:
    def test_a_quarter_of_each_level_shared_by_all(self) -> None:
        got = ask(document(site=96), {A: Holding(3, 3)}, workers=2)
        # 96 // (4 x 2 workers x 3 cells) = 4; the pool's 100 // (4 x 2 x 2) = 6.
        assert got.bases == {A: 4, B: 4, Q: 4}
        assert got.caps == {A: 7, B: 4, Q: 4}

    def test_none_where_there_is_little(self) -> None:
        assert not ask(document(site=23), {}, workers=2).bases

    def test_none_while_somebody_is_left_wanting(self) -> None:
        got = ask(document(site=96), {}, want("v", A, 200), workers=2)
        assert not got.bases
        assert got.caps == {}

    def test_never_beyond_a_limit(self) -> None:
        got = ask(document(site=96), {A: Holding(3, 3)}, others={Q: 91}, workers=2)
        assert got.caps == {A: 5, B: 0, Q: 0} or sum(got.caps.values()) == 5

    def test_what_is_held_already_counts(self) -> None:
        got = ask(document(site=96), {A: Holding(9, 1)}, workers=2)
        assert got.caps[A] == 9


class TestTakingBack:
    def test_an_old_want_that_finds_nothing_is_served_by_who_holds(self) -> None:
        got = ask(document(site=8), {A: Holding(8, 8)}, want("v", A, age=300))
        assert got.caps == {A: 7 - 0} or got.caps[A] < 8
        assert got.starved == (A,)

    def test_a_young_want_waits_for_what_ends(self) -> None:
        got = ask(document(site=8), {A: Holding(8, 8)}, want("v", A, age=250))
        assert got.caps == {A: 8}
        assert not got.starved

    def test_as_much_as_makes_the_holdings_even(self) -> None:
        got = ask(
            document(site=9), {A: Holding(8, 8)}, want("v", A, 9, age=300, held=1), others={A: 1}
        )
        assert got.caps == {A: 8 - math.floor((8 - 1) / 2)}

    def test_who_waits_longer_keeps_what_ends(self) -> None:
        mine = {A: Holding(4, 4)}
        got = ask(
            document(site=8),
            mine,
            want("w", A, age=400, held=4),
            want("v", A, age=300, held=4),
            others={A: 4},
        )
        assert got.caps == {A: 4}

    def test_who_has_nothing_gets_one_even_from_who_waits_longer(self) -> None:
        mine = {A: Holding(1, 1)}
        got = ask(document(site=1), mine, want("w", A, age=400, held=1), want("v", A, age=300))
        assert got.caps == {A: 0}

    def test_not_below_what_was_just_granted(self) -> None:
        mine = {A: Holding(3, 3)}
        got = ask(document(site=4), mine, want("w", A, age=900, held=3), want("v", A, age=300))
        assert got.caps == {A: 4}

    def test_nothing_from_who_uses_nothing(self) -> None:
        got = ask(document(site=1), {B: Holding(0, 0)}, want("v", A, age=300), others={A: 1})
        assert got.caps == {B: 0}

    def test_not_from_another_cell_when_the_wanted_one_is_full(self) -> None:
        got = ask(document(a=Share(2)), {B: Holding(5, 5)}, want("v", A, age=300), others={A: 2})
        assert got.caps == {B: 5}

    def test_not_from_another_pool_when_the_wanted_one_is_full(self) -> None:
        got = ask(document(pool=Share(2)), {Q: Holding(5, 5)}, want("v", A, age=300), others={A: 2})
        assert got.caps == {Q: 5}

    def test_from_another_pool_when_the_site_is_full(self) -> None:
        got = ask(document(site=6), {Q: Holding(5, 5)}, want("v", A, age=300), others={A: 1})
        assert got.caps[Q] < 5

    def test_not_from_a_cell_that_is_less_full(self) -> None:
        got = ask(document(site=6), {B: Holding(1, 1)}, want("v", A, age=300), others={A: 5})
        assert got.caps == {B: 1}

    def test_not_from_a_cell_within_its_guarantee(self) -> None:
        limits = document(pool=Share(6), b=Share(100, guaranteed=5))
        got = ask(limits, {B: Holding(5, 5)}, want("v", A, age=300), others={A: 1})
        assert got.caps == {B: 5}

    def test_not_from_a_pool_within_its_guarantee(self) -> None:
        limits = document(site=6, other=Share(100, guaranteed=5))
        got = ask(limits, {Q: Holding(5, 5)}, want("v", A, age=300), others={A: 1})
        assert got.caps == {Q: 5}

    def test_an_owner_takes_from_who_borrows(self) -> None:
        limits = document(pool=Share(6), a=Share(100, guaranteed=5), weights=(1, 9))
        got = ask(limits, {B: Holding(2, 2)}, want("v", A, age=300, held=4), others={A: 4})
        assert got.caps == {B: 1}

    def test_an_owner_does_not_take_from_an_owner(self) -> None:
        share = Share(100, guaranteed=5)
        limits = document(pool=Share(6), a=share, b=share)
        got = ask(limits, {B: Holding(4, 4)}, want("v", A, age=300, held=2), others={A: 2})
        assert got.caps == {B: 4}

    def test_weights_of_nought_share_by_age_alone(self) -> None:
        limits = document(site=8, weights=(0, 0))
        got = ask(limits, {A: Holding(8, 8)}, want("v", A, 5, age=300))
        assert got.caps == {A: 7}


def test_a_want_for_a_population_without_a_weight_counts_one() -> None:
    limits = document()
    assert Whole(limits, {}).weight(("p", "nobody")) == 1


@pytest.mark.parametrize("cell", [("gone", "a"), ("p", "gone")])
def test_a_cell_outside_the_document_has_no_base(cell: Cell) -> None:
    assert Whole(document(), {}).base(cell, 1) == 0
