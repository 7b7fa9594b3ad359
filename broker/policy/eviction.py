"""Which idle seats end when capacity was lowered and somebody asked for that (``--evict idle``).

Only seats that are reclaimable, the longest idle first, and only as many as are held above a limit:
first of each population above its maximum, then of all while the site is above its limit. A seat in
use is never ended. ``ledger/lua/evict.lua`` repeats this (one contract suite runs on both).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.policy.seats import reclaimable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.limits import LimitsDocument
    from broker.policy.queueing import IdleSeat


def seats_to_end(
    limits: LimitsDocument,
    now_ms: int,
    held: Mapping[str, int],
    seats: Mapping[str, Sequence[IdleSeat]],
    most: int,
) -> tuple[tuple[str, str], ...]:
    """At most ``most`` seats as (population, employee). ``held``: occupied + called by population;
    ``seats``: occupied seats, the longest idle first, in the order in which ties are broken."""
    left = dict(held)
    next_idle = dict.fromkeys(seats, 0)
    ended: list[tuple[str, str]] = []

    def longest_idle(population: str) -> IdleSeat | None:
        at = next_idle[population]
        if at >= len(seats[population]):
            return None
        seat = seats[population][at]
        return seat if reclaimable(limits, seat.activity_ms, now_ms) else None

    def end(population: str, seat: IdleSeat) -> None:
        ended.append((population, seat.employee))
        next_idle[population] += 1
        left[population] -= 1

    for population in seats:
        own = limits.populations.get(population)
        while own is not None and len(ended) < most and left[population] > own.seats_maximum:
            seat = longest_idle(population)
            if seat is None:
                break
            end(population, seat)
    while len(ended) < most and sum(left.values()) > limits.seats_limit:
        idle = [(name, seat) for name in seats if (seat := longest_idle(name)) is not None]
        if not idle:
            break
        end(*min(idle, key=lambda found: found[1].activity_ms))
    return tuple(ended)


def how_many(limits: LimitsDocument, held: Mapping[str, int], idle: Mapping[str, int]) -> int:
    """How many that would be, from counts alone. ``idle``: reclaimable seats by population."""
    ended = 0
    left = dict(idle)
    for population, count in idle.items():
        own = limits.populations.get(population)
        if own is not None:
            above = min(count, max(0, held.get(population, 0) - own.seats_maximum))
            left[population] -= above
            ended += above
    above_site = max(0, sum(held.values()) - ended - limits.seats_limit)
    return ended + min(sum(left.values()), above_site)
