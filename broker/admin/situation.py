"""The present state for a what-if, out of the ledger's books and what this host's workers tell.

Pure, but for ``Foresight``, which asks them. Other hosts' servers and browsers are not seen from
here: a server's own limit is taken times the workers of the site, descriptors are those of this
host's fullest worker.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from broker.policy.eviction import how_many
from broker.policy.situation import Descriptors, ServerSeen, Situation
from broker.policy.whatif import forecast
from broker.site.steward import read_notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from broker.admin.processes import HostState, Processes
    from broker.ledger.port import Ledger, Measures, Usage
    from broker.policy.limits import LimitsDocument

SHORTER_IDLE_MS = (600_000, 300_000)
"""What shorter idle times would give, beside the one in force."""


class Foresight:
    """Asks for everything at once, and works it out in a thread: 80,000 who wait take 2.5 s."""

    def __init__(self, ledger: Ledger, processes: Processes) -> None:
        self._ledger = ledger
        self._processes = processes

    async def ahead(self, document: LimitsDocument, usage: Usage) -> dict[str, Any]:
        """The forecast for ``document``, as JSON values. Raises LedgerAway."""
        idle_after = (document.idle_ms, *SHORTER_IDLE_MS)
        async with asyncio.TaskGroup() as group:
            host = group.create_task(self._processes.state())
            books = group.create_task(self._books(idle_after))
        measures, workers = books.result()
        seen = situation(usage, measures, idle_after, workers, host.result())
        made: dict[str, Any] = msgspec.to_builtins(
            await asyncio.to_thread(forecast, document, seen)
        )
        return made

    async def evicts(self, document: LimitsDocument, usage: Usage) -> int:
        """How many idle seats would end if they were evicted down to ``document``."""
        measures = await self._ledger.measures((document.idle_ms,))
        held = {
            name: usage.occupied.get(name, 0) + usage.called.get(name, 0)
            for name in {**usage.occupied, **usage.called}
        }
        idle = {name: counts[0] for name, counts in measures.idle.items()}
        return how_many(document, held, idle)

    async def _books(self, idle_after: tuple[int, ...]) -> tuple[Measures, int]:
        return await self._ledger.measures(idle_after), len(await self._ledger.workers())


def situation(
    usage: Usage, measures: Measures, idle_after: tuple[int, ...], workers: int, host: HostState
) -> Situation:
    """``workers``: how many the site has."""
    used: dict[str, int] = {}
    for (pool, _), count in usage.used.items():
        used[pool] = used.get(pool, 0) + count
    watches = read_notes(measures.notes).watches
    return Situation(
        now_ms=usage.ledger_ms,
        occupied=usage.occupied,
        called=usage.called,
        waiting=usage.waiting,
        idle_after=idle_after,
        idle=measures.idle,
        used=used,
        loads={pool: watch.load for pool, watch in watches.items() if watch.load is not None},
        servers={pool: _servers(host, pool, workers) for pool in usage.limits.pools},
        workers=workers,
        script_seconds=measures.script_seconds,
        descriptors=_descriptors(host.workers.values()),
    )


def _servers(host: HostState, pool: str, workers: int) -> list[ServerSeen]:
    told: dict[str, list[Mapping[str, Any]]] = {}
    for state in host.workers.values():
        for server in state.get("servers", {}).get(pool, []):
            told.setdefault(server["server"], []).append(server)
    return [
        ServerSeen(
            name,
            weight=views[0].get("weight", 1),
            most=None if views[0].get("most") is None else views[0]["most"] * workers,
            usable=any(each.get("healthy") and not each.get("draining") for each in views),
        )
        for name, views in told.items()
    ]


def _descriptors(workers: Iterable[Mapping[str, Any]]) -> Descriptors | None:
    told = [state["descriptors"] for state in workers if "descriptors" in state]
    if not told:
        return None
    fullest = max(told, key=lambda each: each["open"] / each["limit"])
    return Descriptors(fullest["open"], fullest["limit"])
