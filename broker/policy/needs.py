"""What taken seats need, and which limit that meets first: pools, servers, the site, the ledger,
file descriptors. Pure; ``whatif.py`` puts it together.

Connections follow Little's law (1961): exchanges a second times how long each holds its connection,
plus open WebSockets. The *peak* is the 99th percentile if arrivals are independent: the number in
an infinite-server queue is then Poisson distributed, whatever the lengths.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.policy.capacity import Raise
from broker.policy.levels import in_force, raises, site_scale, times, with_raise
from broker.policy.ramp import begin
from broker.policy.situation import DescriptorNeed, LedgerNeed, PoolNeed, Saturation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument
    from broker.policy.situation import Situation

SCAN = 200
"""Scales tried between the one in force and the ceiling, to find where something runs out."""
SYNCS_PER_SECOND = 5
"""Calls that each worker makes anyway: four syncs, one word to the steward."""
_Z99 = 2.326347874


def people(situation: Situation) -> int:
    return sum(
        sum(each.values()) for each in (situation.occupied, situation.called, situation.waiting)
    )


def per_seats(situation: Situation) -> dict[str, float]:
    """Connections that one seat uses of each pool: by Little's law over the last window, or what is
    in use at this moment (streams that last for hours end in no window), whichever is more."""
    seats = sum(situation.occupied.values())
    if not seats:
        return {}
    return {
        pool: max(load.connections, situation.used.get(pool, 0)) / seats
        for pool, load in situation.loads.items()
    }


def peak(mean: float) -> int:
    """The 99th percentile of a Poisson variable (normal approximation, rounded up)."""
    return math.ceil(mean + _Z99 * math.sqrt(mean))


def need(
    pool: str, limits: LimitsDocument, situation: Situation, per_seat: Mapping[str, float]
) -> PoolNeed:
    limit = limits.pools[pool].connections.limit
    load = situation.loads.get(pool)
    if load is None or pool not in per_seat:
        return PoolNeed(limit)
    mean = limits.seats_limit * per_seat[pool]
    return PoolNeed(
        limit, load.exchanges, load.per_second, load.seconds, load.tunnels, per_seat[pool], mean,
        peak(mean),
    )  # fmt: skip


def need_of_site(limits: LimitsDocument, per_seat: Mapping[str, float]) -> PoolNeed:
    if per_seat.keys() != limits.pools.keys():
        return PoolNeed(limits.connections_limit)
    together = sum(per_seat.values())
    mean = limits.seats_limit * together
    return PoolNeed(limits.connections_limit, per_seat=together, mean=mean, peak=peak(mean))


def shares(
    limits: LimitsDocument, seats: int, situation: Situation, per_seat: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    """What ``seats`` taken seats use on average, as a share of each limit."""
    for pool, each in per_seat.items():
        used = seats * each
        yield f"pool {pool}", _share(used, limits.pools[pool].connections.limit)
        usable = [server for server in situation.servers.get(pool, ()) if server.usable]
        weights = sum(server.weight for server in usable)
        for server in usable:
            if server.most is not None:
                yield (
                    f"server {server.name} of pool {pool}",
                    _share(used * server.weight / weights, server.most),
                )
    if per_seat.keys() == limits.pools.keys():
        total = seats * sum(per_seat.values())
        yield "the site's connections", _share(total, limits.connections_limit)


def _share(used: float, limit: int) -> float:
    if limit > 0:
        return used / limit
    return math.inf if used > 0 else 0.0


def saturation(
    document: LimitsDocument,
    capacity: Capacity,
    situation: Situation,
    per_seat: Mapping[str, float],
) -> Saturation | None:
    """The first scale of the site, from the one in force up to the ceiling of the seats, at which
    taken seats use more than some limit allows."""
    if not any(per_seat.values()):
        return None
    base = capacity.base
    start = site_scale(capacity)
    ceiling = max(start, min(base.seats_ceiling, base.connections_ceiling))
    for number in range(SCAN + 1):
        scale = start + (ceiling - start) * number / SCAN
        limits = in_force(_raised(capacity, scale), document)
        seats = times(base.seats_limit, scale, base.seats_ceiling)
        found = max(shares(limits, seats, situation, per_seat), key=lambda share: share[1])
        if found[1] > 1:
            return Saturation(found[0], scale, ceiling)
    return Saturation(None, None, ceiling)


def _raised(capacity: Capacity, scale: float) -> Capacity:
    """The site at ``scale`` in one step, under the pools' own raises."""
    ramp = begin(scale, scale, factor=None, every_ms=1, now_ms=0)
    for scope, change in raises(capacity):
        if scope == "site" or (scope == "level" and capacity.site is None):
            return with_raise(capacity, scope, replace(change, ramp=ramp))
    return with_raise(capacity, "site", Raise(0, ramp, "", "", 0))


def ledger_need(situation: Situation, called: int) -> LedgerNeed | None:
    if not situation.script_seconds:
        return None
    free = 1 / situation.script_seconds - SYNCS_PER_SECOND * situation.workers
    if free <= 0:
        return None
    return LedgerNeed(free, called / free)


def descriptors_needed(situation: Situation, then: int) -> DescriptorNeed | None:
    """In proportion to the people there are: browsers keep connections open, waiting or not."""
    seen, now = situation.descriptors, people(situation)
    if seen is None or not now or not seen.open:
        return None
    return DescriptorNeed(seen.open, math.ceil(seen.open * then / now), seen.limit)


def not_known(document: LimitsDocument, situation: Situation, left: int) -> Iterator[str]:
    """A sentence for each thing that the forecast leaves out. ``left``: who wait at the end."""
    for name, each in document.populations.items():
        seen = (situation.occupied, situation.called, situation.waiting)
        if each.admitted and not any(counts.get(name) for counts in seen):
            yield f"how many of {name} will come: none of them has a seat or waits at present"
    if not sum(situation.occupied.values()):
        yield "what a seat uses of each pool: no seat is taken at present"
    else:
        for pool in document.pools:
            if pool not in situation.loads:
                yield f"what a seat uses of pool {pool}: the guard has not seen a whole window yet"
            elif not situation.loads[pool].exchanges and not situation.used.get(pool):
                yield f"what a seat uses of pool {pool}: nothing was asked of it in the last window"
    unbounded = [
        server.name
        for servers in situation.servers.values()
        for server in servers
        if server.most is None
    ]
    if unbounded:
        yield f"what a server can take: no max_connections is set for {_named(unbounded)}"
    if left:
        yield f"when the last {left} get in: that depends on who leaves"
    if situation.script_seconds is None:
        yield "how many the ledger can admit a second: Redis does not tell what a call takes"
    if descriptors_needed(situation, 0) is None:
        yield "the file descriptors needed: no browser is connected to a worker of this host"


def _named(names: Sequence[str]) -> str:
    more = len(names) - 3
    return ", ".join(names[:3]) + (f" and {more} more" if more > 0 else "")
