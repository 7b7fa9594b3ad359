"""All that is known of a run when it has ended, and the questions that charts and verdicts ask of
it. Pure: nothing is measured here.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from loadtest.measure import histogram
from loadtest.report.model import PoolStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loadtest.measure.recorder import Notes
    from loadtest.plan import Plan
    from loadtest.report.model import Mark
    from loadtest.site import Site
    from loadtest.watch import Sample, Watch

Points = list[tuple[float, float | None]]
WINDOWS = 90  # latencies are shown of so many windows of a run
STEPS = 60  # and pools described in so many,
SHORTEST_STEP = 5.0  # none of them shorter, in seconds
LONGEST = 10.0  # seconds, a bound of the histogram: no exchange that a page waits for takes longer


@dataclass(frozen=True, slots=True)
class Evidence:
    """``began``, ``ended``: since the epoch; ``present``: (seconds since, employees)."""

    plan: Plan
    site: Site
    began: float
    ended: float
    notes: Notes
    watch: Watch
    started: str
    present: Points = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    workers: int = 1
    command: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    def samples(self) -> Iterator[tuple[float, Sample]]:
        """Samples of the broker with seconds since the beginning, from 0 on."""
        for sample in self.watch.samples:
            yield max(0.0, sample.at - self.began), sample

    def metric(self, name: str, **labels: str) -> Points:
        """A gauge over time, summed over the series with these labels."""
        return [(at, sample.sum(name, **labels)) for at, sample in self.samples()]

    def total(self, what: str) -> int:
        """How often employees counted ``what``."""
        return sum(self.notes.counts.get(what, {}).values())

    def rate(self, what: str) -> Points:
        """``what`` a second, over windows."""
        found = self.notes.counts.get(what, {})
        return [
            (at, sum(found.get(second, 0) for second in window) / len(window))
            for at, window in self._windows()
        ]

    def latency(self, kind: str, q: float) -> float | None:
        """Over the whole run, seconds."""
        return histogram.quantile(histogram.total(self.notes.latency.get(kind, {}).values()), q)

    def latencies(self, kind: str, q: float) -> Points:
        """Over windows; a gap where nothing was measured."""
        found = self.notes.latency.get(kind, {})
        return [
            (at, histogram.quantile(histogram.total(found.get(s, {}) for s in window), q))
            for at, window in self._windows()
        ]

    def latency_between(self, kind: str, q: float, first: float, last: float) -> float | None:
        """Of the part of the run between two of its shares (0 to 1)."""
        lower, upper = self.began + first * self.seconds, self.began + last * self.seconds
        found = self.notes.latency.get(kind, {})
        return histogram.quantile(
            histogram.total(each for second, each in found.items() if lower <= second < upper), q
        )

    def count_of(self, kind: str) -> int:
        """How many latencies of that kind were noted."""
        return sum(sum(each.values()) for each in self.notes.latency.get(kind, {}).values())

    def grew(self, name: str, **labels: str) -> float | None:
        """By how much a total grew during the run; None when it was not seen twice."""
        seen = [value for _, value in self.metric(name, **labels) if value is not None]
        return seen[-1] - seen[0] if len(seen) > 1 else None

    def first(self, name: str) -> float | None:
        return next((value for _, value in self.metric(name) if value is not None), None)

    def last(self, name: str) -> float | None:
        return next((v for _, v in reversed(self.metric(name)) if v is not None), None)

    def highest(self, name: str) -> float | None:
        return max((value for _, value in self.metric(name) if value is not None), default=None)

    def _windows(self) -> Iterator[tuple[float, range]]:
        width = max(1, round(self.seconds / WINDOWS))
        first = int(self.began)
        for start in range(first, int(self.ended) + 1, width):
            yield max(0.0, start + width / 2 - self.began), range(start, start + width)


def pools(evidence: Evidence) -> dict[str, list[PoolStep]]:
    """Load steps of each pool from the broker's own metrics, for ``broker capacity plan``. What
    lasted longer than ``LONGEST`` is a WebSocket or an event stream: it loads no server all the
    time, and is left out."""
    steps: dict[str, list[PoolStep]] = defaultdict(list)
    for (at, first), (until, last) in _intervals(evidence):
        for pool in sorted(evidence.site.apps):
            done = _grown(first, last, lambda s, p=pool: s.sum("broker_requests_total", pool=p))  # type: ignore[misc]
            bad = _grown(
                first, last,
                lambda s, p=pool: s.sum("broker_requests_total", pool=p, code_class="5xx"),  # type: ignore[misc]
            )  # fmt: skip
            if done is None:
                continue
            buckets = [each for each in _buckets(first, last, pool) if each[0] <= LONGEST]
            carried, seconds = _carried(buckets)
            steps[pool].append(
                PoolStep(
                    at=at,
                    seconds=until - at,
                    in_flight=seconds / (until - at),
                    per_second=carried / (until - at),
                    errors=int(bad or 0),
                    p50=_quantile(buckets, 0.5),
                    p95=_quantile(buckets, 0.95),
                )
            )
    return dict(steps)


def _intervals(evidence: Evidence) -> Iterator[tuple[tuple[float, Sample], tuple[float, Sample]]]:
    """Pairs of samples, with their seconds, that so many pieces of the run lie between: of the
    whole run, or of each load that was held."""
    width = max(SHORTEST_STEP, evidence.seconds / STEPS)
    samples = list(evidence.samples())
    if not samples:
        return
    for begin, end in evidence.plan.held() or [(0.0, evidence.seconds)]:
        pieces = max(1, int((end - begin) / width))
        before = None
        for piece in range(pieces + 1):
            due = begin + (end - begin) * piece / pieces
            now = next((each for each in samples if each[0] >= due), samples[-1])
            if before is not None and now[0] > before[0]:
                yield before, now
            before = now


def _carried(buckets: list[tuple[float, float]]) -> tuple[float, float]:
    """How many exchanges ended, and the seconds that all of them took together, each counted as the
    middle of its bucket. Over an interval that is what was in flight on average (Little's law), and
    far steadier than a gauge looked at once a second."""
    ended = seconds = lower = 0.0
    for bound, count in buckets:
        seconds += (count - ended) * (lower + bound) / 2
        ended, lower = count, bound
    return ended, seconds


def _grown(first: Sample, last: Sample, of: Callable[[Sample], float | None]) -> float | None:
    before, after = of(first), of(last)
    return None if before is None or after is None else after - before


def _buckets(first: Sample, last: Sample, pool: str) -> list[tuple[float, float]]:
    """(upper bound, how many ended within it) of what ended between two samples, cumulative."""
    found = []
    for (name, labels), value in last.values.items():
        if name == "broker_request_seconds_bucket" and ("pool", pool) in labels:
            bound = float(dict(labels)["le"])
            found.append((bound, value - first.values.get((name, labels), 0.0)))
    return sorted(found)


def _quantile(buckets: list[tuple[float, float]], q: float) -> float | None:
    """As Prometheus' histogram_quantile: linear inside a bucket, the last bound above it."""
    if not buckets or buckets[-1][1] < 10:
        return None
    rank, below, lower = q * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            if bound == float("inf"):
                return lower
            inside = count - below
            return lower + (bound - lower) * ((rank - below) / inside if inside else 1.0)
        below, lower = count, bound
    return lower
