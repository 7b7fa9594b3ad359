"""How a raise goes on: its steps, what the guard does to them, and its end.

Every function takes the capacity in force and answers the one that should be, with the words for
the audit trail; who publishes it under the number it was decided on (the steward, or an operator)
does no harm when another was faster. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.policy.capacity import Capacity, Raise, Ramp
from broker.policy.levels import raises, with_raise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.policy.guard import PoolWatch

LONGEST_RAMP = 200
"""Steps: beyond that, somebody has mistaken the factor."""


@dataclass(frozen=True, slots=True)
class Move:
    """``capacity`` should be in force. ``action`` names it in the audit trail (empty: it is no
    change of capacity, only of what is known), ``text`` says why; ``scope`` and ``change`` are the
    raise it concerns, as it was."""

    capacity: Capacity
    action: str
    text: str
    scope: str
    change: Raise


def begin(start: float, target: float, *, factor: float | None, every_ms: int, now_ms: int) -> Ramp:
    """The ramp at its first step, which is in force at once. Down, or without ``factor``: in one
    step, of which nothing is proved."""
    if factor is None or target <= start:
        return Ramp(start, target, 1.0, every_ms, 0, now_ms, "reached")
    return Ramp(start, target, factor, every_ms, 1, now_ms, "climbing")


def steps(ramp: Ramp) -> list[float]:
    """The scale of each step from the first to the target."""
    if ramp.target <= ramp.start or ramp.factor <= 1.0:
        return [ramp.target]
    count = math.ceil(math.log(ramp.target / ramp.start) / math.log(ramp.factor) - 1e-9)
    return [
        *(ramp.start * ramp.factor**step for step in range(1, count)),
        ramp.target,
    ]


def at_target(ramp: Ramp) -> bool:
    """Whether the last step is in force (it may still have to prove itself)."""
    return ramp.scale >= ramp.target


def pools_of(capacity: Capacity, scope: str) -> tuple[str, ...]:
    """The pools that the guard of this scope's raise looks at."""
    return (scope,) if scope in capacity.base.pools else tuple(capacity.base.pools)


def next_move(
    capacity: Capacity, watches: Mapping[str, PoolWatch], now_ms: int, civil_ms: int | None
) -> Move | None:
    """What the steward should do now, if anything: an end that is due, then one step of one ramp.
    ``now_ms`` is ledger time; ``civil_ms`` is what a calendar shows, None while nobody is sure."""
    for scope, change in raises(capacity):
        if change.ends_ms is not None and civil_ms is not None and change.ends_ms <= civil_ms:
            ended = with_raise(capacity, scope, None)
            return Move(ended, "ended", "its time is over", scope, change)
    for scope, change in raises(capacity):
        if change.ramp.state in ("climbing", "paused"):
            seen = {pool: watches[pool] for pool in pools_of(capacity, scope) if pool in watches}
            move = _learnt(capacity, scope, change, seen) or _step(
                capacity, scope, change, seen, now_ms
            )
            if move is not None:
                return move
    return None


def hold(capacity: Capacity, scope: str, why: str) -> Move | None:
    """Stay at the step in force until somebody resumes; None: there is nothing to hold."""
    change = dict(raises(capacity)).get(scope)
    if change is None or change.ramp.state not in ("climbing", "paused"):
        return None
    return _moved(capacity, scope, change, "held", why, state="held", why=why)


def resume(capacity: Capacity, scope: str, now_ms: int) -> Move | None:
    """Climb on from the step in force; None: nothing is held."""
    change = dict(raises(capacity)).get(scope)
    if change is None or change.ramp.state not in ("held", "paused"):
        return None
    return _moved(
        capacity, scope, change, "resumed", "",
        state="climbing", why="", rolled_back=False, stepped_ms=now_ms,
    )  # fmt: skip


def _learnt(
    capacity: Capacity, scope: str, change: Raise, seen: Mapping[str, PoolWatch]
) -> Move | None:
    """The times known when the raise begins are what it is judged by, frozen; where nothing was
    known, its first window with enough responses is."""
    new = {
        pool: watch.p95
        for pool, watch in seen.items()
        if pool not in change.baseline and watch.p95 is not None
    }
    if not new:
        return None
    known = replace(change, baseline={**change.baseline, **new})
    return Move(with_raise(capacity, scope, known), "", "baseline", scope, change)


def _step(
    capacity: Capacity, scope: str, change: Raise, seen: Mapping[str, PoolWatch], now_ms: int
) -> Move | None:
    ramp = change.ramp
    breaches = {pool: watch for pool, watch in seen.items() if watch.breaches}
    if breaches:
        why = "; ".join(f"{pool}: {watch.text}" for pool, watch in breaches.items())
        twice = any(watch.breaches > 1 for watch in breaches.values())
        if twice and change.guard == "rollback":
            return _moved(
                capacity, scope, change, "rolled back", why,
                step=max(0, ramp.step - 1), state="held", why=why, rolled_back=True,
                stepped_ms=now_ms,
            )  # fmt: skip
        if ramp.state == "climbing":
            return _moved(capacity, scope, change, "paused", why, state="paused", why=why)
        return None
    if ramp.state == "paused":
        return _moved(capacity, scope, change, "went on", _numbers(seen), state="climbing", why="")
    proved = any(watch.evidence for watch in seen.values())
    if not proved or now_ms - ramp.stepped_ms < ramp.every_ms:
        return None
    if at_target(ramp):
        return _moved(capacity, scope, change, "reached", _numbers(seen), state="reached")
    return _moved(
        capacity, scope, change, "stepped", _numbers(seen),
        step=ramp.step + 1, stepped_ms=now_ms,
    )  # fmt: skip


def _moved(
    capacity: Capacity,
    scope: str,
    change: Raise,
    action: str,
    text: str,
    **ramp: object,
) -> Move:
    after = replace(change, ramp=replace(change.ramp, **ramp))  # type: ignore[arg-type]
    return Move(with_raise(capacity, scope, after), action, text, scope, change)


def _numbers(seen: Mapping[str, PoolWatch]) -> str:
    return "; ".join(f"{pool}: {watch.text}" for pool, watch in seen.items() if watch.evidence)
