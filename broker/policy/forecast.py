"""How long somebody who waits will wait: a range from p50 to p90, measured, or nothing at all.

The ground is the *flow* of a population: how many of its tickets were called in each stretch of
``STRETCH_MS`` in which somebody of it waited. If calls come at random (Poisson) at an unknown rate
and ``calls`` of them were seen in ``seconds``, the time until the k-th call from now, divided by
``seconds``, is distributed beta prime (k, calls): the uncertain rate is part of the answer, so that
three calls make a wide range and three hundred a narrow one. Calls that come in swarms (a raise, a
meeting that ends) vary more than a Poisson flow does; what is measured of that (the *dispersion*,
variance over mean of the stretches) makes k and ``calls`` count as that much fewer (quasi-Poisson;
McCullagh and Nelder, "Generalized Linear Models", 9.1).

No range is given on too few calls, nor when calls have ceased for longer than chance explains, nor
for a wait longer than anybody is logged in. Who leaves the queue ahead of somebody is not foreseen:
the wait is then shorter than was said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

STRETCH_MS = 10_000
STRETCHES = 60  # ten minutes are looked back upon
_WINDOWS = (6, 12, 30, STRETCHES)  # stretches: the present counts more than what was before a raise
_AMPLE = 30.0  # calls, dispersion taken off, on which a short window suffices
_LEAST = 4.0  # on fewer nothing is said
_CEASED = 5.0  # calls that are missing, so that chance does not explain it (one in 150)
_LONGEST = 43_200.0  # seconds: no session lasts longer
_Z90 = 1.2815515655446004  # standard normal quantile of 0.9


@dataclass(frozen=True, slots=True)
class Flow:
    """``calls`` in ``seconds`` in which somebody waited; ``dispersion`` is at least 1."""

    calls: int
    seconds: float
    dispersion: float = 1.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds from now: half of such waits end by ``p50``, nine of ten by ``p90``."""

    p50: int
    p90: int


def stretch_of(ledger_ms: int) -> int:
    """The number of the stretch in which ``ledger_ms`` lies."""
    return ledger_ms // STRETCH_MS


def measure(calls: Mapping[int, int], present: int) -> Flow | None:
    """The flow on which an estimate can stand, or None. ``calls``: by number of stretch, only those
    in which somebody waited; ``present``: the stretch of now, which is not over and not counted."""
    busy = [
        calls[stretch]
        for stretch in sorted(calls, reverse=True)
        if present - STRETCHES <= stretch < present
    ]
    flows = [_flow(busy[:window]) for window in _WINDOWS]
    firm = next((flow for flow in flows if _weight(flow) >= _AMPLE), None)
    best = firm or max(flows, key=_weight)
    if _weight(best) < _LEAST or _has_ceased(busy, best):
        return None
    return best


def estimate(flow: Flow | None, position: int) -> Estimate | None:
    """For the ticket at ``position`` (1: next); None: we cannot say. Rounded as it is shown."""
    if flow is None:
        return None
    k = max(1.0, position / flow.dispersion)
    n = _weight(flow)
    p50, p90 = (flow.seconds * _beta_prime(k, n, z) for z in (0.0, _Z90))
    if p90 > _LONGEST:
        return None
    return Estimate(_rounded(p50, round), _rounded(p90, math.ceil))


def _flow(busy: Sequence[int]) -> Flow:
    calls = sum(busy)
    if not calls:
        return Flow(0, 0.0)
    mean = calls / len(busy)
    spread = sum((count - mean) ** 2 for count in busy) / max(1, len(busy) - 1)
    return Flow(calls, len(busy) * STRETCH_MS / 1000, max(1.0, spread / mean))


def _weight(flow: Flow) -> float:
    return flow.calls / flow.dispersion


def _has_ceased(busy: Sequence[int], flow: Flow) -> bool:
    """Whether the latest stretches without a call are too many for chance."""
    silent = next((index for index, count in enumerate(busy) if count), len(busy))
    before = flow.seconds - silent * STRETCH_MS / 1000  # above 0: it has calls in it
    missing = _weight(flow) / before * silent * STRETCH_MS / 1000
    return missing > _CEASED


def _beta_prime(k: float, n: float, z: float) -> float:
    """The quantile of beta prime (k, n) at the normal quantile ``z``, which is k/n times that of F
    with 2k and 2n degrees of freedom; by the cube roots of the chi-squares, which are nearly normal
    (Paulson, "An approximate normalization of the analysis of variance distribution", 1942)."""
    a, b = 1 / (9 * k), 1 / (9 * n)
    root = math.sqrt((1 - a) ** 2 * b + (1 - b) ** 2 * a - a * b * z * z)
    cube_root = ((1 - a) * (1 - b) + z * root) / ((1 - b) ** 2 - b * z * z)
    return float(k / n * cube_root**3)


_STEPS = ((90, 5), (1800, 60), (math.inf, 300))
"""Up to so many seconds a time is told in steps of so many: "37 min 12 s" is no guess's face."""


def _rounded(seconds: float, to: Callable[[float], int]) -> int:
    step = next(step for most, step in _STEPS if seconds <= most)
    return max(step, to(seconds / step) * step)
