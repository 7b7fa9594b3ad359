"""What operators may order of capacity, checked and turned into the capacity that follows. Pure.

Apply and what-if call the same functions; each raises Refused or NotFound with a sentence that says
how to do it right, and then nothing has changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from broker.errors import NotFound, Refused
from broker.policy.capacity import Raise
from broker.policy.levels import (
    admitted_populations,
    pool_scale,
    raises,
    site_scale,
    with_raise,
)
from broker.policy.ramp import LONGEST_RAMP, begin, steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broker.policy.capacity import Capacity, GuardMode

NORMAL = "normal"
"""The level that always exists: as configured."""
LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Order:
    """Who orders, why and when. ``version``: of the limits it was decided on; ``now_ms``: ledger
    time; ``civil_ms``: civil time. ``factor``: of each step of the ramp, None: in one step."""

    author: str
    reason: str
    version: int
    now_ms: int
    civil_ms: int
    factor: float | None = 1.25
    every_ms: int = 60_000
    guard: GuardMode = "rollback"


def raise_to(
    capacity: Capacity,
    order: Order,
    scale: float,
    *,
    pool: str | None = None,
    open_to: Sequence[str] = (),
    ends_ms: int | None = None,
) -> Capacity:
    """``scale`` times the configured numbers, of the site or of ``pool``. ``open_to``: populations
    admitted besides those that are now."""
    _check_order(order)
    _check_scale(scale, order)
    if scale < 1:
        raise Refused(f"a raise multiplies by 1 or more, not by {scale:g}; for less there is lower")
    if ends_ms is not None and ends_ms <= order.civil_ms:
        raise Refused("the end lies in the past; say --for 14d, or --until with a later date")
    if pool is not None:
        _known(pool, capacity.base.pools, "pool")
        if open_to:
            raise Refused("a raise of one pool admits nobody: leave out --open-to, or --pool")
        _within(scale, f"pool {pool}", capacity.base.pool_ceilings.get(pool, math.inf))
    else:
        _within(scale, "the seats", capacity.base.seats_ceiling)
        _within(scale, "the site's connections", capacity.base.connections_ceiling)
    for name in open_to:
        _known(name, capacity.base.populations, "population")
    admitted: tuple[str, ...] = ()
    if open_to:
        wanted = {*admitted_populations(capacity), *open_to}
        admitted = tuple(name for name in capacity.base.populations if name in wanted)
    scope = pool or "site"
    start = site_scale(capacity) if pool is None else pool_scale(capacity, pool)
    change = _change(order, start, scale, ends_ms=ends_ms, open_to=admitted)
    return with_raise(capacity, scope, change)


def lower(
    capacity: Capacity, order: Order, scale: float | None = None, *, pool: str | None = None
) -> Capacity:
    """End the raise in force for the scope; with ``scale``, go down to that instead, in one step
    and under the same end. Nobody is thrown out by either."""
    _check_order(order)
    if pool is not None:
        _known(pool, capacity.base.pools, "pool")
    scope = pool or "site"
    present = dict(raises(capacity)).get(scope)
    if scale is None:
        if present is None:
            level = capacity.level.level if capacity.level is not None else NORMAL
            raise Refused(f"no raise is in force for {pool or 'the site'}: the level is {level}")
        return with_raise(capacity, scope, None)
    _check_scale(scale, order)
    start = site_scale(capacity) if pool is None else pool_scale(capacity, pool)
    if scale >= start:
        raise Refused(
            f"{start:g}x is in force, and {scale:g}x is not lower; for more there is raise"
        )
    change = _change(replace(order, factor=None), start, scale)
    if present is not None:
        change = replace(change, ends_ms=present.ends_ms, open_to=present.open_to)
    return with_raise(capacity, scope, change)


def level(capacity: Capacity, order: Order, name: str) -> Capacity:
    """Make level ``name`` the one in force. A raise that lies over it goes on."""
    _check_order(order)
    if name == NORMAL and name not in capacity.base.levels:
        return with_raise(capacity, "level", None)
    _known(name, capacity.base.levels, "level")
    wanted = capacity.base.levels[name]
    start = 1.0 if capacity.level is None else capacity.level.ramp.scale
    change = _change(order, start, wanted.scale, open_to=wanted.open_to)
    return with_raise(capacity, "level", replace(change, level=name, pools=dict(wanted.pools)))


def scope_to_steer(capacity: Capacity, pool: str | None) -> str:
    """The scope that hold and resume mean: the pool named, else the uppermost of the site."""
    if pool is not None:
        _known(pool, capacity.base.pools, "pool")
        return pool
    return "site" if capacity.site is not None else "level"


def in_words(capacity: Capacity) -> str:
    """What is in force, in one line: for the audit trail."""
    parts = [f"{site_scale(capacity):.3g}x, open to {', '.join(admitted_populations(capacity))}"]
    if capacity.level is not None:
        parts.append(f"level {capacity.level.level}")
    parts += [f"pool {pool} {each.ramp.scale:.3g}x" for pool, each in capacity.pools.items()]
    return "; ".join(parts)


def _change(
    order: Order,
    start: float,
    target: float,
    *,
    ends_ms: int | None = None,
    open_to: tuple[str, ...] = (),
) -> Raise:
    return Raise(
        name=order.version + 1,
        ramp=begin(
            start, target, factor=order.factor, every_ms=order.every_ms, now_ms=order.now_ms
        ),
        author=order.author,
        reason=order.reason,
        began_ms=order.civil_ms,
        ends_ms=ends_ms,
        open_to=open_to,
        guard=order.guard,
    )


def _check_order(order: Order) -> None:
    reason = order.reason.strip()
    if not reason:
        raise Refused("say why: --reason TEXT stands in the audit trail")
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise Refused(f"a reason is one line of at most {LONGEST_REASON} characters")


def _check_scale(scale: float, order: Order) -> None:
    if not math.isfinite(scale) or scale <= 0:
        raise Refused("a scale is a number above 0, such as 6x")
    if order.factor is not None:
        if not math.isfinite(order.factor) or not 1 < order.factor <= 10:
            raise Refused(
                "a step of the ramp multiplies by more than 1 and at most 10, such as 1.25"
            )
        if len(steps(begin(1.0, scale, factor=order.factor, every_ms=1, now_ms=0))) > LONGEST_RAMP:
            raise Refused(f"a ramp has at most {LONGEST_RAMP} steps: take a larger factor")
    if not 100 <= order.every_ms <= 86_400_000:
        raise Refused("a step of the ramp lasts between 0.1s and 24h")


def _within(scale: float, what: str, ceiling: float) -> None:
    if scale > ceiling:
        raise Refused(
            f"{scale:g}x is above the ceiling of {what}, {ceiling:g}x; raise to {ceiling:g}x, or"
            " set a higher ceiling in the configuration and reload it with --publish"
        )


def _known(name: str, names: Iterable[str], kind: str) -> None:
    known = list(names)
    if name not in known:
        close = get_close_matches(name, known, n=3) or known
        raise NotFound(f"there is no {kind} {name}; known: {', '.join(close)}")
