"""Deadlines without timers: late by a tick at most, never early, and nothing is kept alive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.gateway.deadlines import NEVER, NO_SLOT, TICK, Deadlines


class Item:
    def __init__(self) -> None:
        self.due = 0.0
        self.slot = NO_SLOT
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)


def test_a_deadline_moved_later_is_not_met_early() -> None:
    deadlines, item = Deadlines(100.0), Item()
    deadlines.watch(item, 101.0)
    deadlines.watch(item, 105.0)
    deadlines.expire(104.9)
    assert not item.expired
    deadlines.expire(105.3)
    assert item.expired == [105.3]


def test_a_deadline_moved_nearer_is_met() -> None:
    deadlines, item = Deadlines(100.0), Item()
    deadlines.watch(item, 175.0)
    item.due = NEVER
    deadlines.watch(item, 110.0)
    deadlines.expire(110.3)
    assert item.expired == [110.3]
    assert len(deadlines) == 0


def test_a_forgotten_item_is_not_kept() -> None:
    deadlines, item = Deadlines(100.0), Item()
    deadlines.watch(item, 175.0)
    deadlines.forget(item)
    assert len(deadlines) == 0
    deadlines.expire(200.0)
    assert not item.expired


@given(st.lists(st.tuples(st.floats(0, 5), st.one_of(st.none(), st.floats(0, 20)))))
def test_never_early_and_late_by_a_tick_at_most(steps: list[tuple[float, float | None]]) -> None:
    now = 50.0
    deadlines, item = Deadlines(now), Item()
    due: float | None = None
    for wait, after in steps:
        for _ in range(int(wait / TICK) + 1):
            now += TICK
            deadlines.expire(now)
            if item.expired:
                assert due is not None
                assert due <= item.expired[0] <= due + 2 * TICK
                item.expired.clear()
                due = None
            elif due is not None:
                assert now < due + 2 * TICK
        if after is not None:
            due = now + after
            deadlines.watch(item, due)
