"""Checks on pools, populations, seats and levels: names that exist, sums that fit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.configuration.faults import nearest
from broker.directory.plan import NO_FILTER, looks_like_a_filter

if TYPE_CHECKING:
    from broker.configuration.draft import Draft, Found
    from broker.configuration.faults import Path
    from broker.settings import DirectorySettings, Pool, Population

_SYNC_TICK = 0.25
_PORTAL = "portal"
_ON_CALL_PART = 10  # the tier stays small: a tenth of the seats, or one


def pools(draft: Draft) -> Found:
    for name, pool in draft.pools.items():
        at = ("pools", name)
        if name == _PORTAL:
            yield at, "portal is the broker's own pool: choose another name"
        whole = pool.connections
        if whole.guaranteed > whole.limit:
            yield (
                (*at, "connections", "guaranteed"),
                f"{whole.guaranteed} is above the limit of {whole.limit}",
            )
        if pool.queue_timeout < 4 * _SYNC_TICK:
            yield (*at, "queue_timeout"), "should be at least 1s, four ticks of the ledger"
        if pool.lease == "keep" and pool.keep_for < 10:
            yield (*at, "keep_for"), "should be at least 10s; for less there is lease: fence"
        if pool.resolve_every < 1:
            yield (*at, "resolve_every"), "should be at least 1s"
        yield from _tls((*at, "tls"), pool)
        for server, times in Counter(each.address for each in pool.servers).items():
            if times > 1:
                yield (*at, "servers"), f"{server} stands {times} times"
        for population, cell in pool.populations.items():
            place = (*at, "populations", population)
            if population not in draft.population_names:
                offer = nearest(population, draft.population_names)
                yield place, f"there is no population {population}{offer}"
            limit = whole.limit if cell.limit is None else cell.limit
            if cell.guaranteed > limit:
                yield (*place, "guaranteed"), f"{cell.guaranteed} is above the limit of {limit}"
        promised = sum(cell.guaranteed for cell in pool.populations.values())
        if promised > whole.limit:
            yield (
                (*at, "populations"),
                f"guarantees of {promised} together are above the pool's limit of {whole.limit}",
            )
    promised = sum(pool.connections.guaranteed for pool in draft.pools.values())
    if draft.connections is not None and promised > draft.connections.limit:
        yield (
            ("pools",),
            f"guarantees of {promised} together are above connections.limit of "
            f"{draft.connections.limit}",
        )


def _tls(at: Path, pool: Pool) -> Found:
    if (pool.tls.certificate is None) != (pool.tls.key is None):
        missing = "key" if pool.tls.key is None else "certificate"
        yield at, f"{missing} is missing: a certificate and its key belong together"
    if pool.tls.model_fields_set and not any(
        server.address.startswith("https://") for server in pool.servers
    ):
        yield at, "no server of this pool is https://"


def populations(draft: Draft) -> Found:
    seen: dict[str, int] = {}
    everyone: str | None = None
    for index, population in draft.populations.items():
        at = ("populations", index)
        if population.name in seen:
            yield (*at, "name"), f"is also that of populations[{seen[population.name]}]"
        seen.setdefault(population.name, index)
        if everyone is not None:
            yield at, f"is never reached: {everyone} before it takes everyone"
        elif not population.groups and not population.attributes and population.filter is None:
            everyone = population.name
        text = population.filter
        if text is not None and not looks_like_a_filter(text):
            yield (*at, "filter"), NO_FILTER
        if draft.directory is not None:
            yield from _population_rule(at, population, draft.directory)
        share = population.seats
        if share.maximum is not None and share.guaranteed > share.maximum:
            yield (
                (*at, "seats", "guaranteed"),
                f"{share.guaranteed} is above the maximum of {share.maximum}",
            )
    if draft.seats is not None:
        yield from _on_call(draft, draft.seats.limit)
    promised = sum(population.seats.guaranteed for population in draft.populations.values())
    if draft.seats is not None and promised > draft.seats.limit:
        yield (
            ("populations",),
            f"guaranteed seats of {promised} together are above seats.limit of {draft.seats.limit}",
        )


def _on_call(draft: Draft, seats: int) -> Found:
    most = max(1, seats // _ON_CALL_PART)
    together = 0
    for index, population in draft.populations.items():
        together += population.seats.on_call
        if population.seats.on_call and together > most:
            yield (
                ("populations", index, "seats", "on_call"),
                f"on-call seats of {together} together are above a tenth of seats.limit: {most}",
            )


def _population_rule(at: Path, population: Population, directory: DirectorySettings) -> Found:
    for attribute in population.attributes:
        if attribute not in directory.attributes:
            yield (
                (*at, "attributes", attribute),
                "is never read: add it to directory.attributes",
            )
    read = (
        directory.group_attribute is not None
        or directory.group_base is not None
        or directory.nested_groups == "matching_rule"
        or directory.primary_group
    )
    if population.groups and not read:
        yield (
            (*at, "groups"),
            "groups are never read: give directory.group_attribute or directory.group_base",
        )


def seats(draft: Draft) -> Found:
    if draft.seats is None:
        return
    for key in ("idle", "claim", "absent", "ticket_lost"):
        if getattr(draft.seats, key) < 1:
            yield ("seats", key), "should be at least 1s"
    if draft.seats.ticket_lost < draft.seats.absent:
        yield ("seats", "ticket_lost"), "should be at least seats.absent"


def levels(draft: Draft) -> Found:
    for name, level in draft.levels.items():
        for index, population in enumerate(level.open_to):
            if population not in draft.population_names:
                offer = nearest(population, draft.population_names)
                yield (
                    ("levels", name, "open_to", index),
                    f"there is no population {population}{offer}",
                )
        for pool in level.pools:
            if pool not in draft.pool_names:
                offer = nearest(pool, draft.pool_names)
                yield ("levels", name, "pools", pool), f"there is no pool {pool}{offer}"
