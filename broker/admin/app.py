"""The admin application: joins metrics, readiness, API and console behind one guard."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin import guard
from broker.admin.api import Api
from broker.admin.callers import Callers
from broker.admin.console import Console
from broker.admin.console_sessions import ConsoleSessions
from broker.admin.entrances import Entrances
from broker.admin.explain import Explain
from broker.admin.health import readiness
from broker.admin.live import Live
from broker.admin.members import Members
from broker.admin.metrics import Metrics
from broker.admin.operations import PREFIX
from broker.admin.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admin.explain import Premises
    from broker.admin.members import MemberDirectory
    from broker.admin.plan import AdminPlan
    from broker.ledger.port import Ledger
    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument
    from broker.telemetry.control import ControlClient

_BODY_MOST = 64 * 1024


def make_app(
    plan: AdminPlan,
    ledger: Ledger,
    control: ControlClient,
    propose: Callable[[Capacity | None], LimitsDocument],
    clock: Callable[[], float],
    civil: Callable[[], float],
    directory: MemberDirectory | None = None,
    premises: Callable[[], Premises] | None = None,
) -> web.Application:
    """Serve it with ``web.AppRunner(app, access_log=None)`` on the inherited sockets.

    ``propose``: the limits document of this host's configuration file, read anew, under what is in
    force. ``clock``: monotonic seconds; ``civil``: civil time in seconds. ``directory``: asked for
    the members of the plan's groups, if it has any, and about whom it is to be explained why they
    get in; ``premises`` (without it nothing can be explained): what of the configuration decides.
    """
    processes = Processes(plan.run_dir, control)
    callers = Callers(plan.token, ledger, clock, civil)
    members = None
    if directory is not None and (plan.operators or plan.viewers):
        members = Members(directory, plan.operators, plan.viewers, clock)
    sessions = ConsoleSessions(callers, members, clock, plan.console_session)
    api = Api(plan.site, ledger, processes, propose, civil, callers)
    live = Live(api.snapshot, ledger, processes, clock, civil)
    entrances = Entrances(ledger, clock)
    console = Console(plan.site, api, live, callers, sessions, members, entrances)
    api.operations += console.operations()
    if premises is not None:
        api.operations += Explain(ledger, processes, directory, premises).operations()
    app = web.Application(
        middlewares=[
            guard.errors,
            guard.own_name_only(plan.hosts),
            guard.known_callers_only(
                callers,
                sessions,
                open_=console.open_paths(),
                viewers={
                    prefix + operation.path
                    for operation in api.operations
                    if operation.viewers
                    for prefix in _PREFIXES
                },
            ),
        ],
        client_max_size=_BODY_MOST,
    )
    _add_public(app, api, Metrics(ledger, processes))
    for operation in api.operations:
        for prefix in _PREFIXES:
            app.router.add_route(operation.method, prefix + operation.path, operation.handler)
    app.router.add_routes(console.routes())
    _keep_looking(app, live)
    return app


_PREFIXES = (PREFIX, guard.CONSOLE.rstrip("/") + PREFIX)
"""The console's script asks below its own path: only there does its cookie go."""


def _add_public(app: web.Application, api: Api, metrics: Metrics) -> None:
    async def serve_metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=await metrics.page(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        found = readiness(*await api.snapshot())
        body = {
            "ready": found.ready,
            "reasons": list(found.reasons),
            "warnings": list(found.warnings),
        }
        return web.json_response(body, status=200 if found.ready else 503)

    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)


def _keep_looking(app: web.Application, live: Live) -> None:
    """From the start to the shutdown, whose streams would otherwise never end by themselves."""
    looking: list[asyncio.Task[None]] = []

    async def begin(_: web.Application) -> None:
        looking.append(asyncio.create_task(live.run()))

    async def end(_: web.Application) -> None:
        for task in looking:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    app.on_startup.append(begin)
    app.on_shutdown.append(end)
