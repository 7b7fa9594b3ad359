"""One round of the steward: what the guard has seen, and what should be done now. Pure.

``Notes`` are kept in the ledger, so that another steward goes on with the windows of the one that
died. A window never spans a step: the guard starts anew wherever a raise stands differently.
"""

from __future__ import annotations

from collections.abc import Mapping  # stored between stewards by its types
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from broker.policy.guard import Figures, PoolWatch, look, open_watch
from broker.policy.levels import raises
from broker.policy.ramp import next_move, pools_of

if TYPE_CHECKING:
    from broker.policy.capacity import Capacity
    from broker.policy.ramp import Move

FRESH_MS = 3_000
"""A worker tells its figures every second; older ones miss what happened since."""
GONE_MS = 10_000
"""A worker that says nothing for so long is no part of a window that opens now."""

Readings = Mapping[str, tuple[int, Mapping[str, Figures]]]
"""By incarnation: age in milliseconds, figures by pool."""


@dataclass(frozen=True, slots=True)
class Notes:
    """``watches`` by pool; ``marks`` by scope: the step of the raise they were opened for."""

    watches: Mapping[str, PoolWatch] = field(default_factory=dict)
    marks: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)


def take_round(
    notes: Notes, capacity: Capacity, readings: Readings, now_ms: int, civil_ms: int | None
) -> tuple[Notes, Move | None]:
    """The notes after this reading, and what should be done now, if anything. ``now_ms``: ledger
    time; ``civil_ms``: civil time, None while clocks disagree (then nothing ends)."""
    marks = {
        scope: (change.name, change.ramp.step, change.ramp.stepped_ms)
        for scope, change in raises(capacity)
    }
    moved = {
        pool
        for scope, mark in marks.items()
        if notes.marks.get(scope) != mark
        for pool in pools_of(capacity, scope)
    }
    watches = {}
    for pool, rule in capacity.base.guards.items():
        seen = _of_pool(pool, readings)
        watch = notes.watches.get(pool)
        if watch is None or pool in moved:
            watches[pool] = open_watch(seen, now_ms, before=watch)
        else:
            watches[pool] = look(watch, seen, rule, _baseline(capacity, pool), now_ms)
    return Notes(watches, marks), next_move(capacity, watches, now_ms, civil_ms)


def _of_pool(pool: str, readings: Readings) -> dict[str, Figures | None]:
    return {
        worker: figures.get(pool, Figures()) if age <= FRESH_MS else None
        for worker, (age, figures) in readings.items()
        if age <= GONE_MS
    }


def _baseline(capacity: Capacity, pool: str) -> float | None:
    """That of the raise which lies uppermost on this pool, if any."""
    uppermost = None
    for scope, change in raises(capacity):
        if pool in pools_of(capacity, scope):
            uppermost = change
    return None if uppermost is None else uppermost.baseline.get(pool)
