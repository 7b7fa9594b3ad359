"""What the console shows, sampled once for all who look: the same views as the API's, the rates of
the last seconds and the rows of the last hour.

One task looks every second while somebody watches, else as often as a row is kept. Whoever reads
too slowly misses a moment, nobody waits for anybody.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from broker.admin import capacity_views, views
from broker.admin.health import readiness
from broker.admin.history import KEPT_EVERY, History, Rates, row
from broker.errors import Busy, LedgerAway
from broker.telemetry import names

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from broker.admin.history import Pulse, Readings
    from broker.admin.processes import HostState, Processes
    from broker.ledger.port import Ledger, Usage, WorkerView

    Snapshot = tuple[HostState, Usage | None, Sequence[WorkerView]]

_log = logging.getLogger(__name__)
EVERY = 1.0  # seconds
_MOST_VIEWERS = 64


class Live:
    """``snapshot``: this host and the ledger now. ``clock``: monotonic, ``civil``: civil time, in
    seconds."""

    def __init__(
        self,
        snapshot: Callable[[], Awaitable[Snapshot]],
        ledger: Ledger,
        processes: Processes,
        clock: Callable[[], float],
        civil: Callable[[], float],
    ) -> None:
        self._snapshot = snapshot
        self._ledger = ledger
        self._processes = processes
        self._clock = clock
        self._civil = civil
        self._rates = Rates()
        self._history = History()
        self._viewers = 0
        self._number = 0
        self._told = ""
        self._news = asyncio.Condition()
        self._somebody = asyncio.Event()
        self._over = False

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self.look()
                except Exception:  # noqa: BLE001  the console must outlive what it shows
                    _log.exception("the console's look at the site failed")
                self._somebody.clear()
                await asyncio.sleep(EVERY)
                if not self._viewers:
                    try:
                        async with asyncio.timeout(KEPT_EVERY - EVERY):
                            await self._somebody.wait()
                    except TimeoutError:
                        pass
        finally:
            async with self._news:
                self._over = True
                self._news.notify_all()

    async def look(self) -> None:
        """Take a sample and tell it."""
        host, usage, known = await self._snapshot()
        readings, logins = await asyncio.gather(self._readings(), self._logins())
        now = self._clock()
        pulses, login_rates = self._rates.hear(now, readings, logins)
        moment = row(self._civil(), usage, pulses, login_rates)
        kept = self._history.add(now, moment)
        told = json.dumps(_now(host, usage, known, pulses) | {"row": moment, "kept": kept})
        async with self._news:
            self._number += 1
            self._told = told
            self._news.notify_all()

    def history(self) -> str:
        """The rows kept, as JSON."""
        return json.dumps({"rows": self._history.rows()})

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While somebody looks. Raises Busy when too many do."""
        if self._viewers >= _MOST_VIEWERS:
            raise Busy("too many consoles are open: close one")
        self._viewers += 1
        self._somebody.set()
        try:
            yield
        finally:
            self._viewers -= 1

    async def newer(self, number: int) -> tuple[int, str] | None:
        """The latest sample after ``number``, as JSON; None when there will be no more."""
        async with self._news:
            await self._news.wait_for(lambda: self._over or self._number > number)
            return None if self._over else (self._number, self._told)

    async def _readings(self) -> Readings:
        try:
            told = await self._ledger.figures()
        except LedgerAway:
            return {}
        return {who: pools for who, (_, pools) in told.items()}

    async def _logins(self) -> Mapping[str, float]:
        """By outcome, as this host's portal counts them."""
        text = await self._processes.metrics_of("portal")
        return {
            sample.labels["outcome"]: sample.value
            for family in text_string_to_metric_families(text)
            if family.name == names.LOGINS.family
            for sample in family.samples
            if sample.name == names.LOGINS.name
        }


def _now(
    host: HostState,
    usage: Usage | None,
    known: Sequence[WorkerView],
    pulses: Mapping[str, Pulse],
) -> dict[str, Any]:
    """The views of the API, together."""
    found = readiness(host, usage, known)
    capacity = None
    if usage is not None:
        capacity = views.capacity(usage) | capacity_views.in_force(usage.limits.capacity)
    return {
        "readiness": {
            "ready": found.ready,
            "reasons": list(found.reasons),
            "warnings": list(found.warnings),
        },
        "capacity": capacity,
        "waiting": None if usage is None else views.waiting(usage, host),
        "pools": views.pools(usage, host)["pools"],
        "workers": views.workers(host, usage, known)["workers"],
        "pulses": {pool: pulse.view() for pool, pulse in pulses.items()},
    }
