"""The API's answers as plain JSON values, made from snapshots. Pure: nothing is asked here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.admin.processes import HostState
    from broker.ledger.port import SeatAnswer, SessionRecord, Usage, WorkerView
    from broker.policy.shares import Share

Json = dict[str, Any]


def capacity(usage: Usage) -> Json:
    """Seats and connections: limits, what is taken, what is asked for. ``version`` is the number
    of the limits document (send it as If-Match to change it)."""
    limits = usage.limits
    return {
        "version": limits.number,
        "digest": limits.digest,
        "scale": limits.scale,
        "epoch": usage.epoch,
        "learning": usage.learning,
        "draining": list(limits.draining),
        "seats": {
            "limit": limits.seats_limit,
            "occupied": sum(usage.occupied.values()),
            "called": sum(usage.called.values()),
            "waiting": sum(usage.waiting.values()),
            "populations": {
                name: {
                    "admitted": each.admitted,
                    "limit": each.seats_maximum,
                    "guaranteed": each.seats_guaranteed,
                    "lendable": each.lendable,
                    "weight": each.weight,
                    "occupied": usage.occupied.get(name, 0),
                    "called": usage.called.get(name, 0),
                    "waiting": usage.waiting.get(name, 0),
                }
                for name, each in limits.populations.items()
            },
        },
        "connections": {
            "limit": limits.connections_limit,
            "granted": sum(usage.held.values()),
            "in_use": sum(usage.used.values()),
            "pools": {name: _pool_capacity(usage, name) for name in limits.pools},
        },
    }


def waiting(usage: Usage, host: HostState) -> Json:
    """The waiting room by population. ``estimates``: waits that ended with a call and had been told
    how long they would last at most, and how many of them did not last longer. Of a population:
    ``estimate_seconds``, what somebody who comes now would be told; null while nobody waits, and
    while nobody can say."""
    told: Json = {}
    for state in host.workers.values():
        for name, estimate in state.get("estimates", {}).items():
            told[name] = told.get(name) or estimate
    return {
        "waiting": sum(usage.waiting.values()),
        "called": sum(usage.called.values()),
        "estimates": {"shown": usage.estimates_shown, "kept": usage.estimates_kept},
        "populations": {
            name: {
                "waiting": usage.waiting.get(name, 0),
                "called": usage.called.get(name, 0),
                "estimate_seconds": told.get(name),
            }
            for name in usage.limits.populations
        },
    }


def standing(employee: str, answer: SeatAnswer) -> Json:
    """Where one employee stands. ``position`` is that within the population (1: next), null unless
    it waits; ``claim_seconds`` what is left to a called one."""
    return {
        "employee": employee,
        "state": answer.state,
        "population": answer.population,
        "number": answer.number,
        "position": answer.position if answer.state == "waiting" else None,
        "claim_seconds": None if answer.claim_ms is None else answer.claim_ms / 1000,
    }


def workers(host: HostState, usage: Usage | None, known: Sequence[WorkerView]) -> Json:
    """Every worker of the site that the ledger knows, and those of this host that it does not know
    (yet). ``pid``, ``slot``, ``restarts``, ``answers``, ``steward``: known for this host only, null
    elsewhere.
    ``acknowledged``: number of the limits it has; ``version``: that of the limits in force.
    """
    children = {key: child for key, child in host.children().items() if child["kind"] == "worker"}
    views = {view.incarnation: view for view in known}
    listed = sorted(views.keys() | children.keys())
    return {
        "ledger_up": usage is not None,
        "version": usage.limits.number if usage is not None else None,
        "digest": usage.limits.digest if usage is not None else None,
        "workers": [
            _worker(name, children.get(name), views.get(name), host, usage) for name in listed
        ],
    }


def pools(usage: Usage | None, host: HostState) -> Json:
    """Pools with their servers as the workers of this host see them. ``healthy`` is the most
    pessimistic view; ``healthy_on`` counts the workers that agree. Without the ledger
    ``connections`` and ``lease`` are null, and the pools are those the workers name."""
    if usage is not None:
        known: Json = {
            name: {"connections": _pool_capacity(usage, name), "lease": each.lease}
            for name, each in usage.limits.pools.items()
        }
    else:
        told = {name for state in host.workers.values() for name in state.get("servers", {})}
        told.discard("portal")  # the broker's own pool, which is no application's
        known = {name: {"connections": None, "lease": None} for name in sorted(told)}
    return {
        "ledger_up": usage is not None,
        "pools": {name: {**each, "servers": _servers(host, name)} for name, each in known.items()},
    }


def session(record: SessionRecord) -> Json:
    """One logged-in browser. Times are ledger time in milliseconds."""
    return {
        "id": record.id,
        "employee": record.employee,
        "display_name": record.display_name,
        "population": record.population,
        "created_ms": record.created_ms,
        "ends_ms": record.ends_ms,
        "last_seen_ms": record.last_seen_ms,
        "address": record.address,
        "agent": record.agent,
        "factor": record.factor or None,
    }


def _share(share: Share, granted: int, in_use: int) -> Json:
    return {
        "limit": share.limit,
        "guaranteed": share.guaranteed,
        "lendable": share.lendable,
        "granted": granted,
        "in_use": in_use,
    }


def _pool_capacity(usage: Usage, name: str) -> Json:
    pool = usage.limits.pools[name]
    cells = {
        population: _share(
            cell,
            usage.held.get((name, population), 0),
            usage.used.get((name, population), 0),
        )
        for population, cell in pool.cells.items()
    }
    granted = sum(cell["granted"] for cell in cells.values())
    in_use = sum(cell["in_use"] for cell in cells.values())
    return {**_share(pool.connections, granted, in_use), "populations": cells}


def _worker(
    incarnation: str,
    child: Mapping[str, Any] | None,
    view: WorkerView | None,
    host: HostState,
    usage: Usage | None,
) -> Json:
    silent = None
    if view is not None and usage is not None:
        silent = max(0, usage.ledger_ms - view.last_seen_ms) / 1000
    return {
        "id": incarnation,
        "host": incarnation.split("/", 1)[0],
        "pid": child["pid"] if child else None,
        "slot": child["slot"] if child else None,
        "restarts": child["restarts"] if child else None,
        "started": child["started"] if child else None,
        "answers": child["name"] in host.workers if child else None,
        "steward": host.workers.get(child["name"], {}).get("steward") if child else None,
        "acknowledged": view.limits_known if view else None,
        "digest": view.digest if view else None,
        "silent_seconds": silent,
        "granted": view.held if view else None,
        "in_use": view.used if view else None,
    }


def _servers(host: HostState, pool: str) -> list[Json]:
    found: dict[str, Json] = {}
    for state in host.workers.values():
        for told in state.get("servers", {}).get(pool, []):
            server = found.setdefault(
                told["server"],
                {
                    "server": told["server"],
                    "healthy": True,
                    "healthy_on": 0,
                    "seen_by": 0,
                    "in_flight": 0,
                    "draining": True,
                },
            )
            server["seen_by"] += 1
            server["healthy_on"] += bool(told.get("healthy"))
            server["healthy"] = server["healthy_on"] == server["seen_by"]
            server["in_flight"] += told.get("in_flight", 0)
            server["draining"] = server["draining"] and bool(told.get("draining"))
    return list(found.values())
