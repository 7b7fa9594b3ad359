"""Who may spend how many connections: the arithmetic of escrow grants, as plain functions.

Speaks to nobody and keeps nothing: ``settle`` is given what is booked for all workers together, the
standing wants, and the report of the one worker that asks; it answers that worker's absolute caps.
``grant_book.py`` does the booking (the twin), ``ledger/lua/lib_grants.lua`` both in Redis; the two
are kept equal by a differential property test, so each step here has its like there.

Limits stand at three levels: the site, its pools, the cells (pool x population) of a pool. One
slice belongs to one cell and counts at all three. The idea of leased capacity, with what a client
*has* and *wants*, is Doorman's (github.com/youtube/doorman). The steps:

1. A level above its limit (it was lowered): every cap below it is 0, so that each connection that
   ends goes home. Nobody is thrown out and nobody new comes in until it is below.
2. Free capacity is handed out slice by slice: pools, then cells, that hold less than their
   guarantee first; then the cell that holds least for its weight; inside a cell one slice to each
   worker that wants, the oldest want first. What falls to *other* workers is left free for them.
3. A worker keeps some unused slices in each cell (the *base*) where there is plenty and nobody was
   left wanting: a cushion for a burst, and for an outage of Redis.
4. Where a want older than one tick finds nothing, workers that hold more return: their caps go
   below what they use, and what ends is not reused but goes home, for step 2 of the next sync.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.policy.shares import PoolLimits, Share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.policy.limits import LimitsDocument

Cell = tuple[str, str]
"""(pool, population)."""

WANTS_IN_HAND = 64
"""Standing wants that one settlement looks at, the oldest: bounds the work of a call."""

PICKS = 256
"""Times that one settlement hands something out: bounds the work of a call."""

PLENTY = 4
"""A base slice needs a limit of this many times workers x cells; so the bases of all workers
together never take more than a quarter of any level."""

_NOTHING = Share(limit=0)


@dataclass(frozen=True, slots=True)
class Want:
    """``count`` more connections could be spent by ``incarnation`` in ``cell``, the oldest of them
    since ``since_ms`` (ledger time); it holds ``held`` there. ``waiting``: somebody really waits,
    otherwise the worker only foresees it."""

    incarnation: str
    cell: Cell
    count: int
    since_ms: int
    held: int
    waiting: bool = True


@dataclass(frozen=True, slots=True)
class Holding:
    """What the worker that asks has in one cell, as it reported."""

    held: int
    used: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """``caps``: absolute, for the worker that asked. ``starved``: cells with a want older than one
    tick for which nothing is free. ``others``: something is free that another worker wants.
    ``bases``: unused slices that it may keep beyond a tick. ``given``: what its own wants got."""

    caps: Mapping[Cell, int]
    starved: tuple[Cell, ...] = ()
    others: bool = False
    bases: Mapping[Cell, int] = field(default_factory=dict)
    given: Mapping[Cell, int] = field(default_factory=dict)


def room(limit: int, parts: Sequence[tuple[Share, int]], own: int) -> int:
    """How many more part number ``own`` of ``parts`` may take from a whole of ``limit``.

    ``parts``: each part's share and what it holds. A part below its guarantee takes its own back
    and leaves free only what others never lend (guaranteed - floor(guaranteed x lendable), less
    what they hold); as far as it never lends itself, a free one is its own by right. A part at or
    above its guarantee leaves free what others do not lend at present (of what they leave unused).
    """
    share, held = parts[own]
    free = limit - sum(holds for _, holds in parts)
    never_lent = kept = 0
    for index, (other, holds) in enumerate(parts):
        if index != own:
            guaranteed = min(other.guaranteed, other.limit)
            unused = max(0, guaranteed - holds)
            never_lent += max(0, guaranteed - math.floor(guaranteed * other.lendable) - holds)
            kept += unused - math.floor(unused * other.lendable)
    guaranteed = min(share.guaranteed, share.limit)
    by_right = guaranteed - math.floor(guaranteed * share.lendable) - held
    most = max(
        min(by_right, free),
        min(guaranteed - held, free - never_lent),
        free - kept,
    )
    return max(0, min(most, share.limit - held))


@dataclass(slots=True)
class Whole:
    """What is booked at each level while a settlement hands out. Mutable, of one call."""

    limits: LimitsDocument
    held: dict[Cell, int]
    pools: dict[str, int] = field(init=False)
    site: int = field(init=False)

    def __post_init__(self) -> None:
        self.pools = dict.fromkeys(self.limits.pools, 0)
        for (pool, _), count in self.held.items():
            self.pools[pool] = self.pools.get(pool, 0) + count
        self.site = sum(self.pools.values())

    def pool(self, cell: Cell) -> PoolLimits | None:
        return self.limits.pools.get(cell[0])

    def share(self, cell: Cell) -> Share:
        pool = self.pool(cell)
        return _NOTHING if pool is None else pool.cells.get(cell[1], _NOTHING)

    def weight(self, cell: Cell) -> int:
        population = self.limits.populations.get(cell[1])
        return 1 if population is None else population.weight

    def take(self, cell: Cell, count: int) -> None:
        self.held[cell] = self.held.get(cell, 0) + count
        self.pools[cell[0]] = self.pools.get(cell[0], 0) + count
        self.site += count

    def is_over(self, cell: Cell) -> bool:
        """A level that ``cell`` belongs to holds more than its limit."""
        pool = self.pool(cell)
        return (
            self.site > self.limits.connections_limit
            or self.pools.get(cell[0], 0) > (pool.connections.limit if pool else 0)
            or self.held.get(cell, 0) > self.share(cell).limit
        )

    def room_in_site(self, pool: str) -> int:
        """Counts pools that left the document too: what they hold is still part of the site."""
        names = list(self.pools)
        parts = [
            (self.limits.pools[name].connections if name in self.limits.pools else _NOTHING, held)
            for name, held in self.pools.items()
        ]
        return room(self.limits.connections_limit, parts, names.index(pool))

    def room_in_pool(self, cell: Cell) -> int:
        pool = self.pool(cell)
        if pool is None or cell[1] not in pool.cells:
            return 0
        parts = [(share, self.held.get((cell[0], name), 0)) for name, share in pool.cells.items()]
        strangers = self.pools[cell[0]] - sum(held for _, held in parts)
        own = list(pool.cells).index(cell[1])
        return room(pool.connections.limit - strangers, parts, own)

    def room(self, cell: Cell) -> int:
        """How many more slices ``cell`` may take at all levels."""
        within = self.room_in_pool(cell)
        return min(within, self.room_in_site(cell[0])) if within > 0 else 0

    def owns(self, cell: Cell) -> tuple[bool, bool]:
        """Whether the pool, and the cell, hold less than their guarantee."""
        pool = self.pool(cell)
        return (
            pool is not None and self.pools[cell[0]] < pool.connections.guaranteed,
            self.held.get(cell, 0) < self.share(cell).guaranteed,
        )

    def fullness(self, cell: Cell) -> float:
        """What the cell holds for its weight: the least full is served first."""
        weight = self.weight(cell)
        return self.held.get(cell, 0) / weight if weight > 0 else math.inf

    def base(self, cell: Cell, workers: int) -> int:
        """Unused slices each worker may keep: a ``PLENTY``-th of each level, shared by all cells of
        all workers; 0 where the limit is below ``PLENTY`` x workers x cells."""
        pool = self.pool(cell)
        if pool is None or cell[1] not in pool.cells:
            return 0
        everywhere = sum(len(other.cells) for other in self.limits.pools.values())
        each = PLENTY * workers
        return min(
            self.limits.connections_limit // (each * everywhere),
            pool.connections.limit // (each * len(pool.cells)),
            self.share(cell).limit // each,
        )


def settle(
    limits: LimitsDocument,
    booked: Mapping[Cell, int],
    incarnation: str,
    mine: Mapping[Cell, Holding],
    wants: Iterable[Want],
    *,
    workers: int,
    now_ms: int,
) -> Settlement:
    """The caps of ``incarnation``.

    ``booked``: slices of all workers together by cell, this worker's report (``mine``) included.
    ``wants``: of all live workers, this one's too. ``workers``: how many are alive.
    """
    whole = Whole(limits, dict(booked))
    over = {cell for cell in _all_cells(limits, mine) if whole.is_over(cell)}
    standing = sorted(wants, key=lambda want: (want.since_ms, want.incarnation, want.cell))
    standing = standing[:WANTS_IN_HAND]
    given = _hand_out(whole, standing)
    caps = {cell: holding.held for cell, holding in mine.items()}
    others = False
    got: dict[Cell, int] = {}
    for want, count in zip(standing, given, strict=True):
        if want.incarnation == incarnation:
            got[want.cell] = count
            caps[want.cell] = caps.get(want.cell, 0) + count
        elif count > 0:
            others = True
    unmet = [
        want
        for want, count in zip(standing, given, strict=True)
        if want.waiting and count < want.count
    ]
    bases: dict[Cell, int] = {}
    if not unmet:
        for cell in _all_cells(limits, mine):
            base = whole.base(cell, workers)
            if base > 0:
                bases[cell] = base
                used = mine[cell].used if cell in mine else 0
                more = min(used + base - caps.get(cell, 0), whole.room(cell))
                if more > 0:
                    whole.take(cell, more)
                    caps[cell] = caps.get(cell, 0) + more
    aged = [want for want in unmet if now_ms - want.since_ms > limits.sync_ms]
    _take_back(whole, incarnation, mine, caps, aged, standing)
    for cell in over & caps.keys():
        caps[cell] = 0
    starved = tuple(dict.fromkeys(want.cell for want in aged))
    return Settlement(caps, starved, others, bases, got)


def _all_cells(limits: LimitsDocument, mine: Mapping[Cell, Holding]) -> list[Cell]:
    """The cells of the document in its order, then what the worker still has besides."""
    cells = [(pool, name) for pool, of in limits.pools.items() for name in of.cells]
    return cells + [cell for cell in mine if cell not in set(cells)]


def _hand_out(whole: Whole, wants: Sequence[Want]) -> list[int]:
    """Step 2: what each of ``wants`` gets; ``whole`` is booked accordingly."""
    given = [0] * len(wants)
    open_wants = list(range(len(wants)))

    def urgency(index: int) -> tuple[bool, bool, bool, float, int, int]:
        want = wants[index]
        pool_owns, cell_owns = whole.owns(want.cell)
        fullness = whole.fullness(want.cell)
        return (not want.waiting, not pool_owns, not cell_owns, fullness, given[index], index)

    for _ in range(PICKS):
        if not open_wants:
            break
        index = min(open_wants, key=urgency)
        want = wants[index]
        free = whole.room(want.cell)
        if free == 0:
            # Room never grows while handing out: nobody else finds any in this cell either.
            open_wants = [other for other in open_wants if wants[other].cell != want.cell]
            continue
        rivals = len(open_wants)
        fair = free if rivals == 1 else max(1, min(want.count // 16, free // (2 * rivals)))
        count = min(fair, free, want.count - given[index])
        given[index] += count
        whole.take(want.cell, count)
        if given[index] == want.count:
            open_wants.remove(index)
    return given


def _take_back(
    whole: Whole,
    incarnation: str,
    mine: Mapping[Cell, Holding],
    caps: dict[Cell, int],
    aged: Sequence[Want],
    standing: Sequence[Want],
) -> None:
    """Step 4: lower ``caps`` below use where an older want of another worker found nothing."""
    own_since = {
        want.cell: want.since_ms
        for want in standing
        if want.incarnation == incarnation and want.waiting
    }
    for cell in sorted(mine):
        used = mine[cell].used
        if caps[cell] > mine[cell].held or used == 0:
            continue
        owed = 0
        for want in aged:
            if want.incarnation != incarnation and _must_yield(whole, cell, want.cell):
                owed += _owed(whole, cell, mine[cell].held, want, own_since.get(cell))
        if owed > 0:
            caps[cell] = min(caps[cell], max(0, used - owed))


def _must_yield(whole: Whole, cell: Cell, wanted: Cell) -> bool:
    """Whether a slice of ``cell`` would help ``wanted``, and ``wanted`` has the better claim."""
    if cell == wanted:
        return True
    if whole.held.get(wanted, 0) >= whole.share(wanted).limit:
        return False
    same_pool = cell[0] == wanted[0]
    if not same_pool and (whole.room_in_pool(wanted) == 0 or whole.room_in_site(wanted[0]) > 0):
        return False  # what binds it is its own pool
    level = 1 if same_pool else 0
    if whole.owns(wanted)[level]:
        return not whole.owns(cell)[level]
    if _within_guarantee(whole, cell, same_pool):
        return False
    return whole.fullness(cell) >= whole.fullness(wanted)


def _within_guarantee(whole: Whole, cell: Cell, same_pool: bool) -> bool:
    """Giving one up would leave the cell (or, towards another pool, its pool) below its due."""
    if same_pool:
        return whole.held.get(cell, 0) <= whole.share(cell).guaranteed
    pool = whole.pool(cell)
    return pool is not None and whole.pools[cell[0]] <= pool.connections.guaranteed


def _owed(whole: Whole, cell: Cell, held: int, want: Want, own_since: int | None) -> int:
    """How many this worker's part of ``cell`` gives up for ``want``: one to whoever waits longer
    than anybody here or has nothing, and as many as make the two holdings even by weight."""
    waits_longer = own_since is None or want.since_ms < own_since
    one = 1 if waits_longer or want.held == 0 else 0
    here, there = whole.weight(cell), whole.weight(want.cell)
    if here + there == 0:
        return one
    even = math.floor((held * there - want.held * here) / (here + there))
    return max(one, min(want.count, even))
