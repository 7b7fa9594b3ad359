"""What must hold between values: names that exist, sums that fit, doors that are closed.

Each check is a generator of (path, sentence) over a ``Draft``. ``contradictions`` stop the broker
from starting; ``doubts`` are only told. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.configuration import capacity, doors, people

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.configuration.draft import Draft, Found
    from broker.configuration.faults import Path
    from broker.settings import Settings

_CHECKS = (
    doors.listeners,
    doors.admin,
    doors.hosts,
    capacity.pools,
    capacity.populations,
    capacity.seats,
    capacity.levels,
    people.directory,
    people.sessions,
    people.bans,
    people.second_factor,
    people.ledger,
)


def contradictions(draft: Draft) -> Found:
    """Everything that stops the broker from starting."""
    for check in _CHECKS:
        yield from check(draft)


def doubts(settings: Settings) -> Found:
    """What is allowed and probably not meant."""
    if settings.directory.user_dn is not None and not settings.directory.bind_dn:
        yield (
            ("directory", "user_dn"),
            "without bind_dn nobody's entry is read again while they work: who is disabled stays "
            "logged in until sessions.lifetime",
        )
    factor = settings.second_factor
    if factor.except_from and not (factor.populations or factor.groups):
        yield ("second_factor", "except_from"), "nobody needs a second factor anyway"
    used = {route.pool for host in settings.hosts for route in host.routes}
    for name, pool in settings.pools.items():
        if name not in used:
            yield ("pools", name), "no route leads to this pool"
        if pool.connections.limit > settings.connections.limit:
            yield (
                ("pools", name, "connections", "limit"),
                f"is above the site's limit of {settings.connections.limit}, which holds",
            )
        for population, cell in pool.populations.items():
            if cell.limit is not None and cell.limit > pool.connections.limit:
                yield (
                    ("pools", name, "populations", population, "limit"),
                    f"is above the pool's limit of {pool.connections.limit}, which holds",
                )
        promised = {each.name: 0 for each in settings.populations if each.admitted}
        promised |= {each: cell.guaranteed for each, cell in pool.populations.items()}
        yield from _starved(("pools", name, "populations"), promised, pool.connections.limit)
    promised = {name: pool.connections.guaranteed for name, pool in settings.pools.items()}
    yield from _starved(("pools",), promised, settings.connections.limit)
    promised = {each.name: each.seats.guaranteed for each in settings.populations if each.admitted}
    yield from _starved(("populations",), promised, settings.seats.limit)
    if not any(population.admitted for population in settings.populations):
        yield ("populations",), "nobody is admitted at present"
    for index, entry in enumerate(settings.populations):
        if entry.admitted and entry.weight == 0:
            yield (
                ("populations", index, "weight"),
                "0: these employees are called only while nobody else waits",
            )
        maximum = entry.seats.maximum
        if maximum is not None and maximum > settings.seats.limit:
            yield (
                ("populations", index, "seats", "maximum"),
                f"is above the site's {settings.seats.limit} seats, which hold",
            )
    for level_name, level in settings.levels.items():
        if level.scale > settings.seats.ceiling:
            yield (
                ("levels", level_name, "scale"),
                f"is above seats.ceiling: seats grow {settings.seats.ceiling:g} times at most",
            )


def _starved(at: Path, promised: Mapping[str, int], limit: int) -> Found:
    """``promised``: what is guaranteed to each part of a whole of ``limit``."""
    without = [name for name, guaranteed in promised.items() if guaranteed == 0]
    if without and 0 < limit <= sum(promised.values()):
        yield (
            at,
            f"guarantees cover the whole limit of {limit}: while they are used, nothing is left "
            f"for {', '.join(without)}",
        )
