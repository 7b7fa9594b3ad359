"""The admin application: joins metrics, readiness, API and console behind one guard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin import guard
from broker.admin.api import Api
from broker.admin.console import Console
from broker.admin.health import readiness
from broker.admin.metrics import Metrics
from broker.admin.operations import PREFIX
from broker.admin.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable

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
) -> web.Application:
    """Serve it with ``web.AppRunner(app, access_log=None)`` on the inherited sockets.

    ``propose``: the limits document of this host's configuration file, read anew, under what is in
    force. ``clock``: monotonic seconds; ``civil``: civil time in seconds.
    """
    processes = Processes(plan.run_dir, control)
    api = Api(plan.site, ledger, processes, propose, civil)
    metrics = Metrics(ledger, processes)
    console = Console(plan.site, plan.token, api, clock, plan.console_session)

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

    async def to_console(_: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": guard.CONSOLE})

    app = web.Application(
        middlewares=[
            guard.errors,
            guard.own_name_only(plan.hosts),
            guard.token_needed(plan.token),
        ],
        client_max_size=_BODY_MOST,
    )
    app.router.add_get("/metrics", serve_metrics)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    for operation in api.operations:
        app.router.add_route(operation.method, PREFIX + operation.path, operation.handler)
    app.router.add_get(guard.CONSOLE, console.show)
    app.router.add_post(guard.CONSOLE, console.enter)
    app.router.add_post(f"{guard.CONSOLE}leave", console.leave)
    app.router.add_get(guard.CONSOLE.rstrip("/"), to_console)
    return app
