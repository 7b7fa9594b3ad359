"""The invariants of connections, one test each: workers spend, report, crash and are lowered by
Hypothesis, on the pure books (which the twin and, step by step, the Lua equal).

Messages arrive in order here; late and doubled ones, and all orders of small worlds, are the model
checker's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from broker.policy.grant_book import GrantBook
from broker.policy.grants import Whole
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import CellUse, WorkerBook
from tests.support.grant_world import Said

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.policy.grants import Cell

POOLS, NAMES = ("p", "q"), ("a", "b")
CELLS: list[Cell] = [(pool, name) for pool in POOLS for name in NAMES]
TICK = 0.25
WORLD = settings(max_examples=60, deadline=None)
# A mutation is to be found, not explained: no shrinking.
FOUND = settings(WORLD, max_examples=300, phases=(Phase.generate,), report_multiple_bugs=False)

shares = st.builds(Share, st.integers(1, 9), st.integers(0, 4), st.sampled_from((0.0, 0.5, 1.0)))
pools = st.builds(lambda own, a, b: PoolLimits(own, {"a": a, "b": b}), shares, shares, shares)
documents = st.builds(
    lambda site, pools, weights: LimitsDocument(
        1, "", 1.0, 0, site,
        {n: PopulationLimits(True, 0, weight=w) for n, w in zip(NAMES, weights, strict=True)},
        dict(zip(POOLS, pools, strict=True)),
    ),
    st.integers(1, 12),
    st.tuples(
        *(pools,) * 2
    ),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)  # fmt: skip
workers = st.integers(0, 2)
cells = st.sampled_from(CELLS)
histories = st.lists(
    st.one_of(
        st.tuples(st.just("want"), workers, cells, st.integers(1, 8)),
        st.tuples(st.just("end"), workers, cells, st.integers(1, 8)),
        st.tuples(st.just("sync"), workers),
        st.tuples(st.just("sync"), workers),
        st.tuples(st.just("crash"), workers),
    ),
    max_size=30,
)


@dataclass
class Fleet:
    """Three workers on one book. ``waiting``: since when, each, in seconds."""

    document: LimitsDocument
    now: float = 1000.0
    used: list[dict[Cell, int]] = field(default_factory=lambda: [{} for _ in range(3)])
    waiting: list[dict[Cell, list[float]]] = field(default_factory=lambda: [{} for _ in range(3)])
    most_above: int = 0

    def __post_init__(self) -> None:
        self.book = GrantBook("e", int(self.now * 1000))
        self.book.put_limits(self.document)
        self.book.start_first()
        self.born = 3
        self.workers = [WorkerBook(f"w{number}") for number in range(3)]
        for number in range(3):
            self.sync(number)
            self.sync(number)

    def run(self, history: list[tuple[object, ...]]) -> None:
        for what, number, *rest in history:
            assert isinstance(number, int)
            if what == "want":
                cell, count = rest
                self.waiting[number].setdefault(cell, []).extend([self.now] * count)  # type: ignore[arg-type, operator]
                self.serve(number)
            elif what == "end":
                cell, count = rest
                has = self.used[number].get(cell, 0)  # type: ignore[call-overload]
                self.used[number][cell] = has - min(has, count)  # type: ignore[index]
                self.serve(number)
            elif what == "crash":
                self.crash(number)
            else:
                self.sync(number)
                self.now += TICK / 3

    def levels(self) -> dict[str, int]:
        """What all workers together may have at once, by level."""
        held: dict[Cell, int] = {}
        for number, worker in enumerate(self.workers):
            for cell in CELLS:
                has = max(worker.cap(*cell), self.used[number].get(cell, 0))
                held[cell] = held.get(cell, 0) + has
        sums = {f"cell {p} {n}": count for (p, n), count in held.items()}
        sums |= {f"pool {p}": sum(held[p, n] for n in NAMES) for p in POOLS}
        return sums | {"site": sum(held.values())}

    def limits(self) -> dict[str, int]:
        pools = self.document.pools
        found = {f"cell {p} {n}": pools[p].cells[n].limit for p, n in CELLS}
        found |= {f"pool {p}": pools[p].connections.limit for p in POOLS}
        return found | {"site": self.document.connections_limit}

    def serve(self, number: int) -> None:
        worker = self.workers[number]
        for cell, queue in self.waiting[number].items():
            while queue and self.used[number].get(cell, 0) < worker.cap(*cell):
                queue.pop(0)
                self.used[number][cell] = self.used[number].get(cell, 0) + 1
                assert self.used[number][cell] <= worker.cap(*cell)

    def sync(self, number: int) -> None:
        """No step increases what workers hold together beyond a level's limit."""
        before, worker = self.levels(), self.workers[number]
        uses = [
            CellUse(
                *cell,
                used=self.used[number].get(cell, 0),
                peak=self.used[number].get(cell, 0),
                waiting=len(self.waiting[number].get(cell, ())),
                oldest_wait=next(iter(self.waiting[number].get(cell, ())), None),
            )
            for cell in CELLS
        ]
        told = worker.report(self.now, uses)
        now_ms = int(self.now * 1000)
        self.book.pass_time(now_ms)
        answer = self.book.sync(told, now_ms)
        worker.accept(
            Said(
                number, told.sequence, "e", self.book.learning, dict(answer.caps),
                dict(answer.leases), self.book.limits, answer.starved, answer.bases,
            )
        )  # fmt: skip
        self.serve(number)
        for level, held in self.levels().items():
            if held > before[level]:
                assert held <= self.limits()[level], level

    def crash(self, number: int) -> None:
        """With its tombstone; another incarnation follows."""
        self.book.bury(self.workers[number].incarnation, int(self.now * 1000))
        self.used[number], self.waiting[number] = {}, {}
        self.workers[number] = WorkerBook(f"w{self.born}")
        self.born += 1
        self.sync(number)
        self.sync(number)

    def ticks(self, count: int) -> None:
        for _ in range(count):
            for number in range(3):
                self.sync(number)
            self.now += TICK


def granted_within_the_limits(document: LimitsDocument, history: list[tuple[object, ...]]) -> None:
    Fleet(document).run(history)  # ``sync`` and ``serve`` look at every step


def lent_within_a_second(
    document: LimitsDocument,
    history: list[tuple[object, ...]],
    first: Cell,
    then: Cell,
    one: int,
) -> None:
    """Whatever was before: one worker alone wants a cell, the others nothing any more."""
    fleet = Fleet(document)
    fleet.run(history)
    fleet.run([("want", 0, first, 12)])
    fleet.ticks(2)
    for number in range(3):
        fleet.used[number], fleet.waiting[number] = {}, {}
    fleet.run([("want", one, then, 12)])
    fleet.ticks(4)  # a second
    pool = document.pools[then[0]]
    others = [Share(0) if name == then[1] else share for name, share in pool.cells.items()]
    kept_in_pool = sum(min(s.guaranteed, s.limit) for s in others if s.lendable < 1)
    kept_in_site = sum(
        min(p.connections.guaranteed, p.connections.limit)
        for name, p in document.pools.items()
        if name != then[0] and p.connections.lendable < 1
    )
    least = min(
        pool.cells[then[1]].limit,
        pool.connections.limit - kept_in_pool,
        document.connections_limit - kept_in_site,
        12,
    )
    assert fleet.used[one].get(then, 0) >= least


def counted_once(document: LimitsDocument, history: list[tuple[object, ...]]) -> None:
    fleet = Fleet(document)
    fleet.run(history)
    for number in range(3):
        fleet.waiting[number] = {}
    fleet.ticks(8)
    booked = {cell: count for cell, count in fleet.book.held().items() if count}
    held = {
        cell: sum(
            max(w.cap(*cell), fleet.used[n].get(cell, 0)) for n, w in enumerate(fleet.workers)
        )
        for cell in CELLS
    }
    assert booked == {cell: count for cell, count in held.items() if count}
    fleet.crash(0)
    for number in range(3):
        fleet.used[number] = {}
    fleet.ticks(8)
    bases = 3 * sum(fleet.workers[0]._bases.values())
    assert sum(fleet.book.held().values()) <= bases


def lowered_gently(
    document: LimitsDocument, history: list[tuple[object, ...]], lowered: LimitsDocument
) -> None:
    fleet = Fleet(document)
    fleet.run(history)
    fleet.document = replace(lowered, number=2)
    fleet.book.put_limits(fleet.document)
    used = [dict(each) for each in fleet.used]
    fleet.ticks(2)  # ``sync`` judges by the lowered limits from here on
    for before, after in zip(used, fleet.used, strict=True):
        assert all(after.get(cell, 0) >= count for cell, count in before.items())
    assert all(w.limits_known == 2 for w in fleet.workers)


def served_in_time(
    document: LimitsDocument, history: list[tuple[object, ...]], cell: Cell, one: int
) -> None:
    """Everybody wants everything for ever, connections last less than a tick: whoever is the first
    of a cell that has any capacity of its own is served."""
    fleet = Fleet(
        replace(
            document,
            pools={
                name: PoolLimits(
                    replace(pool.connections, guaranteed=0),
                    {n: replace(share, guaranteed=0) for n, share in pool.cells.items()},
                )
                for name, pool in document.pools.items()
            },
        )
    )
    fleet.run(history)
    fleet.waiting = [{} for _ in range(3)]
    since = fleet.now - 0.001  # unlike all others
    fleet.waiting[one][cell] = [since]
    for _ in range(60):
        for number in range(3):
            for each in CELLS:
                queue = fleet.waiting[number].setdefault(each, [])
                queue.extend([fleet.now] * (6 - len(queue)))
                # What was begun has ended; the freed slice is spent again only below the cap.
                fleet.used[number][each] = 0
            fleet.serve(number)
            fleet.sync(number)
        fleet.now += TICK
        if since not in fleet.waiting[one][cell]:
            return
    raise AssertionError(f"the want of {cell} at {one} is not served")


MORE: dict[Callable[..., None], dict[str, Any]] = {
    lent_within_a_second: {"first": cells, "then": cells, "one": workers},
    lowered_gently: {"lowered": documents},
    served_in_time: {"cell": cells, "one": workers},
}


def hold(claim: Callable[..., None], effort: settings = WORLD) -> None:
    """Hypothesis tries to refute it."""
    drawn = {"document": documents, "history": histories} | MORE.get(claim, {})

    @effort
    @given(**drawn)
    def refute(**found: Any) -> None:
        claim(**found)

    refute()


def test_invariant_2_no_step_grants_beyond_a_limit_and_nobody_spends_above_a_grant() -> None:
    hold(granted_within_the_limits)


def test_invariant_2_what_one_leaves_unused_another_uses_within_a_second() -> None:
    hold(lent_within_a_second)


def test_invariant_3_every_grant_counts_once_and_a_crash_leaks_nothing() -> None:
    hold(counted_once)


def test_invariant_4_a_lowered_limit_admits_nobody_new_until_below_and_ends_nothing() -> None:
    hold(lowered_gently)


def test_invariant_7_the_oldest_want_of_every_cell_is_served_in_bounded_time() -> None:
    hold(served_in_time)


_room = Whole.room


@pytest.mark.parametrize(
    ("claim", "place", "mutation"),
    [
        (granted_within_the_limits, "grants.Whole.room", lambda *args: _room(*args) + 1),
        (lent_within_a_second, "worker_book.WorkerBook._needed", lambda *_: 99),
        (counted_once, "grant_book.GrantBook.bury", lambda *_: True),
        (lowered_gently, "grants.Whole.room", lambda *args: _room(*args) + 1),
        (served_in_time, "grants._take_back", lambda *_: None),
    ],
    ids=["one too many", "kept for ever", "not reclaimed", "lowered by none", "never yielded"],
)
def test_the_checks_see_a_broken_rule(
    claim: Callable[..., None], place: str, mutation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"broker.policy.{place}", mutation)
    with pytest.raises(AssertionError):
        hold(claim, FOUND)
