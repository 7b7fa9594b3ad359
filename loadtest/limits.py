"""Every limit against the highest use of it that somebody independent counted. Pure.

Seats: employees count as holding one only while it cannot have been taken from them (a page younger
than the idle time), so the count is a lower bound: what it shows above a limit was above it.
Connections: the applications' servers count exchanges themselves, from their head's last byte to
before their answer's last, also a lower bound of what the broker had in flight.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

from loadtest.measure.overlap import Change, Use, allowed, use
from loadtest.report.model import LimitUse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadtest.evidence import Evidence

BY_EMPLOYEES = "counted by employees with a page younger than the idle time"
BY_SERVERS = "counted by the servers"
Limit = list[tuple[float, float]]


def seats_held(evidence: Evidence) -> Use:
    """Employees who surely had a seat, over seconds since the epoch."""
    return use(_holdings(evidence, None), _gauge(evidence, "broker_site_seats_limit"))


def exchanges(evidence: Evidence) -> Use:
    """Exchanges at all servers that count, at the same time."""
    found = [change for changes in evidence.watch.changes.values() for change in changes]
    limit = _capacity(evidence, lambda capacity: capacity["connections"]["limit"])
    return _used(found, limit)


def limits(evidence: Evidence) -> list[LimitUse]:
    """Those that were known and used, the site's first."""
    return [
        each for each in (*_seats(evidence), *_connections(evidence)) if each.limit or each.exceeded
    ]


def _seats(evidence: Evidence) -> Iterable[LimitUse]:
    limit = _gauge(evidence, "broker_site_seats_limit")
    told = _both(evidence, {})
    if limit:
        held = seats_held(evidence)
        yield _use("Seats of the site", limit, told, held, BY_EMPLOYEES)
    populations = sorted(
        {
            name
            for _, sample in evidence.samples()
            for name in sample.by("broker_seats_limit", "population")
        }
    )
    for population in populations:
        labels = {"population": population}
        limit = _gauge(evidence, "broker_seats_limit", **labels)
        held = use(_holdings(evidence, population), limit)
        told = _both(evidence, labels)
        yield _use(f"Seats, {population}", limit, told, held, BY_EMPLOYEES)


def _connections(evidence: Evidence) -> Iterable[LimitUse]:
    if not any(sample.capacity for sample in evidence.watch.samples):
        return
    everywhere = set(evidence.watch.changes) >= set(evidence.site.apps)
    told = _gauge(evidence, "broker_connections_in_use")
    yield _use(
        "Connections of the site",
        _capacity(evidence, lambda capacity: capacity["connections"]["limit"]),
        told,
        exchanges(evidence) if everywhere else None,
        BY_SERVERS,
    )
    last = next(s.capacity for s in reversed(evidence.watch.samples) if s.capacity)
    for pool, shares in sorted(last["connections"]["pools"].items()):
        counted = evidence.watch.changes.get(pool)
        limit = _capacity(evidence, lambda c, p=pool: c["connections"]["pools"][p]["limit"])  # type: ignore[misc]
        told = _gauge(evidence, "broker_connections_in_use", pool=pool)
        every = None if counted is None else _used(counted, limit)
        yield _use(f"Connections, {pool}", limit, told, every, BY_SERVERS)
        for population in sorted(shares["populations"]):
            limit = _capacity(
                evidence,
                lambda c, p=pool, n=population: c["connections"]["pools"][p]["populations"][n][  # type: ignore[misc]
                    "limit"
                ],
            )
            told = _gauge(evidence, "broker_connections_in_use", pool=pool, population=population)
            cell = (
                None
                if counted is None
                else use(
                    (Change(at, step) for at, step, who in counted if who == population), limit
                )
            )
            if any(value for _, value in told) or (cell is not None and cell.highest):
                yield _use(f"Connections, {pool}, {population}", limit, told, cell, BY_SERVERS)


def _used(changes: Iterable[tuple[float, int, str]], limit: Limit) -> Use:
    return use((Change(at, step) for at, step, _ in changes), limit)


def _use(name: str, limit: Limit, told: Limit, counted: Use | None, by: str) -> LimitUse:
    """What the broker tells of itself counts as well: it may confess what nobody else saw."""
    confessed = 0
    times = [at for at, _ in limit]
    for (_, before), (at, now) in itertools.pairwise(told):
        if limit and now > before and now > allowed(at, at, times, limit):
            confessed += 1
    return LimitUse(
        name=name,
        limit=max((value for _, value in limit), default=0.0),
        broker=max((value for _, value in told), default=None),
        counter=None if counted is None else counted.highest,
        counted_by="" if counted is None else by,
        exceeded=max(confessed, counted.exceeded if counted else 0),
    )


def _holdings(evidence: Evidence, population: str | None) -> Iterable[Change]:
    for each in evidence.notes.holdings:
        if population is None or each.population == population:
            yield Change(each.began, 1, -math.inf if each.since is None else each.since)
            yield Change(each.ended, -1)


def _gauge(evidence: Evidence, name: str, **labels: str) -> Limit:
    """Over seconds since the epoch."""
    found = ((sample.at, sample.sum(name, **labels)) for sample in evidence.watch.samples)
    return [(at, value) for at, value in found if value is not None]


def _both(evidence: Evidence, labels: dict[str, str]) -> Limit:
    """Occupied and called: a called ticket counts as admitted."""
    called = dict(_gauge(evidence, "broker_seats_called", **labels))
    return [
        (at, value + called.get(at, 0.0))
        for at, value in _gauge(evidence, "broker_seats_occupied", **labels)
    ]


def _capacity(evidence: Evidence, of: Callable[[dict[str, Any]], Any]) -> Limit:
    found: Limit = []
    for sample in evidence.watch.samples:
        if sample.capacity:
            try:
                found.append((sample.at, float(of(sample.capacity))))
            except KeyError:  # a pool that came or went with the limits
                continue
    return found
