"""Looks at the site from outside once a second: the broker's own metrics and limits, and what the
applications' servers count themselves. A look that fails is counted, never guessed.
"""

from __future__ import annotations

import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from broker.cli.main import UnreachableError
from broker.errors import BrokerError
from loadtest.operations import Operations

if TYPE_CHECKING:
    from loadtest.site import Site

PATIENCE = 3.0
Labels = tuple[tuple[str, str], ...]
Values = dict[tuple[str, Labels], float]


@dataclass(frozen=True, slots=True)
class Sample:
    """``values``: (metric, sorted labels) -> value; ``capacity``: GET /api/v1/capacity, None
    without a token; ``cpu``: per cent of a core that this process used."""

    at: float
    values: Values
    capacity: dict[str, Any] | None
    cpu: float

    def sum(self, name: str, **labels: str) -> float | None:
        """Over all series of that name with those labels; None when there is none."""
        wanted = set(labels.items())
        found = [v for (n, have), v in self.values.items() if n == name and wanted <= set(have)]
        return sum(found) if found else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """Summed by one label."""
        result: dict[str, float] = {}
        for (known, labels), value in self.values.items():
            if known == name:
                key = dict(labels).get(label, "")
                result[key] = result.get(key, 0.0) + value
        return result


@dataclass(slots=True)
class Counted:
    """What one server told: ``offset`` turns its clock into ours; ``number``: its last change."""

    pool: str
    url: str
    number: int = 0
    offset: float | None = None


@dataclass(slots=True)
class Watch:
    """``changes``: pool -> (time, +1 or -1, population). ``missed``: changes that a server had
    forgotten already; ``blind``: looks that failed, by what was looked at."""

    site: Site
    samples: list[Sample] = field(default_factory=list)
    changes: dict[str, list[tuple[float, int, str]]] = field(default_factory=dict)
    missed: int = 0
    blind: dict[str, int] = field(default_factory=dict)
    servers: list[Counted] = field(default_factory=list)
    _operations: Operations | None = None

    def __post_init__(self) -> None:
        for pool, urls in self.site.backends.items():
            self.servers += [Counted(pool, f"{url}/oracle") for url in urls]
        if self.site.admin and self.site.admin_token:
            self._operations = Operations(self.site)

    def look(self, cpu: float) -> None:
        """One sample of everything that can be reached."""
        if self.site.admin:
            self._look_at_the_broker(cpu)
        for server in self.servers:
            self._look_at(server)

    def _look_at_the_broker(self, cpu: float) -> None:
        try:
            text = _get(f"{self.site.admin}/metrics").decode()
            capacity = self._operations.capacity() if self._operations else None
        except (OSError, UnreachableError, BrokerError):
            self._blind("broker")
            return
        values: Values = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
        self.samples.append(Sample(time.time(), values, capacity, cpu))

    def _look_at(self, server: Counted) -> None:
        first = server.offset is None
        try:
            told = msgspec.json.decode(_get(f"{server.url}?changes_after={server.number}"))
            now, number, changes = told["now"], told["last_change"], told["changes"]
        except (OSError, ValueError, KeyError):
            self._blind(f"server of {server.pool}")
            return
        if number < server.number:  # it was started anew
            server.number, server.offset = 0, None
            self._blind(f"server of {server.pool}, restarted")
            return
        if server.offset is None:
            server.offset = time.time() - now
        found = self.changes.setdefault(server.pool, [])
        server.number = number
        if first:
            # What happened before the run is of no interest, but what was open then still counts.
            found.extend((now + server.offset, 1, "") for _ in range(told["in_flight"]))
            return
        self.missed += told["missed"]
        found.extend((at + server.offset, step, who) for _, at, step, who in changes)

    def _blind(self, what: str) -> None:
        self.blind[what] = self.blind.get(what, 0) + 1


#: As the command line does: straight to the admin listener, never by a proxy of the environment.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(url: str) -> bytes:
    with _OPENER.open(url, timeout=PATIENCE) as answer:
        return bytes(answer.read())
