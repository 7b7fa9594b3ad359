"""Capacity, orders and the audit trail as plain JSON values. Pure: nothing is asked here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from broker.policy import levels, orders, ramp

if TYPE_CHECKING:
    from broker.ledger.port import AuditEntry
    from broker.policy.capacity import Capacity, Raise
    from broker.policy.limits import LimitsDocument
    from broker.site.orders import Outcome

Json = dict[str, Any]


def in_force(capacity: Capacity | None) -> Json:
    """``level``: its name; ``levels``: those that can be asked for; ``raises``: what lies over the
    base, undermost first, by scope."""
    if capacity is None:
        return {"level": None, "levels": [], "open_to": [], "raises": {}, "caps": []}
    return {
        "level": orders.NORMAL if capacity.level is None else capacity.level.level,
        "levels": sorted({orders.NORMAL, *capacity.base.levels}),
        "open_to": list(levels.admitted_populations(capacity)),
        "raises": {scope: one(change) for scope, change in levels.raises(capacity)},
        "caps": [
            {"what": cap.what, "asked": cap.asked, "ceiling": cap.ceiling}
            for cap in levels.caps(capacity)
        ],
    }


def one(change: Raise) -> Json:
    """One raise with its ramp. ``steps``: the scale of each; ``step``: how many are in force."""
    way = change.ramp
    planned = ramp.steps(way)
    reached = sum(scale <= way.scale for scale in planned)
    return {
        "raise": change.name,
        "level": change.level or None,
        "author": change.author,
        "reason": change.reason,
        "began": civil(change.began_ms),
        "ends": None if change.ends_ms is None else civil(change.ends_ms),
        "open_to": list(change.open_to),
        "pools": dict(change.pools),
        "guard": change.guard,
        "baseline_seconds": dict(change.baseline),
        "ramp": {
            "start": way.start,
            "target": way.target,
            "scale": way.scale,
            "state": way.state,
            "why": way.why or None,
            "rolled_back": way.rolled_back,
            "step": reached,
            "steps": planned,
            "every_seconds": way.every_ms / 1000,
            "finish_seconds": max(0, len(planned) - reached) * way.every_ms / 1000,
        },
    }


def outcome(done: Outcome) -> Json:
    """What an order changed, or would change."""
    return {
        "published": done.published,
        "version": done.after.number,
        "before": numbers(done.before),
        "after": {**numbers(done.after), **in_force(done.after.capacity)},
        "at_target": numbers(at_target(done.after)),
        "occupied": dict(done.usage.occupied),
        "waiting": dict(done.usage.waiting),
    }


def at_target(document: LimitsDocument) -> LimitsDocument:
    """The document when every ramp has arrived: what-if by the code that applies."""
    from dataclasses import replace

    capacity = document.capacity
    assert capacity is not None
    for scope, change in levels.raises(capacity):
        arrived = replace(change, ramp=replace(change.ramp, state="reached"))
        capacity = levels.with_raise(capacity, scope, arrived)
    return levels.in_force(capacity, document)


def numbers(document: LimitsDocument) -> Json:
    """The limits that an order changes."""
    return {
        "scale": document.scale,
        "seats": document.seats_limit,
        "connections": document.connections_limit,
        "pools": {name: pool.connections.limit for name, pool in document.pools.items()},
        "admitted": [name for name, each in document.populations.items() if each.admitted],
    }


def entry(one: AuditEntry) -> Json:
    """A line of the audit trail."""
    return {
        "number": one.number,
        "time": civil(one.civil_ms),
        "version": one.version,
        "author": one.author,
        "action": one.action,
        "subject": one.subject,
        "reason": one.reason,
        "before": one.before,
        "after": one.after,
    }


def civil(ms: int) -> str:
    """RFC 3339, in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
