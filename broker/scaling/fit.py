"""Least squares for the law, with profile intervals. The only module that knows numpy and scipy.

Fitted in logarithms, because throughput scatters in proportion; ``alone`` then has a closed form,
and two parameters are left. An interval holds the values whose best fit is not significantly worse
(profile likelihood: D. Bates and D. Watts, "Nonlinear Regression Analysis", Wiley 1988, ch. 6),
which stays honest where a parameter sits on its bound of 0 and a covariance matrix would not.
Intervals that follow each other are alike: their number is corrected by how much (first-order
autocorrelation of the residuals).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, stats

from broker.scaling.law import Law

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CONFIDENCE = 0.95
FARTHEST = 1e7  # exchanges in flight: an interval that reaches so far has no upper end
_STARTS = ((0.001, 0.0), (0.03, 0.0001), (0.2, 0.0), (0.01, 0.01), (0.6, 0.0))


@dataclass(frozen=True, slots=True)
class Interval:
    """``low`` and ``high`` at ``CONFIDENCE``; ``high`` infinite: the data do not bound it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """``scatter``: standard deviation of the measured about the fitted throughput, as a part of it.
    ``points``: how many independent ones the data are worth."""

    law: Law
    contention: Interval
    coherency: Interval
    knee: Interval
    scatter: float
    points: float


def fit(in_flight: Sequence[float], per_second: Sequence[float], levels: int) -> Fit:
    """The points in the order of time. ``levels``: how many different loads they stand for; they
    are worth that many at least. Raises ValueError with fewer than four, or any not above 0."""
    n, x = np.asarray(in_flight, dtype=float), np.asarray(per_second, dtype=float)
    if len(n) < 4 or len(n) != len(x) or not (np.all(n > 0) and np.all(x > 0)):
        raise ValueError("the law needs four points above 0, or more")
    return _Fitting(n, x, levels).fit()


class _Fitting:
    def __init__(self, n: NDArray[np.float64], x: NDArray[np.float64], levels: int) -> None:
        self._n = n
        self._levels = levels
        self._log = np.log(x) - np.log(n)

    def fit(self) -> Fit:
        s, k = min((self._best(start) for start in _STARTS), key=lambda found: self._sum(*found))
        residuals = self._residuals(s, k)
        least = float(residuals @ residuals)
        worth = _worth(residuals, self._levels)
        freedom = max(1.0, worth - 3.0)
        scatter = math.sqrt(least / max(1, len(self._n) - 3))
        law = Law(float(np.exp(np.mean(self._log + self._logs(s, k)))), s, k)
        # An exact fit has no scatter at all; then its intervals are as wide as rounding.
        allowed = max(least, 1e-12) * (
            1 + stats.t.ppf((1 + CONFIDENCE) / 2, freedom) ** 2 / freedom
        )
        return Fit(
            law,
            contention=_interval(self._over_contention, s, 1e-9, 1.0, allowed),
            coherency=_interval(self._over_coherency, k, 1e-12, 1.0, allowed),
            knee=_interval(self._over_knee, law.knee(), 1.0, FARTHEST, allowed),
            scatter=scatter,
            points=worth,
        )

    def _logs(self, s: float, k: float) -> NDArray[np.float64]:
        n = self._n
        return np.log(np.maximum(1e-9, 1 + s * (n - 1) + k * n * (n - 1)))

    def _residuals(self, s: float, k: float) -> NDArray[np.float64]:
        apart = self._log + self._logs(s, k)
        centred: NDArray[np.float64] = apart - apart.mean()
        return centred

    def _sum(self, s: float, k: float) -> float:
        residuals = self._residuals(s, k)
        return float(residuals @ residuals)

    def _best(self, start: tuple[float, float]) -> tuple[float, float]:
        found = optimize.least_squares(
            lambda at: self._residuals(at[0], at[1]), start, bounds=((0, 0), (1, 1)),
            x_scale=(0.01, 1e-4), xtol=1e-12, ftol=1e-12, gtol=1e-12,
        )  # fmt: skip
        return self._snapped(float(found.x[0]), float(found.x[1]))

    def _snapped(self, s: float, k: float) -> tuple[float, float]:
        """The solver stays inside its bounds by a hair; on them when that fits no worse."""
        for other in ((0.0, k), (s, 0.0), (0.0, 0.0)):
            if self._sum(*other) <= self._sum(s, k) * (1 + 1e-9):
                s, k = other
        return s, k

    # --- profiles: the least sum of squares with one figure fixed

    def _over_contention(self, s: float) -> float:
        return _least(lambda k: self._sum(s, k), 1e-12, 1.0)

    def _over_coherency(self, k: float) -> float:
        return _least(lambda s: self._sum(s, k), 1e-9, 1.0)

    def _over_knee(self, knee: float) -> float:
        """All laws with that knee: coherency from 0 up to where contention would be below 0."""
        most = 1.0 / (3.0 * knee * knee - knee)

        def squares(k: float) -> float:
            return self._sum((1.0 + k * knee - 3.0 * k * knee * knee) / (1.0 + knee), k)

        return _least(squares, most * 1e-9, most)


def _least(squares: Callable[[float], float], low: float, high: float) -> float:
    """The least value between 0 and ``high``; looked for in logarithms, since the place may be many
    powers of ten below ``high``."""
    found = optimize.minimize_scalar(
        lambda log: squares(math.exp(log)), bounds=(math.log(low), math.log(high)), method="bounded"
    )
    return min(float(found.fun), squares(0.0), squares(high))


def _interval(
    profile: Callable[[float], float], best: float, low: float, high: float, allowed: float
) -> Interval:
    """From ``best`` outwards to where the profile exceeds ``allowed``; within ``low`` and ``high``,
    where below ``low`` means 0 and above ``high`` unbounded."""
    centre = min(max(best, low), high)
    # Where the best lies outside, or the profile stops a hair above the least, start from there.
    allowed = max(allowed, profile(centre) * (1 + 1e-9))

    def excess(log: float) -> float:
        return profile(math.exp(log)) - allowed

    def edge(towards: float) -> float | None:
        inside = math.log(centre)
        step = 0.1 if towards > inside else -0.1
        while inside != towards:
            outside = min(inside + step, towards) if step > 0 else max(inside + step, towards)
            if excess(outside) > 0:
                lower, upper = sorted((inside, outside))
                return math.exp(optimize.brentq(excess, lower, upper, xtol=1e-6))
            inside, step = outside, step * 1.5
        return None

    at_low, at_high = edge(math.log(low)), edge(math.log(high))
    return Interval(
        0.0 if at_low is None else min(at_low, best), math.inf if at_high is None else at_high
    )


def _worth(residuals: NDArray[np.float64], levels: int) -> float:
    """How many independent points: n (1 - r) / (1 + r), but not more than there are and not fewer
    than loads: where a law that bends gently misses a sharp bend, neighbours err alike, too. The
    measured autocorrelation is too low by (1 + 3 r) / n in short series (Kendall 1954)."""
    count = len(residuals)
    whole = float(residuals @ residuals)
    if whole <= 0.0:
        return float(count)
    measured = float(residuals[:-1] @ residuals[1:]) / whole
    r = min(0.95, max(0.0, measured + (1 + 3 * measured) / count))
    return min(float(count), max(float(levels), count * (1 - r) / (1 + r)))
