"""The load shapes by name: who is there when, what operations do meanwhile, and what is asked.

Minutes and shares are those of the full size; ``plan.py`` scales them. Values only.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Step:
    """Something done at a minute. ``raise`` to ``factor`` times the base and open the site to
    everyone; ``lower`` to it; ``cut`` every connection of every employee."""

    minute: float
    do: Literal["raise", "lower", "cut"]
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """``presence``: (minute, share of all employees who are there), straight lines between.
    ``activity``: factor on the visits of the load model. ``mobile_first``: those come first who are
    admitted in normal times. ``factor``: capacity at the beginning, in multiples of the base.
    ``speed``: how much faster it runs when nothing else is said. ``saturates``: it goes on until
    the servers cannot, so that latencies and errors are what it measures and no promise."""

    name: str
    question: str
    presence: tuple[tuple[float, float], ...]
    activity: float = 1.25
    mobile_first: bool = False
    factor: float = 1.0
    steps: tuple[Step, ...] = ()
    speed: float = 15.0
    saturates: bool = False

    @property
    def minutes(self) -> float:
        return self.presence[-1][0]

    def present(self, minute: float) -> float:
        """The share of employees who are there. Before the beginning and after the end: nobody."""
        if not 0 <= minute <= self.minutes:
            return 0.0
        after = bisect_right(self.presence, minute, key=lambda point: point[0])
        if after == len(self.presence):
            return self.presence[-1][1]
        (x0, y0), (x1, y1) = self.presence[after - 1], self.presence[after]
        return y0 + (y1 - y0) * (minute - x0) / (x1 - x0)


_SIXFOLD = 1.25 * 6


def _stairs(*shares: float) -> tuple[tuple[float, float], ...]:
    """A minute up to each share, five minutes there; then everybody leaves within four."""
    points = [(0.0, 0.0)]
    for number, share in enumerate(shares):
        points += [(6.0 * number + 1, share), (6.0 * number + 6, share)]
    end = 6.0 * len(shares)
    return (*points, (end + 4, 0.0), (end + 5, 0.0))


_ALL = (
    Scenario(
        "weekday",
        "Does an ordinary working day fit?",
        (
            (0, 0), (60, 0.6), (120, 0.9), (240, 1), (300, 0.7), (360, 1), (480, 0.9), (590, 0),
            (600, 0),
        ),
        activity=1.0,
        speed=120.0,
    ),
    Scenario(
        "lockdown-morning",
        "Can everybody come on the first morning of the lockdown?",
        ((0, 0.02), (5, 0.02), (35, 0.82), (95, 1), (115, 1), (119, 0), (120, 0)),
        activity=_SIXFOLD,
        factor=6.0,
        speed=30.0,
    ),
    Scenario(
        "crisis-sixfold",
        "Can we take six times the load?",
        ((0, 0), (6, 0.14), (14, 0.14), (38, 1), (56, 1), (59, 0), (60, 0)),
        activity=_SIXFOLD,
        mobile_first=True,
        steps=(Step(14, "raise", 6.0),),
    ),
    Scenario(
        "return-to-office",
        "Can capacity be lowered again without throwing anybody out?",
        ((0, 0), (12, 1), (24, 1), (60, 0.15), (76, 0.15), (79, 0), (80, 0)),
        activity=_SIXFOLD,
        mobile_first=True,
        factor=6.0,
        steps=(Step(36, "lower", 1.0),),
        speed=20.0,
    ),
    Scenario(
        "login-storm",
        "Does the directory path carry twice the storm of logins?",
        ((0, 0), (15, 0.8), (25, 0.8), (29, 0), (30, 0)),
        activity=1.25,
        factor=10.0,
        speed=10.0,
    ),
    Scenario(
        "reconnect-storm",
        "Does everybody come back after the network was cut, without asking the directory?",
        ((0, 0), (12, 0.5), (40, 0.5), (44, 0), (45, 0)),
        activity=_SIXFOLD,
        factor=6.0,
        steps=(Step(24, "cut"),),
        speed=15.0,
    ),
    Scenario(
        "steps",
        "Up to which load do the servers carry?",
        _stairs(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85, 1.0),
        activity=1.25 * 10,
        factor=10.0,
        speed=12.0,
        saturates=True,
    ),
    Scenario(
        "soak",
        "Is it the same after a day as in the morning?",
        ((0, 0), (20, 0.7), (460, 0.7), (478, 0), (480, 0)),
        activity=1.25,
        speed=1.0,
    ),
)  # fmt: skip
SCENARIOS = {scenario.name: scenario for scenario in _ALL}
