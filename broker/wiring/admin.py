"""The admin process: metrics of the whole host, readiness, API and console, on its own listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts, require_private
from broker.configuration import digest, load
from broker.ledger.redis_ledger import RedisLedger
from broker.supervisor.child import Child
from broker.telemetry.control import ControlClient, ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.limits import limits_document

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument
    from broker.settings import Settings
    from broker.wiring.processes import Birth


SHUTDOWN = 3.0  # seconds for answers under way; the supervisor waits a little longer


async def admin(settings: Settings, birth: Birth) -> None:
    require_private(settings.admin.address)
    child = Child(birth.fds, reopen=lambda: None)
    ledger = await RedisLedger.connect(
        settings.ledger.url.get_secret_value(), settings.site, settings.ledger.deadline
    )
    plan = AdminPlan(
        site=settings.site,
        token=settings.admin.token.get_secret_value(),
        hosts=allowed_hosts(map(_name, child.sockets[0]), settings.admin.hosts),
        run_dir=settings.run_dir,
    )
    app = make_app(
        plan,
        ledger,
        ControlClient(),
        propose=lambda present: proposed(birth.configuration, present),
        clock=boot_time,
        civil=civil_time,
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    control = ControlServer(
        control_path(settings.run_dir, "admin"),
        Exposition().render,
        lambda: {"kind": "admin"},
        {"reload": _read_anew_anyway},
    )
    try:
        async with control:
            for listening in child.sockets[0]:
                await web.SockSite(runner, listening).start()
            child.ready()
            await child.stop.wait()
    finally:
        await runner.cleanup()
        await ledger.close()


def proposed(configuration: Path, present: Capacity | None) -> LimitsDocument:
    """The limits that the file proposes at this moment, under the level and raises in force at
    ``present``. Raises ConfigurationError."""
    settings = load(configuration)
    return limits_document(settings, digest(settings), present)


def _name(listening: socket.socket) -> str:
    """The Host value under which this socket is reached."""
    address = listening.getsockname()
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _read_anew_anyway() -> None:
    """The admin process keeps nothing of the configuration that a reload could change."""
