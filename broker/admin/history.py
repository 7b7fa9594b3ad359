"""The last hour as the console draws it: one row for each moment, rates from counters. Pure.

Memory is bounded by the number of rows; what was before this process began is not known.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broker.policy.guard import Figures, difference, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.ledger.port import Usage

Readings = dict[str, "Mapping[str, Figures]"]
"""What each worker's servers answered since it started: by incarnation, by pool."""

KEPT_EVERY = 5.0  # seconds
ROWS = 720  # an hour
WINDOW = 10.0  # seconds over which rates are taken


@dataclass(frozen=True, slots=True)
class Pulse:
    """A pool, or all of them, over the last seconds. Rates per second; ``p95`` in seconds, None
    without a response; ``failed`` of the responses were 5xx, ``undialled`` found no connection."""

    responses: float
    failed: float
    undialled: float
    p95: float | None

    def view(self) -> dict[str, float | None]:
        return {
            "responses": round(self.responses, 2),
            "failed": round(self.failed, 3),
            "undialled": round(self.undialled, 3),
            "p95_seconds": None if self.p95 is None else round(self.p95, 4),
        }


class Rates:
    """Takes readings of counters that only grow, and says how fast they did."""

    def __init__(self) -> None:
        self._heard: deque[tuple[float, Readings, Mapping[str, float]]] = deque()

    def hear(
        self, now: float, readings: Readings, logins: Mapping[str, float]
    ) -> tuple[dict[str, Pulse], dict[str, float]]:
        """Pulses by pool ("" for all of them), logins per second by outcome. ``now``: seconds."""
        self._heard.append((now, readings, logins))
        while len(self._heard) > 2 and now - self._heard[1][0] >= WINDOW:
            self._heard.popleft()
        then, before, logged_in = self._heard[0]
        seconds = now - then
        if seconds <= 0:
            return {}, {}
        pools = sorted({pool for figures in readings.values() for pool in figures})
        grown = {pool: difference(_of(before, pool), _of(readings, pool)) for pool in pools}
        grown[""] = _together(list(grown.values()))
        return (
            {pool: _pulse(figures, seconds) for pool, figures in grown.items()},
            {
                # A portal that was started again counts from 0.
                outcome: max(0.0, count - logged_in.get(outcome, 0.0)) / seconds
                for outcome, count in logins.items()
            },
        )


class History:
    """Rows of the last hour."""

    def __init__(self) -> None:
        self._rows: deque[dict[str, Any]] = deque(maxlen=ROWS)
        self._kept_at: float | None = None

    def add(self, now: float, row: dict[str, Any]) -> bool:
        """Keep the row if the last one is old enough; says whether it was."""
        if self._kept_at is not None and now - self._kept_at < KEPT_EVERY - 0.5:
            return False
        self._kept_at = now
        self._rows.append(row)
        return True

    def rows(self) -> list[dict[str, Any]]:
        return list(self._rows)


def row(
    civil: float,
    usage: Usage | None,
    pulses: Mapping[str, Pulse],
    logins: Mapping[str, float],
) -> dict[str, Any]:
    """One moment; null for what nobody could tell. ``civil``: civil time in seconds."""
    everything = pulses.get("")
    limits = None if usage is None else usage.limits
    taken = None if usage is None else {
        name: usage.occupied.get(name, 0) + usage.called.get(name, 0)
        for name in usage.limits.populations
    }  # fmt: skip
    return {
        "t": round(civil, 1),
        "seats": taken,
        "seats_limit": None if limits is None else limits.seats_limit,
        "waiting": None if usage is None else sum(usage.waiting.values()),
        "connections": None if usage is None else sum(usage.used.values()),
        "connections_limit": None if limits is None else limits.connections_limit,
        "scale": None if limits is None else limits.scale,
        "responses": None if everything is None else round(everything.responses, 2),
        "failed": None if everything is None else round(everything.failed, 3),
        "p95": None if everything is None or everything.p95 is None else round(everything.p95, 4),
        "logins": round(logins["ok"], 3) if "ok" in logins else None,
        "logins_refused": round(sum(logins.values()) - logins["ok"], 3) if "ok" in logins else None,
    }


def _of(readings: Readings, pool: str) -> dict[str, Figures]:
    return {worker: figures.get(pool, Figures()) for worker, figures in readings.items()}


def _together(all_: list[Figures]) -> Figures:
    return Figures(
        tuple(map(sum, zip(*(each.buckets for each in all_), strict=True))) or Figures().buckets,
        sum(each.failed for each in all_),
        sum(each.undialled for each in all_),
    )


def _pulse(figures: Figures, seconds: float) -> Pulse:
    responses = sum(figures.buckets)
    return Pulse(
        responses / seconds,
        figures.failed / seconds,
        figures.undialled / seconds,
        quantile(figures.buckets, 0.95) if responses else None,
    )
