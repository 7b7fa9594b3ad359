"""From a morning's measures to numbers: percentiles of waits, stranded seats, fairness. Seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.simulate.measures import Measures


@dataclass(frozen=True, slots=True)
class Waits:
    """Of one population, or of all. ``seated``: admissions; ``waited``: those not at once, whose
    ``p50`` to ``longest`` these are, None when nobody waited. Who still waits at the end counts
    with what it waited so far, so that an endless queue does not look short."""

    seated: int
    waited: int
    unserved: int
    mean: float
    p50: float | None
    p90: float | None
    p99: float | None
    longest: float | None


@dataclass(frozen=True, slots=True)
class Stranded:
    """While anybody waits, the parts of the seats that serve nobody at work. ``idle``: the owners
    have finished, but not idle for long enough to be reclaimed; ``called``: reserved for somebody;
    ``free``: kept for a guarantee, or just given back. ``minutes``: how long anybody waited."""

    idle: float
    called: float
    free: float
    minutes: float

    @property
    def all(self) -> float:
        return self.idle + self.called + self.free


def waits(measures: Measures, population: str | None = None) -> Waits:
    names = measures.populations if population is None else [population]
    served = [wait for name in names for wait in measures.waits[name]]
    open_ones = [wait for name in names for wait in measures.still_waiting[name]]
    waited = sorted([wait for wait in served if wait > 0] + open_ones)
    return Waits(
        seated=len(served),
        waited=len(waited),
        unserved=len(open_ones),
        mean=sum(waited) / 1000 / len(waited) if waited else 0.0,
        p50=percentile(waited, 0.5),
        p90=percentile(waited, 0.9),
        p99=percentile(waited, 0.99),
        longest=waited[-1] / 1000 if waited else None,
    )


def percentile(ascending_ms: Sequence[int], part: float) -> float | None:
    """Nearest rank, in seconds; None of nothing."""
    if not ascending_ms:
        return None
    return ascending_ms[max(0, math.ceil(len(ascending_ms) * part) - 1)] / 1000


def most_waiting(measures: Measures) -> int:
    return max((sum(sample.waiting.values()) for sample in measures.samples), default=0)


def stranded(measures: Measures) -> Stranded:
    limit = idle = called = free = samples = 0
    for sample, at_work in zip(measures.samples, measures.at_work(), strict=True):
        if not any(sample.waiting.values()):
            continue
        held, reserved = sum(sample.held.values()), sum(sample.called.values())
        samples += 1
        limit += sample.limit
        called += reserved
        free += max(0, sample.limit - held)
        idle += max(0, held - reserved - at_work)
    whole = max(1, limit)
    minutes = samples * measures.sample_ms / 60_000
    return Stranded(idle / whole, called / whole, free / whole, minutes)


def evenness(values: Sequence[float]) -> float:
    """Jain's index (1984): 1 when all are equal, 1/n when one has all."""
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0
