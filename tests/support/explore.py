"""Breadth-first search through every world that the bounds of a scenario allow.

Explicit states, hashed; the first violation found is one with the fewest actions, and its whole
history is told.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any

from tests.support.grant_world import Bounds, Mutation, World, begin, settle_down


@dataclass(frozen=True, slots=True)
class Found:
    """``violation``: None, or what went wrong and the actions that led there."""

    states: int
    complete: bool
    violation: str | None


def explore(
    bounds: Bounds, mutation: Mutation | None = None, *, most: int, settle_every: int = 97
) -> Found:
    """Every world within ``bounds``, at most ``most`` of them; every ``settle_every``-th is also
    brought to rest, to see that nothing has leaked."""
    start = begin(bounds, mutation)
    seen = {hash(start.key())}
    queue: deque[tuple[World, Any]] = deque([(start, None)])
    while queue:
        world, history = queue.popleft()
        before = world.together()
        for label, action in world.actions():
            after = world.copy()
            action(after)
            path = (history, label)
            holds = after.together()
            if holds > before and holds > after.bound():
                what = f"{holds} held together, {after.bound()} allowed"
                return Found(len(seen), False, tell(what, path))
            key = hash(after.key())
            if key in seen:
                continue
            seen.add(key)
            if len(seen) % settle_every == 0 and (leak := leaked(after)):
                return Found(len(seen), False, tell(leak, path))
            if len(seen) >= most:
                return Found(len(seen), False, None)
            queue.append((after, path))
    return Found(len(seen), True, None)


def leaked(world: World) -> str | None:
    """Brought to rest, everybody busy gets what the limit gives, and the idle give all back."""
    rested = world.copy()
    rested.bounds = replace(rested.bounds, syncs=10**9)
    settle_down(rested)
    limits = rested.book.limits
    assert limits is not None
    alive = sum(rested.alive)
    wanted = alive * rested.bounds.demand * rested.bounds.cells
    in_use = sum(sum(used.values()) for used in rested.used)
    booked = sum(rested.book.held().values())
    if alive and booked < min(limits.connections_limit, wanted):
        return f"leak: only {booked} booked at rest of {limits.connections_limit}"
    if alive and booked > max(limits.connections_limit, in_use):
        return f"leak: {booked} booked at rest of {limits.connections_limit}"
    rested.used = [{} for _ in rested.used]
    rested.bounds = replace(rested.bounds, demand=0)
    settle_down(rested)
    if held := rested.book.held():
        return f"leak: nobody wants anything, yet {held} is booked"
    return None


def tell(what: str, path: Any) -> str:
    """``path``: (the path before, label), nested."""
    labels: list[str] = []
    while path is not None:
        path, label = path
        labels.append(label)
    steps = (f"\n  {number}. {label}" for number, label in enumerate(reversed(labels), 1))
    return what + "".join(steps)
