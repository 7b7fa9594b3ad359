"""``/metrics`` of the host: what its processes count, and what the ledger holds at this moment.

The gauges of seats, connections and waiting are the whole site's and are read from the ledger once
for each scrape. When it does not answer they are absent, because a stale figure that looks fresh is
worse than a gap; ``broker_ledger_up`` says why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.admin.merge import Merger, Page
from broker.errors import LedgerAway
from broker.policy.levels import raises
from broker.telemetry import names
from broker.telemetry.exposition import Exposition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.admin.processes import Processes
    from broker.ledger.port import Ledger, Usage
    from broker.policy.capacity import Capacity


_IN_THE_LEDGER = (names.WAIT_ESTIMATE_SHOWN, names.WAIT_ESTIMATE_KEPT)
"""Counters of the whole site. Absent while the ledger is away: a 0 would look like a new start."""


class Metrics:
    """One per admin process: remembers counters of processes that have ended."""

    def __init__(self, ledger: Ledger, processes: Processes) -> None:
        self._ledger = ledger
        self._processes = processes
        self._merger = Merger()

    async def page(self) -> bytes:
        """The text exposition for the whole host."""
        pages = await self._processes.pages()
        workers = sum(1 for page in pages if page.process.startswith("worker-"))
        try:
            usage = await self._ledger.usage()
        except LedgerAway:
            usage = None
        pages.append(Page("ledger", "", ledger_page(usage, workers)))
        return self._merger.merge(pages)


def ledger_page(usage: Usage | None, workers_up: int) -> str:
    """The ledger's snapshot as an exposition; None: it is away."""
    page = Exposition()
    for metric in names.every():  # known from the start, whoever counts them
        if metric.kind == "counter" and not metric.labels and metric not in _IN_THE_LEDGER:
            page.counter(metric)
    _put(page, names.WORKERS_UP, {(): workers_up})
    _put(page, names.LEDGER_UP, {(): 0 if usage is None else 1})
    if usage is not None:
        _put_usage(page, usage)
    return page.render().decode()


def guard_state(capacity: Capacity | None) -> int:
    """As ``names.GUARD_STATE`` says; of several raises the one that is worst off."""
    ramps = [] if capacity is None else [change.ramp for _, change in raises(capacity)]
    if any(ramp.rolled_back for ramp in ramps):
        return 3
    if any(ramp.state in ("paused", "held") for ramp in ramps):
        return 2
    return 1 if ramps else 0


def ends(capacity: Capacity | None) -> dict[tuple[str, ...], float]:
    """Scope -> when what is in force for it ends by itself, in seconds since the epoch."""
    return {
        (scope,): change.ends_ms / 1000
        for scope, change in ([] if capacity is None else raises(capacity))
        if change.ends_ms is not None
    }


def _put_usage(page: Exposition, usage: Usage) -> None:
    limits = usage.limits
    populations = list(limits.populations)
    cells: dict[tuple[str, ...], float] = {
        (pool, population): 0 for pool in limits.pools for population in populations
    }
    _put(page, names.LEDGER_LEARNING, {(): int(usage.learning)})
    _put(page, names.WAIT_ESTIMATE_SHOWN, {(): usage.estimates_shown})
    _put(page, names.WAIT_ESTIMATE_KEPT, {(): usage.estimates_kept})
    _put(page, names.CAPACITY_SCALE, {(): limits.scale})
    _put(page, names.GUARD_STATE, {(): guard_state(limits.capacity)})
    _put(page, names.CAPACITY_ENDS, ends(limits.capacity))
    _put(page, names.SITE_SEATS_LIMIT, {(): limits.seats_limit})
    _put(page, names.SITE_CONNECTIONS_LIMIT, {(): limits.connections_limit})
    _put(
        page,
        names.SEATS_LIMIT,
        {(name,): each.seats_maximum for name, each in limits.populations.items()},
    )
    for metric, numbers in (
        (names.SEATS_OCCUPIED, usage.occupied),
        (names.SEATS_CALLED, usage.called),
        (names.WAITING_EMPLOYEES, usage.waiting),
    ):
        known = dict.fromkeys(populations, 0) | dict(numbers)
        _put(page, metric, {(name,): value for name, value in known.items()})
    _put(
        page,
        names.CONNECTIONS_LIMIT,
        {
            (pool, name): cell.limit
            for pool, each in limits.pools.items()
            for name, cell in each.cells.items()
        },
    )
    for metric, by_cell in (
        (names.CONNECTIONS_GRANTED, usage.held),
        (names.CONNECTIONS_IN_USE, usage.used),
    ):
        _put(page, metric, cells | {tuple(cell): value for cell, value in by_cell.items()})


def _put(page: Exposition, metric: names.Metric, values: Mapping[tuple[str, ...], float]) -> None:
    page.expose(metric, lambda: values)
