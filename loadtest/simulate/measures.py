"""What a simulated morning is judged by, gathered while it runs. Times in milliseconds."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.limits import LimitsDocument


@dataclass(frozen=True, slots=True)
class Sample:
    """One instant; each mapping by population. ``held``: occupied + called."""

    limit: int
    scale: float
    held: Mapping[str, int]
    called: Mapping[str, int]
    waiting: Mapping[str, int]


class Measures:
    def __init__(self, populations: list[str], ends_ms: int, sample_ms: int) -> None:
        self.populations = populations
        self.sample_ms = sample_ms
        self.samples: list[Sample] = []
        # Of those who stayed on the page; ``asked`` says when they came.
        self.waits = {name: array("q") for name in populations}
        self.asked = {name: array("q") for name in populations}
        self.still_waiting = {name: array("q") for name in populations}
        self.not_admitted = dict.fromkeys(populations, 0)
        self.unclaimed = 0
        self.reclaimed = 0
        self.interrupted = 0
        self.overtaken = 0
        self.over_admissions = 0
        self.highest = 0
        self._busy = [0] * (ends_ms // sample_ms + 2)
        self._views = [0] * (ends_ms // sample_ms + 2)

    def seated(self, population: str, asked_ms: int, wait_ms: int) -> None:
        """Somebody who stayed on the page got a seat after ``wait_ms``."""
        self.waits[population].append(wait_ms)
        self.asked[population].append(asked_ms)

    def unserved(self, population: str, wait_ms: int) -> None:
        """Still waits when the simulation ends."""
        self.still_waiting[population].append(wait_ms)

    def visit(self, views: Sequence[int]) -> None:
        """Somebody with a seat is at work from the first to the last page view of a visit."""
        self._count(self._busy, views[0], 1)
        self._count(self._busy, views[-1], -1)
        for at in views:
            self._count(self._views, at, 1)

    def cut_short(self, now_ms: int, rest: Sequence[int]) -> None:
        """The seat was taken between two page views; ``rest`` were still to come."""
        self._count(self._busy, now_ms, -1)
        self._count(self._busy, rest[-1], 1)
        for at in rest:
            self._count(self._views, at, -1)

    def _count(self, series: list[int], at_ms: int, count: int) -> None:
        series[min(at_ms // self.sample_ms, len(series) - 1)] += count

    def page_views(self) -> list[float]:
        """By sample: page views per second in the interval that begins there."""
        return [count * 1000 / self.sample_ms for count in self._views[: len(self.samples)]]

    def at_work(self) -> list[int]:
        """By sample: employees between the first and the last page view of a visit."""
        running, series = 0, []
        for change in self._busy[: len(self.samples)]:
            running += change
            series.append(running)
        return series

    def sample(
        self,
        limits: LimitsDocument,
        held: Mapping[str, int],
        called: Mapping[str, int],
        waiting: Mapping[str, int],
    ) -> None:
        self.samples.append(
            Sample(limits.seats_limit, limits.scale, dict(held), dict(called), dict(waiting))
        )
