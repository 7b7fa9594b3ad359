"""What employees met, as one process of the load generator notes it.

A worker hands over what is new since the last time (``take``), the master adds it up (``merge``).
Times are seconds since the epoch: the machines of a fleet need clocks that agree to a second.
"""

from __future__ import annotations

import msgspec

from loadtest.measure import histogram
from loadtest.report.model import Wait


class Failure(msgspec.Struct):
    count: int = 0
    first_at: float = 0.0
    example: str = ""


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """An employee surely had a seat from ``began`` to ``ended``. ``since``: when it was taken at
    the earliest; None: perhaps long before, by an employee who idled and came back."""

    population: str
    began: float
    ended: float
    since: float | None = None


class Notes(msgspec.Struct):
    """``latency``: kind -> second -> histogram. ``counts``: what -> second -> how often."""

    latency: dict[str, dict[int, dict[int, int]]] = {}
    counts: dict[str, dict[int, int]] = {}
    failures: dict[str, Failure] = {}
    waits: list[Wait] = []
    holdings: list[Holding] = []

    def merge(self, other: Notes) -> None:
        for kind, seconds in other.latency.items():
            mine = self.latency.setdefault(kind, {})
            for second, buckets in seconds.items():
                histogram.add(mine.setdefault(second, {}), buckets)
        for what, numbers in other.counts.items():
            histogram.add(self.counts.setdefault(what, {}), numbers)
        for kind, failure in other.failures.items():
            self._fail(kind, failure.count, failure.first_at, failure.example)
        self.waits += other.waits
        self.holdings += other.holdings

    def _fail(self, kind: str, count: int, at: float, example: str) -> None:
        known = self.failures.setdefault(kind, Failure(0, at, example))
        known.count += count
        if at < known.first_at:
            known.first_at, known.example = at, example


class Recorder:
    """Notes of one process."""

    def __init__(self) -> None:
        self.notes = Notes()

    def request(self, kind: str, at: float, seconds: float) -> None:
        """Something that took ``seconds`` and ended well at ``at``."""
        buckets = self.notes.latency.setdefault(kind, {}).setdefault(int(at), {})
        index = histogram.bucket(seconds)
        buckets[index] = buckets.get(index, 0) + 1

    def count(self, what: str, at: float, by: int = 1) -> None:
        numbers = self.notes.counts.setdefault(what, {})
        numbers[int(at)] = numbers.get(int(at), 0) + by

    def failed(self, kind: str, at: float, example: str) -> None:
        self.notes.merge(Notes(failures={kind: Failure(1, at, example[:200])}))
        self.count("failures", at)

    def waited(self, wait: Wait) -> None:
        self.notes.waits.append(wait)

    def held(self, holding: Holding) -> None:
        if holding.ended > holding.began:
            self.notes.holdings.append(holding)

    def take(self) -> str:
        """What was noted since the last call, as JSON; then it is forgotten here."""
        notes, self.notes = self.notes, Notes()
        return msgspec.json.encode(notes).decode()

    def merge(self, text: str) -> None:
        """What another process took."""
        self.notes.merge(msgspec.json.decode(text, type=Notes))
