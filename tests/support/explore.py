"""Breadth-first search through every world that the bounds of a scenario allow.

Explicit states, hashed; the first violation found is one with the fewest actions, and its whole
history is told. ``search`` knows nothing of what is searched: ``explore`` searches grants,
``explore_site`` seats, tickets and levels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from tests.support import seat_site, seat_site_checks
from tests.support.grant_world import Bounds, Mutation, World, begin, settle_down

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator


class Explorable(Protocol):
    """What is searched. ``key`` is equal for states whose futures are equal."""

    def copy(self) -> Self: ...

    def key(self) -> Hashable: ...

    def actions(self) -> Iterator[tuple[str, Callable[[Self], None]]]: ...


T = TypeVar("T", bound=Explorable)


@dataclass(frozen=True, slots=True)
class Found:
    """``violation``: None, or what went wrong and the actions that led there."""

    states: int
    complete: bool
    violation: str | None


def search(
    start: T,
    broken: Callable[[T, T, str], str | None],
    at_rest: Callable[[T], str | None],
    *,
    most: int,
    settle_every: int,
) -> Found:
    """At most ``most`` states from ``start``. ``broken`` judges each step (before, after, its
    label); every ``settle_every``-th state is also judged by ``at_rest``."""
    seen = {hash(start.key())}
    queue: deque[tuple[T, Any]] = deque([(start, None)])
    while queue:
        state, history = queue.popleft()
        for label, action in state.actions():
            after = state.copy()
            action(after)
            path = (history, label)
            if what := broken(state, after, label):
                return Found(len(seen), False, tell(what, path))
            key = hash(after.key())
            if key in seen:
                continue
            seen.add(key)
            if len(seen) % settle_every == 0 and (what := at_rest(after)):
                return Found(len(seen), False, tell(what, path))
            if len(seen) >= most:
                return Found(len(seen), False, None)
            queue.append((after, path))
    return Found(len(seen), True, None)


def explore(
    bounds: Bounds, mutation: Mutation | None = None, *, most: int, settle_every: int = 97
) -> Found:
    """Grants: every world within ``bounds``, at most ``most`` of them; every ``settle_every``-th is
    also brought to rest, to see that nothing has leaked."""
    start = begin(bounds, mutation)
    return search(start, _over_granted, leaked, most=most, settle_every=settle_every)


def explore_site(
    bounds: seat_site.Bounds,
    mutation: seat_site.Mutation | None = None,
    *,
    most: int,
    settle_every: int = 29,
) -> Found:
    """Seats, tickets and levels, likewise."""
    start = seat_site.begin(bounds, mutation)
    checks = seat_site_checks
    return search(start, checks.broken, checks.at_rest, most=most, settle_every=settle_every)


def _over_granted(before: World, after: World, _label: str) -> str | None:
    holds = after.together()
    if holds > before.together() and holds > after.bound():
        return f"{holds} held together, {after.bound()} allowed"
    return None


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
