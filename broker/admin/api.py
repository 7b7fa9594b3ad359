"""``/api/v1``: what operators ask and change, in terms of the ledger and this host's processes.

Handlers only ask, call a view and answer; errors are raised and become problems in ``guard.py``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from broker.admin import capacity_views, guard, views
from broker.admin.asking import body, version
from broker.admin.bans import Bans
from broker.admin.factors import Factors
from broker.admin.guard import problem
from broker.admin.operations import Operation, Parameter, openapi
from broker.admin.orders import CapacityOrders
from broker.admin.situation import Foresight
from broker.admin.tokens import Tokens
from broker.errors import ConfigurationError, LedgerAway, LedgerLearning, NotFound, Refused, Stale
from broker.ledger.port import AuditEntry
from broker.site.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.admin.callers import Callers
    from broker.admin.processes import HostState, Processes
    from broker.ledger.port import Ledger, RevocationKind, Usage, WorkerView
    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument

_log = logging.getLogger(__name__)
_SILENT_LONG_ENOUGH = 10.0  # seconds: forty syncs
_MOST_LISTED = 1000  # sessions of a population or of everybody
_WHOSE = "say whose: employee=NAME, population=NAME or everybody=yes"
_REFRESHED: dict[str, RevocationKind] = {
    "session": "session",
    "employee": "employee",
    "population": "population",
    "everybody": "everybody",
}
_SELECTORS: dict[str, RevocationKind] = {"employee": "employee", "population": "population"}


class Api:
    """``propose`` reads this host's configuration again and makes the limits document it asks for,
    under what is in force of levels and raises; it raises ConfigurationError with all faults.
    ``civil``: civil time in seconds."""

    def __init__(
        self,
        site: str,
        ledger: Ledger,
        processes: Processes,
        propose: Callable[[Capacity | None], LimitsDocument],
        civil: Callable[[], float],
        callers: Callers,
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._processes = processes
        self._propose = propose
        self._orders = CapacityOrders(Orders(ledger, civil), ledger, Foresight(ledger, processes))
        self._tokens = Tokens(ledger, callers, civil)
        self.operations = (
            *self._table(),
            *Bans(ledger, self._record).operations(),
            *Factors(ledger).operations(),
        )

    async def snapshot(self) -> tuple[HostState, Usage | None, Sequence[WorkerView]]:
        """This host and the ledger at once; without the ledger, None and nobody."""
        async with asyncio.TaskGroup() as both:
            host = both.create_task(self._processes.state())
            books = both.create_task(self._books())
        return host.result(), *books.result()

    async def _books(self) -> tuple[Usage | None, Sequence[WorkerView]]:
        try:
            return await self._ledger.usage(), await self._ledger.workers()
        except LedgerAway:
            return None, ()

    async def workers(self, _: web.Request) -> web.Response:
        return web.json_response(views.workers(*await self.snapshot()))

    async def forget(self, request: web.Request) -> web.Response:
        """For a host that was lost without a tombstone: its grants come back at once instead of
        when its lease ends. A worker that still speaks is not dead, and taking its grants from it
        would let the site exceed its limits: refused."""
        incarnation = request.match_info["id"]
        usage, known = await self._ledger.usage(), await self._ledger.workers()
        view = next((each for each in known if each.incarnation == incarnation), None)
        if view is None:
            raise NotFound(f"the ledger knows no worker {incarnation}")
        silent = (usage.ledger_ms - view.last_seen_ms) / 1000
        if silent < _SILENT_LONG_ENOUGH:
            return problem(409, f"this worker spoke {max(0.0, silent):.1f} s ago: it is not dead")
        _log.warning("worker %s is forgotten on request", incarnation)
        if not await self._ledger.tombstone(incarnation):
            raise NotFound(f"the ledger knows no worker {incarnation}")
        await self._record(request, "forgot", f"worker {incarnation}")
        return web.json_response({"forgotten": True})

    async def capacity(self, _: web.Request) -> web.Response:
        usage = await self._ledger.usage()
        etag = {"ETag": f'"{usage.limits.number}"'}
        in_force = capacity_views.in_force(usage.limits.capacity)
        return web.json_response(views.capacity(usage) | in_force, headers=etag)

    async def pools(self, _: web.Request) -> web.Response:
        host, usage, _known = await self.snapshot()
        return web.json_response(views.pools(usage, host))

    async def drain_server(self, request: web.Request) -> web.Response:
        return await self._switch_server(request, drained=True)

    async def enable_server(self, request: web.Request) -> web.Response:
        return await self._switch_server(request, drained=False)

    async def _switch_server(self, request: web.Request, *, drained: bool) -> web.Response:
        """On this host, over restarts too. ``missing`` names the workers that did not answer, so
        that nobody takes a server away too early: they may be at work still, or about to start."""
        wanted = await body(request)
        server = wanted.pop("server", None)
        if wanted or not isinstance(server, str) or not server:
            raise Refused('the body is {"server": "ADDRESS"}, as configured')
        done = await self._processes.switch_server(server, drained=drained)
        missing = sorted(set((await self._processes.state()).expected()) - set(done))
        await self._record(request, "drained" if drained else "enabled", f"server {server}")
        return web.json_response({"server": server, "workers": list(done), "missing": missing})

    async def _record(self, request: web.Request, action: str, subject: str) -> None:
        """What was done already stands in the log in any case: a ledger that is away keeps nobody
        from draining a server."""
        author = guard.author(request)
        _log.warning("%s %s %s", author, action, subject)
        try:
            await self._ledger.record(AuditEntry(author, action, subject))
        except LedgerAway as away:
            _log.warning("not in the audit trail: %s", away.reason)

    async def waiting(self, _: web.Request) -> web.Response:
        usage = await self._ledger.usage()
        return web.json_response(views.waiting(usage, await self._processes.state()))

    async def standing(self, request: web.Request) -> web.Response:
        employee = request.match_info["employee"]
        answer = await self._ledger.look(employee)
        if answer.state == "gone":
            raise NotFound(f"{employee} has no seat and does not wait")
        return web.json_response(views.standing(employee, answer))

    async def remove_ticket(self, request: web.Request) -> web.Response:
        """The place is given up; who is still looking at the waiting page gets a new one, at the
        end. A seat stays: sessions are revoked, not tickets."""
        employee = request.match_info["employee"]
        if not await self._ledger.remove_ticket(employee):
            raise NotFound(f"{employee} does not wait")
        await self._record(request, "removed", f"ticket of {employee}")
        return web.json_response({"removed": True})

    async def sessions(self, request: web.Request) -> web.Response:
        """All of an employee; of a population or of everybody the youngest, and how many there
        are. ``ledger_ms``: now, in the time that sessions count in."""
        kind, subject = _subject(request)
        if kind == "employee":
            found = await self._ledger.sessions(subject)
            total = len(found)
        else:
            total, found = await self._ledger.list_sessions(kind, subject, _MOST_LISTED)
        return web.json_response(
            {
                "sessions": [views.session(each) for each in found],
                "total": total,
                "ledger_ms": (await self._ledger.usage()).ledger_ms,
            }
        )

    async def refresh_sessions(self, request: web.Request) -> web.Response:
        """Their entries in the directory are read again at once, by a portal of any host."""
        wanted = await body(request)
        if len(wanted) != 1:
            raise Refused(_WHOSE)
        ((name, subject),) = wanted.items()
        kind = _REFRESHED.get(name)
        if kind is None or not (subject is True if kind == "everybody" else _named(subject)):
            raise Refused(_WHOSE)
        marked = await self._ledger.mark_due(kind, "" if kind == "everybody" else subject)
        await self._record(request, "refreshed", f"sessions of {_whose(kind, subject)}")
        return web.json_response({"employees": marked})

    async def revoke_session(self, request: web.Request) -> web.Response:
        """A session the ledger does not know may still be honoured by its signature (the ledger
        lost its memory): it is revoked all the same, and the answer says so."""
        session_id = request.match_info["id"]
        try:
            known = await self._ledger.session(session_id) is not None
        except LedgerLearning:
            known = False
        number = await self._ledger.revoke("session", session_id)
        await self._record(request, "revoked", f"session {session_id}")
        return web.json_response({"revocation": number, "known": known})

    async def revoke_sessions(self, request: web.Request) -> web.Response:
        kind, subject = _subject(request)
        number = await self._ledger.revoke(kind, subject)
        await self._record(request, "revoked", f"sessions of {_whose(kind, subject)}")
        return web.json_response({"revocation": number})

    async def reload(self, request: web.Request) -> web.Response:
        """Every process of this host takes the configuration file anew; with ``publish`` the limits
        in it become the site's, if they are still at the version the caller has seen."""
        wanted = await body(request)
        publish = wanted.pop("publish", False)
        if wanted or not isinstance(publish, bool):
            raise Refused('the body is {} or {"publish": true}')
        if not publish:
            done = await self._reloaded()
            await self._record(request, "reloaded", "the configuration of this host")
            return web.json_response(done)
        seen = version(request)
        if seen is None:
            return problem(428, 'publishing needs If-Match: "VERSION" as seen in /api/v1/capacity')
        present = await self._ledger.limits()
        try:
            document = self._propose(None if present is None else present.capacity)
        except ConfigurationError as error:
            raise Refused(error.at_reload()) from error
        if present is not None and present.number != seen:
            raise Stale(f"the limits are at version {present.number}, not {seen}")
        done = await self._reloaded()
        entry = AuditEntry(
            guard.author(request), "published", f"configuration {document.digest}",
            before="" if present is None else present.digest,
        )  # fmt: skip
        published = await self._ledger.publish(document, if_match=seen, entry=entry)
        return web.json_response({**done, "version": published.number})

    async def _reloaded(self) -> dict[str, Any]:
        """Every process of this host has taken the file anew; what it names that only a restart
        brings into force is told. Raises what ``Processes.reload`` raises."""
        await self._processes.reload()
        supervisor = (await self._processes.state()).supervisor or {}
        needs_restart = list(supervisor.get("needs_restart", ()))
        return {"reloaded": True, "version": None, "needs_restart": needs_restart}

    async def description(self, _: web.Request) -> web.Response:
        return web.json_response(openapi(self.operations, self._site))

    def _table(self) -> tuple[Operation, ...]:
        waiting = Parameter("employee", "path", "the canonical login name, percent-encoded")
        server = {
            "type": "object",
            "properties": {"server": {"type": "string"}},
            "required": ["server"],
            "additionalProperties": False,
        }
        switched = {
            200: "done by workers; missing did not answer", 400: "no server named",
            404: "no worker of this host has such a server",
        }  # fmt: skip
        return (
            Operation("GET", "/workers", "Workers of the site", self.workers, {200: "the workers"}),
            Operation(
                "DELETE", "/workers/{id}", "Forget a worker whose host was lost", self.forget,
                {200: "its grants are back", 404: "unknown", 409: "it is not dead"},
                (Parameter("id", "path", "its incarnation, percent-encoded"),),
            ),
            Operation(
                "GET", "/capacity", "Limits in force and what is taken", self.capacity,
                {200: "a consistent snapshot"},
            ),
            *self._orders.operations(),
            *self._tokens.operations(),
            Operation(
                "GET", "/pools", "Pools and their servers", self.pools, {200: "the pools"}
            ),
            Operation(
                "POST", "/servers/drain", "Give a server no new exchanges, on this host",
                self.drain_server, switched, body=server,
            ),
            Operation(
                "POST", "/servers/enable", "Give a drained server exchanges again, on this host",
                self.enable_server, switched, body=server,
            ),
            Operation(
                "GET", "/waiting", "The waiting room by population", self.waiting,
                {200: "how many wait and are called"},
            ),
            Operation(
                "GET", "/waiting/{employee}", "Where one employee stands", self.standing,
                {200: "state and place", 404: "neither a seat nor a ticket"}, (waiting,),
            ),
            Operation(
                "DELETE", "/waiting/{employee}", "Take an employee's ticket away",
                self.remove_ticket, {200: "removed", 404: "no ticket"}, (waiting,),
            ),
            Operation(
                "GET", "/sessions", "Sessions of an employee, a population, everybody",
                self.sessions,
                {
                    200: "all of an employee; else the youngest 1000; total: all there are; "
                    "ledger_ms: now",
                    400: "not exactly one of the parameters",
                },
                (
                    Parameter("employee", "query", "the canonical login name"),
                    Parameter("population", "query", "its name"),
                    Parameter("everybody", "query", "yes"),
                ),
            ),
            Operation(
                "POST", "/rereadings", "Read employees' entries in the directory again",
                self.refresh_sessions,
                {200: "how many employees are to be read", 400: "not exactly one of the four"},
                (),
                {
                    "type": "object",
                    "properties": {
                        "session": {"type": "string"},
                        "employee": {"type": "string"},
                        "population": {"type": "string"},
                        "everybody": {"const": True},
                    },
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                },
            ),
            Operation(
                "DELETE", "/sessions/{id}", "End one session", self.revoke_session,
                {200: "revoked; known tells whether the ledger had it"},
                (Parameter("id", "path", "the session's id"),),
            ),
            Operation(
                "DELETE", "/sessions", "End the sessions of an employee, a population, everybody",
                self.revoke_sessions,
                {200: "revoked", 400: "not exactly one of the parameters"},
                (
                    Parameter("employee", "query", "end this employee's sessions"),
                    Parameter("population", "query", "end this population's sessions"),
                    Parameter("everybody", "query", "yes: end every session of the site"),
                ),
            ),
            Operation(
                "POST", "/reload", "Take the configuration file anew", self.reload,
                {
                    200: "taken by every process of this host",
                    400: "refused, with the reason: everything stays as it was",
                    404: "the supervisor of this host does not answer",
                    412: "the limits have changed since that version",
                    428: "publishing without If-Match",
                },
                (Parameter("If-Match", "header", "with publish: the version seen"),),
                {
                    "type": "object",
                    "properties": {"publish": {"type": "boolean", "default": False}},
                    "additionalProperties": False,
                },
            ),
            Operation(
                "GET", "/openapi.json", "This document", self.description, {200: "OpenAPI 3.1"}
            ),
        )  # fmt: skip


def _named(subject: Any) -> bool:
    return isinstance(subject, str) and bool(subject)


def _whose(kind: RevocationKind, subject: str) -> str:
    return kind if kind == "everybody" else f"{kind} {subject}"


def _subject(request: web.Request) -> tuple[RevocationKind, str]:
    """Whose sessions the one query parameter names. Raises Refused."""
    if len(request.query) != 1:
        raise Refused(_WHOSE)
    ((selector, subject),) = request.query.items()
    if selector == "everybody" and subject == "yes":
        return "everybody", ""
    if selector in _SELECTORS and subject:
        return _SELECTORS[selector], subject
    raise Refused(_WHOSE)
