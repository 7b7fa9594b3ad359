"""How many at the same time, and whether that was ever more than allowed. Pure.

A limit is known as samples; between two of them the larger one is taken, and for ``GRACE`` around,
so that an honest change of the limit is never called an over-admission. Only *steps up* count, each
against the limits since it may have been admitted: after a limit was lowered, who is in stays in.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

GRACE = 2.0  # seconds


class Change(NamedTuple):
    """``step``: +1 or -1. ``since``: when what begins may have been admitted at the earliest; None:
    just now. Who cannot tell says -inf: then the highest limit until now is what counts."""

    time: float
    step: int
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """The count over time as (time, count after it), its highest, and how many steps up went
    beyond the limit."""

    points: list[tuple[float, int]]
    highest: int
    exceeded: int


def use(changes: Iterable[Change], limit: Sequence[tuple[float, float]]) -> Use:
    """At the same instant what ends goes first: two that touch do
    not overlap. ``limit``: samples (time, limit), sorted; empty: nothing is exceeded."""
    count = highest = exceeded = 0
    points: list[tuple[float, int]] = []
    times = [time for time, _ in limit]
    for time, step, since in sorted(changes, key=lambda change: change[:2]):
        count += step
        highest = max(highest, count)
        if points and points[-1][0] == time:
            points[-1] = (time, count)
        else:
            points.append((time, count))
        if (
            step > 0
            and limit
            and count > allowed(time if since is None else since, time, times, limit)
        ):
            exceeded += 1
    return Use(points, highest, exceeded)


def allowed(
    since: float, until: float, times: Sequence[float], limit: Sequence[tuple[float, float]]
) -> float:
    """The highest limit that may have been in force between the two."""
    first = max(0, bisect_right(times, since - GRACE) - 1)
    last = min(len(limit) - 1, bisect_left(times, until + GRACE))
    return max(value for _, value in limit[first : last + 1])


def highest_by_second(points: Sequence[tuple[float, int]], end: float) -> list[tuple[float, int]]:
    """For a chart: the highest count in each second from 0 to ``end``."""
    result: list[tuple[float, int]] = []
    now = position = 0
    for second in range(int(end) + 1):
        high = now
        while position < len(points) and points[position][0] < second + 1:
            now = points[position][1]
            high = max(high, now)
            position += 1
        result.append((float(second), high))
    return result
