"""The admin process: metrics of the whole host, readiness, API and console, on its own listener."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts, require_private
from broker.configuration import digest, load
from broker.directory.ldap_directory import LdapDirectory
from broker.ledger.redis_ledger import RedisLedger
from broker.supervisor.child import Child
from broker.telemetry.control import ControlClient, ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.directory import directory_plan
from broker.wiring.explaining import premises
from broker.wiring.limits import limits_document

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from broker.admin.explain import Premises
    from broker.directory.port import Employee
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
    known = _Known(settings)
    app = make_app(
        plan,
        ledger,
        ControlClient(),
        propose=lambda present: proposed(birth.configuration, present),
        clock=boot_time,
        civil=civil_time,
        premises=known.premises,
        lookups=known,
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    control = ControlServer(
        control_path(settings.run_dir, "admin"),
        Exposition().render,
        lambda: {"kind": "admin"},
        {"reload": lambda: known.read(birth.configuration)},
    )
    try:
        async with control:
            for listening in child.sockets[0]:
                await web.SockSite(runner, listening).start()
            child.ready()
            await child.stop.wait()
    finally:
        await runner.cleanup()
        await known.close()
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


class _Known:
    """What ``explain`` needs of the configuration, and its own few lines to the directory: who asks
    why somebody cannot get in must not wait behind the logins of everybody."""

    def __init__(self, settings: Settings) -> None:
        self._premises = premises(settings)
        self._directory = _lookups(settings)

    def premises(self) -> Premises:
        return self._premises

    async def read(self, configuration: Path) -> None:
        """The configuration anew; raises with all its faults, and then nothing has changed."""
        settings = load(configuration)
        self._premises, directory = premises(settings), _lookups(settings)
        former, self._directory = self._directory, directory
        await former.close()

    async def lookup(self, username: str) -> Employee | None:
        return await self._directory.lookup(username)

    async def close(self) -> None:
        await self._directory.close()


def _lookups(settings: Settings) -> LdapDirectory:
    plan = directory_plan(settings.directory)
    return LdapDirectory(replace(plan, threads=2, queue=8), boot_time)
