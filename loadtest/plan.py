"""One run in real numbers: a scenario, scaled to so many employees and so much time.

``scale`` divides people and capacity; ``speed`` divides every duration (a working day in five
minutes), so that seats needed stay the same and rates grow with it: 1:1000 at speed 15 asks of the
broker what 1:67 would. Only what the broker itself decides (poll intervals, claim times) is not
sped up. Pure.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.model import LoadModel
    from loadtest.scenarios import Scenario

WAIT_SECONDS = 600.0  # 95 % of waits end within it, full size
IDLE_SECONDS = 900.0  # until a seat is reclaimable, full size
SHORTEST_IDLE = 30.0  # seats are touched every 10 s at most: less cannot be told from idle
SETTLED = 0.2  # of a step, after which those who came with it behave as the others
SETTLE_SECONDS = 8.0  # after the last employee left: late reports arrive, seats are returned


@dataclass(frozen=True, slots=True)
class Objectives:
    """What is promised; seconds and per cent. ``wait_p95``: None: ten minutes of the full size."""

    page_p99: float = 0.5
    login_p99: float = 2.0
    errors: float = 0.1
    wait_p95: float | None = None
    estimates_kept: float = 80.0
    first_step: float = 2.5  # 1 s, seen once a second
    soak_drift: float = 1.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What employees and the shape need to know. Durations in real seconds of this run."""

    model: LoadModel
    scenario: Scenario
    scale: float
    speed: float
    uploads: float = 0.02
    logouts: float = 0.3
    idle_seconds: float | None = None
    objectives: Objectives = Objectives()

    @property
    def employees(self) -> int:
        return max(1, round(self.model.employees / self.scale))

    @property
    def seconds(self) -> float:
        return self.at(self.scenario.minutes)

    def at(self, minute: float) -> float:
        """Seconds from the beginning to a minute of the scenario."""
        return minute * 60 / self.speed

    def present(self, seconds: float) -> int:
        """How many employees are there after so many seconds."""
        share = self.scenario.present(seconds * self.speed / 60)
        return min(self.employees, round(self.employees * share))

    def held(self) -> list[tuple[float, float]]:
        """(from, to) in seconds of each load that a scenario of steps holds, without what the
        newcomers of the step need to settle; empty for any other scenario."""
        if not self.scenario.saturates:
            return []
        return [
            (self.at(x0 + SETTLED * (x1 - x0)), self.at(x1))
            for (x0, y0), (x1, y1) in itertools.pairwise(self.scenario.presence)
            if y0 == y1 > 0
        ]

    @property
    def idle(self) -> float:
        """Seconds without activity after which the site may give a seat away."""
        if self.idle_seconds is not None:
            return self.idle_seconds
        return max(SHORTEST_IDLE, IDLE_SECONDS / self.speed)

    @property
    def think(self) -> float:
        """Mean pause between two views of a visit."""
        return self.model.think_seconds(IDLE_SECONDS) / self.speed

    @property
    def visits(self) -> float:
        """Visits that all employees together begin in a second of the full size."""
        return self.model.visits_peak_hour() * self.scenario.activity

    @property
    def pause(self) -> float:
        """Mean pause between two visits of one employee."""
        between = self.model.employees / self.visits
        visit = self.model.think_seconds(IDLE_SECONDS) * (self.model.views_a_visit - 1)
        return max(between - visit, visit) / self.speed

    @property
    def seats(self) -> int:
        """The base: what 1.25 times the load of normal times needs. At the model's own idle time
        that is its 6.8 thousand, scaled; an idle time that cannot be sped up any more needs more.
        """
        visits = self.model.visits_peak_hour() * 1.25 * self.speed / self.scale
        hold = self.idle + self.think * (self.model.views_a_visit - 1)
        return max(1, math.ceil(round(visits * hold, 6)))

    @property
    def longest_wait(self) -> float:
        """What 95 % of waits may take. Polls are not sped up: never below six of them."""
        if self.objectives.wait_p95 is not None:
            return self.objectives.wait_p95
        return max(WAIT_SECONDS / self.speed, 30.0)

    @property
    def guard_window(self) -> float:
        """Of a ramp's guard, where the demo is ours: a window for each step."""
        return max(1.0, 30.0 / self.speed)

    @property
    def guard_responses(self) -> int:
        """How many responses such a window needs to prove anything: 200 at the full size."""
        return max(5, round(200 / self.scale))

    @property
    def reconnect(self) -> float:
        """Within this, everybody is back after a cut of the network. TCP and TLS handshakes are
        not sped up: never below 10 s."""
        return max(self.model.reconnect_seconds / self.speed, 10.0)
