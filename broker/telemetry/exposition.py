"""From plain numbers to a Prometheus page: one process's registry and what feeds it.

Counting must cost nothing on the data path, so parts keep plain attributes and this module reads
them when somebody scrapes: ``Exposition.expose`` takes a metric from ``names.py`` and a function
that returns its present values. Parts off the data path may use ``counter`` instead, which counts
by itself. It opens no socket (``control.py`` serves the page) and knows no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from broker.telemetry.names import Metric

Labels = tuple[str, ...]
Reading = Callable[[], Mapping[Labels, float]]


@dataclass(frozen=True, slots=True)
class HistogramValues:
    """One histogram: ``counts`` per bucket, *not* cumulative, one more than ``bounds`` (the last
    is +Inf); ``total`` is the sum of the observed values in seconds."""

    counts: Sequence[int]
    total: float


HistogramReading = Callable[[], Mapping[Labels, HistogramValues]]


class Counter:
    """A counter for parts that are not hot. Known series start at 0, others at their first use."""

    def __init__(self, metric: Metric, known: Iterable[Labels]) -> None:
        self._labels = len(metric.labels)
        self._values: dict[Labels, float] = dict.fromkeys(known, 0.0)
        if not metric.labels:
            self._values[()] = 0.0

    def add(self, *labels: str, by: float = 1.0) -> None:
        """Count ``by`` more under these label values, given in the metric's order."""
        if len(labels) != self._labels:
            raise ValueError(f"{self._labels} label values expected, {len(labels)} given")
        self._values[labels] = self._values.get(labels, 0.0) + by

    def read(self) -> Mapping[Labels, float]:
        return self._values


class Exposition:
    """The metrics of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=False)

    def expose(self, metric: Metric, read: Reading) -> None:
        """Export a gauge or counter; ``read`` is called at each scrape and must not block.
        Its keys are the label values in the metric's order; ``()`` without labels."""
        self.registry.register(_Numbers(metric, read))

    def expose_histogram(self, metric: Metric, read: HistogramReading) -> None:
        """Export a histogram over the metric's fixed bounds."""
        self.registry.register(_Histograms(metric, read))

    def counter(self, metric: Metric, known: Iterable[Labels] = ()) -> Counter:
        """Make and export a counter; ``known`` series are exported at 0 from the start."""
        counter = Counter(metric, known)
        self.expose(metric, counter.read)
        return counter

    def render(self) -> bytes:
        return render(self.registry)


def render(registry: CollectorRegistry) -> bytes:
    """The text exposition (``text/plain; version=0.0.4``) of everything registered."""
    return generate_latest(registry)


class _Numbers(Collector):
    def __init__(self, metric: Metric, read: Reading) -> None:
        self._metric = metric
        self._read = read

    def collect(self) -> Iterator[Family]:
        metric = self._metric
        family: CounterMetricFamily | GaugeMetricFamily
        if metric.kind == "counter":
            family = CounterMetricFamily(metric.family, metric.help, labels=metric.labels)
        else:
            family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels)
        for labels, value in self._read().items():
            family.add_metric(labels, value)
        yield family


class _Histograms(Collector):
    def __init__(self, metric: Metric, read: HistogramReading) -> None:
        self._metric = metric
        self._read = read

    def collect(self) -> Iterator[Family]:
        metric = self._metric
        names = [repr(bound) for bound in metric.bounds] + ["+Inf"]
        family = HistogramMetricFamily(metric.family, metric.help, labels=metric.labels)
        for labels, values in self._read().items():
            cumulative, running = [], 0
            for name, count in zip(names, values.counts, strict=True):
                running += count
                cumulative.append((name, float(running)))
            family.add_metric(labels, cumulative, values.total)
        yield family
