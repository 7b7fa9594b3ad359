"""Whether a pool's step load carries an answer, and the answer: how much is safe.

Safe is the lower end of the knee's interval, and never beyond where errors began. An answer that
would rest on extrapolation is refused, with what to measure instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from broker.scaling.fit import Fit, fit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.scaling.measured import Step

LEVELS = 5  # different loads: three parameters and something left to contradict them
SAME_LEVEL = 1.15  # loads closer than this are one level
SPREAD = 4.0  # the highest load at least so many times the lowest
ALONE = 1.0  # below this exchanges hardly meet, and the law says nothing
EXCHANGES = 50  # an interval with fewer says little
ERRORS = 0.01  # above this share an interval measures refusals, not work
SCATTER = 0.15  # a standard deviation above this: the load was not steady
WIDTH = 3.0  # an interval of the knee wider than this ratio is no answer
BEYOND = 1.5  # its upper end at most so far beyond what was measured
LITTLE = 4.0  # in flight / throughput against the median latency


@dataclass(frozen=True, slots=True)
class Answer:
    """``refused``: why there is none, and what to do; empty when ``fit`` stands. ``points``: what
    was fitted, (in flight, exchanges a second). ``errors_from``: load at which errors began.
    ``base``: load at scale 1, where known."""

    pool: str
    points: tuple[tuple[float, float], ...]
    fit: Fit | None = None
    refused: tuple[str, ...] = ()
    left_out: int = 0
    errors_from: float | None = None
    base: float | None = None

    @property
    def measured_to(self) -> float:
        return max((n for n, _ in self.points), default=0.0)

    @property
    def safe(self) -> float:
        """Exchanges in flight; 0.0 without an answer."""
        if self.fit is None or self.refused:
            return 0.0
        bounds = [self.fit.knee.low, self.measured_to]
        if self.errors_from is not None:
            bounds.append(self.errors_from / SAME_LEVEL)
        return min(bounds)

    @property
    def safe_scale(self) -> float | None:
        """In terms of the base, where that is known."""
        return None if self.base is None or not self.answered else self.safe / self.base

    @property
    def answered(self) -> bool:
        return self.fit is not None and not self.refused


def answer(pool: str, steps: Sequence[Step], base: float | None = None) -> Answer:
    """``steps`` in the order of time."""
    busy = [step for step in steps if tells(step)]
    good = [step for step in busy if step.error_share <= ERRORS]
    points = tuple((step.in_flight, step.per_second) for step in good)
    errors_from = _errors_from(busy)
    left_out = len(steps) - len(good)
    found = levels([n for n, _ in points])
    why = _too_little(found)
    if not why:
        why = _contradicts(good)
    if why:
        return Answer(pool, points, None, tuple(why), left_out, errors_from, base)
    fitted = fit([n for n, _ in points], [x for _, x in points], len(found))
    return Answer(
        pool, points, fitted, tuple(_carries(fitted, found[-1])), left_out, errors_from, base
    )


def answers(pools: Mapping[str, Sequence[Step]], bases: Mapping[str, float]) -> list[Answer]:
    """The tightest first, those without an answer last."""
    found = [answer(pool, steps, bases.get(pool)) for pool, steps in pools.items()]
    return sorted(found, key=_tightness)


def _tightness(each: Answer) -> tuple[bool, bool, float]:
    """By scale where the base is known; else by how early this run's mix came to it."""
    scale = each.safe_scale
    early = each.safe / each.measured_to if each.measured_to else math.inf
    return not each.answered, scale is None, early if scale is None else scale


def tells(step: Step) -> bool:
    """Whether an interval says anything of how exchanges get into each other's way."""
    return step.in_flight >= ALONE and step.ended >= EXCHANGES


def levels(loads: Sequence[float]) -> list[float]:
    """Different loads, ascending: each the mean of those that lie together."""
    groups: list[list[float]] = []
    for load in sorted(loads):
        if groups and load <= groups[-1][0] * SAME_LEVEL:
            groups[-1].append(load)
        else:
            groups.append([load])
    return [sum(group) / len(group) for group in groups]


def _errors_from(steps: Sequence[Step]) -> float | None:
    """The lowest level of load where at least half of the intervals had errors."""
    for level in levels([step.in_flight for step in steps]):
        at = [s for s in steps if level / SAME_LEVEL <= s.in_flight <= level * SAME_LEVEL]
        bad = sum(step.error_share > ERRORS for step in at)
        if at and bad * 2 >= len(at):
            return level
    return None


def _too_little(found: Sequence[float]) -> list[str]:
    if len(found) < LEVELS:
        return [
            f"{len(found)} different loads were measured without errors, {LEVELS} are needed: "
            "raise the load in steps, each held for some intervals"
        ]
    if found[-1] < SPREAD * found[0]:
        return [
            f"the highest load ({found[-1]:.3g} in flight) is less than {SPREAD:g} times the "
            f"lowest ({found[0]:.3g}): begin lower or go higher"
        ]
    return []


def _contradicts(steps: Sequence[Step]) -> list[str]:
    """Little's law ties in flight, throughput and latency together."""
    ratios = [s.in_flight / s.per_second / s.p50 for s in steps if s.p50 is not None and s.p50 > 0]
    if ratios and not 1 / LITTLE < median(ratios) < LITTLE:
        return [
            f"in flight divided by throughput is {median(ratios):.2g} times the median latency, "
            "which contradicts Little's law: perhaps WebSockets or event streams count as load"
        ]
    return []


def _carries(fitted: Fit, highest: float) -> list[str]:
    """What keeps a fit from being an answer."""
    knee, at = fitted.knee, fitted.law.knee()
    if fitted.scatter > SCATTER:
        return [
            f"the throughput scatters by {fitted.scatter:.0%} about the curve, more than "
            f"{SCATTER:.0%}: something else changed meanwhile, hold each step longer"
        ]
    if at > highest or knee.high > BEYOND * highest:
        kept = fitted.law.efficiency(highest)
        return [
            f"no saturation was seen: at {highest:.3g} in flight, the highest load, each exchange "
            f"still makes {kept:.0%} of what it makes alone. Go on to higher loads; an answer now "
            "would be a guess"
        ]
    if knee.high > WIDTH * knee.low:
        return [
            f"the knee lies between {knee.low:.3g} and {knee.high:.3g} in flight: too wide to act "
            "on. More steps around there, each held longer, narrow it"
        ]
    return []
