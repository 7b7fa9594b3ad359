"""Employees as the simulation invents them: when they come, what they do with a seat, how long they
wait. Figures are those of the load model where it has them; times inside are whole milliseconds.

Every employee has draws of its own, made from the seed and its number, and again for each visit:
what an employee does is then the same in every variant, however long it waited in between, and two
variants differ by what the broker did, not by luck.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from loadtest.model import LoadModel

MINUTE = 60_000
USUAL_IDLE = 15.0  # minutes: the broker's default
_ALL = (1 << 64) - 1
_ULP = 1.0 / (1 << 53)


@dataclass(frozen=True, slots=True)
class Habits:
    """How employees behave. Times in minutes unless the name says seconds.

    ``arrive_share`` of them come within ``arrive_minutes`` after ``arrive_at``, the rest within
    ``late_minutes`` after that. A visit has ``views`` page views on average (geometric), ``think``
    apart (exponential); the next visit follows ``pause`` later. ``logout`` of the visits end with a
    logout. Who waits stays ``patience`` on average, then closes the page; ``come_back`` of those
    look again ``away`` later. Who is not admitted tries again ``retry`` later. ``poll_seconds``:
    the longest time until a called browser notices. ``shares``: the last takes the rest.
    """

    views: float
    think: float
    pause: float
    arrive_share: float = 0.8
    arrive_at: float = 30.0
    arrive_minutes: float = 30.0
    late_minutes: float = 120.0
    logout: float = 0.1
    patience: float = 60.0
    come_back: float = 0.7
    away: float = 20.0
    retry: float = 5.0
    poll_seconds: float = 5.0
    shares: Mapping[str, float] = field(
        default_factory=lambda: {"managers": 0.05, "sales": 0.15, "everyone": 0.8}
    )

    @classmethod
    def of(cls, model: LoadModel) -> Habits:
        """So that a seat with the broker's usual idle time is held as long as the model says, and
        that all employees together begin as many visits as its busiest hour times ``crisis``."""
        think = model.think_seconds(USUAL_IDLE * 60) / 60
        between = model.employees / (model.visits_peak_hour() * model.crisis) / 60
        return cls(
            views=model.views_a_visit,
            think=think,
            pause=max(1.0, between - (model.views_a_visit - 1) * think),
            arrive_share=model.arrive_share,
            arrive_minutes=model.arrive_seconds / 60,
        )


class Employee:
    """One employee, or in an aggregated run the one who stands for several.

    ``views``: when the pages of the present visit are asked for, ascending; empty before the first.
    ``rest``: those of a visit that lost its seat. After the last one it logs out, if ``logs_out``,
    and the next visit begins ``pause_ms`` later. ``turn`` grows with whatever makes earlier plans
    void. ``away``: closed the waiting room's page, ``left_once``: has done so while it waited.
    """

    __slots__ = (
        "_number", "_seed", "_state", "_visits", "asked_ms", "away", "left_once",
        "logs_out", "name", "pause_ms", "population", "rest", "turn", "views",
    )  # fmt: skip

    def __init__(self, number: int, population: str, seed: int) -> None:
        self.name = f"e{number:07d}"
        self.population = population
        self._seed = seed
        self._number = number
        self._visits = 0
        self._state = _mixed(seed, number << 20)
        self.turn = 0
        self.views: list[int] = []
        self.rest: list[int] = []
        self.logs_out = False
        self.pause_ms = 0
        self.asked_ms: int | None = None
        self.away = False
        self.left_once = False

    def random(self) -> float:
        """0 <= x < 1. A linear congruential generator (Knuth, MMIX) in eight bytes: a Random of its
        own for each of a million employees would take 2.5 GB."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & _ALL
        return (self._state >> 11) * _ULP

    def after(self, minutes: float) -> int:
        """An exponential time with that mean, in ms, at least 1."""
        return max(1, round(-math.log(1.0 - self.random()) * minutes * MINUTE))

    def arrival(self, habits: Habits) -> int:
        """When this employee first wants a seat."""
        start = habits.arrive_at * MINUTE
        if self.random() < habits.arrive_share:
            return round(start + self.random() * habits.arrive_minutes * MINUTE)
        start += habits.arrive_minutes * MINUTE
        return round(start + self.random() * habits.late_minutes * MINUTE)

    def visit(self, now_ms: int, habits: Habits) -> None:
        """A visit begins now, or the rest of one that lost its seat."""
        if self.rest:
            shift = now_ms - self.rest[0]
            self.views = [at + shift for at in self.rest]
            self.rest = []
            return
        self._visits += 1
        self._state = _mixed(self._seed, (self._number << 20) + self._visits)
        self.views = [now_ms]
        more = 1.0 - 1.0 / habits.views
        while self.random() < more:
            self.views.append(self.views[-1] + self.after(habits.think))
        self.logs_out = self.random() < habits.logout
        self.pause_ms = self.after(habits.pause)


def company(count: int, habits: Habits, seed: int) -> list[Employee]:
    """``count`` employees, populations in proportion and in random order."""
    names = [name for name, share in habits.shares.items() for _ in range(round(count * share))][
        :count
    ]
    names += [list(habits.shares)[-1]] * (count - len(names))
    random.Random(seed).shuffle(names)
    return [Employee(number, name, seed) for number, name in enumerate(names)]


def _mixed(seed: int, number: int) -> int:
    """A starting state that shares nothing with its neighbour's (SplitMix64's finish)."""
    value = (seed * 0x9E3779B97F4A7C15 + (number + 1) * 0xD1B54A32D192ED03) & _ALL
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _ALL
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _ALL
    return value ^ (value >> 31)
