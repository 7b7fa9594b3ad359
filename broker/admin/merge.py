"""One metrics page out of those of several processes, by the rules written in ``names.py``.

Counters and histograms of a restarted process begin at 0 again. A sum over processes must not fall
for that reason, or every rate() would show a burst that never was: what a process instance had
counted when last seen is kept and added on. Pure: it is given the texts, and gives one back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from broker.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Key = tuple[str, tuple[tuple[str, str], ...]]
"""A series: the sample's name (with ``_total``, ``_bucket``, ...) and its sorted labels."""

_FAMILIES = {metric.family: metric for metric in names.every()}


def _sample_names(metric: names.Metric) -> tuple[str, ...]:
    if metric.kind == "histogram":
        return tuple(f"{metric.name}_{part}" for part in ("bucket", "sum", "count"))
    return (metric.name,)


_BY_SAMPLE = {name: metric for metric in _FAMILIES.values() for name in _sample_names(metric)}
_COMBINE: dict[names.Merge, Callable[[list[float]], float]] = {"sum": sum, "max": max, "min": min}


@dataclass(frozen=True, slots=True)
class Page:
    """One process's exposition. ``process``: its name (``worker-0``); ``instance``: tells one life
    of it from the next."""

    process: str
    instance: str
    text: str


@dataclass(slots=True)
class _Seen:
    instance: str
    growing: dict[Key, float] = field(default_factory=dict)


class Merger:
    """Remembers, between scrapes, what each process had counted."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._kept: dict[str, dict[Key, float]] = {}

    def merge(self, pages: Iterable[Page]) -> bytes:
        """The merged exposition. A process that is missing this time keeps its counters (they did
        happen) and loses its gauges (they are about now). Families not in ``names.py`` are left
        out: there is no rule for them."""
        gauges: dict[Key, list[float]] = {}
        for page in pages:
            growing: dict[Key, float] = {}
            for metric, key, value in _samples(page.text):
                if metric.kind == "gauge":
                    gauges.setdefault(key, []).append(value)
                else:
                    growing[key] = value
            self._remember(page, growing)
        counted: dict[Key, list[float]] = {}
        for process, seen in self._seen.items():
            lived = _added(self._kept.get(process, {}), seen.growing)
            for key, value in lived.items():
                counted.setdefault(key, []).append(value)
        return _render(
            {key: _COMBINE[_BY_SAMPLE[key[0]].merge](v) for key, v in (counted | gauges).items()}
        )

    def _remember(self, page: Page, growing: dict[Key, float]) -> None:
        before = self._seen.get(page.process)
        if before is not None and before.instance != page.instance:
            kept = self._kept.get(page.process, {})
            self._kept[page.process] = _added(kept, before.growing)
        self._seen[page.process] = _Seen(page.instance, growing)


def _added(kept: Mapping[Key, float], growing: Mapping[Key, float]) -> dict[Key, float]:
    return {key: kept.get(key, 0.0) + growing.get(key, 0.0) for key in {**kept, **growing}}


def _samples(text: str) -> Iterator[tuple[names.Metric, Key, float]]:
    for family in text_string_to_metric_families(text):
        metric = _FAMILIES.get(family.name)
        if metric is not None:
            for sample in family.samples:
                yield metric, (sample.name, tuple(sorted(sample.labels.items()))), sample.value


class _Merged(Collector):
    def __init__(self, totals: Mapping[Key, float]) -> None:
        self._families: dict[str, Family] = {}
        for (name, labels), value in totals.items():
            metric = _BY_SAMPLE[name]
            family = self._families.get(metric.family)
            if family is None:
                family = Family(metric.family, metric.help, metric.kind)
                self._families[metric.family] = family
            family.add_sample(name, dict(labels), value)

    def collect(self) -> Iterator[Family]:
        return (self._families[name] for name in _FAMILIES if name in self._families)


def _render(totals: Mapping[Key, float]) -> bytes:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Merged(totals))
    return generate_latest(registry)
