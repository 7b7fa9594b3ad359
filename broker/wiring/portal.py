"""The portal process: pages, logins, hand-over, on a private Unix socket behind the gateway."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from broker.directory.ldap_directory import LdapDirectory
from broker.ledger.redis_ledger import RedisLedger
from broker.policy.populations import PopulationRule
from broker.portal.app import make_app
from broker.portal.plan import PortalPlan
from broker.site.tokens import KeyRing, Tokens
from broker.supervisor.child import Child
from broker.telemetry import names
from broker.telemetry.control import ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.directory import directory_plan

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.wiring.processes import Birth


def portal_plan(settings: Settings) -> PortalPlan:
    company = settings.company
    return PortalPlan(
        home=settings.home,
        applications=tuple(host.origin for host in settings.hosts),
        populations=tuple(
            PopulationRule(population.name, tuple(population.groups), population.attributes)
            for population in settings.populations
        ),
        session_lifetime=settings.sessions.lifetime,
        sessions_per_employee=settings.sessions.per_employee,
        company=company.name,
        contact=company.contact,
        color=company.color,
        language=company.language,
    )


PATIENCE = 1.0  # seconds for the ledger: not the data path, and logins keep this process busy
SHUTDOWN = 3.0  # seconds for answers under way; the supervisor waits a little longer


async def portal(settings: Settings, birth: Birth) -> None:
    child = Child(birth.fds, reopen=lambda: None)
    keys = KeyRing.from_json(settings.sessions.keys.get_secret_value())
    tokens = Tokens(keys, settings.site, civil_time, settings.sessions.token_lifetime)
    ledger = await RedisLedger.connect(
        settings.ledger.url.get_secret_value(),
        settings.site,
        max(settings.ledger.deadline, PATIENCE),
    )
    directory = LdapDirectory(directory_plan(settings.directory), boot_time)
    exposition = Exposition()
    logins = exposition.counter(names.LOGINS, [(outcome,) for outcome in names.LOGIN_OUTCOMES])
    app = make_app(portal_plan(settings), ledger, directory, tokens, logins.add)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    control = ControlServer(
        control_path(settings.run_dir, "portal"),
        exposition.render,
        lambda: {"kind": "portal"},
        {"reload": _nothing_to_reload},
    )
    try:
        async with control:
            for listening in child.sockets[0]:
                await web.SockSite(runner, listening).start()
            child.ready()
            await child.stop.wait()
    finally:
        await runner.cleanup()
        await directory.close()
        await ledger.close()


async def _nothing_to_reload() -> None:
    await asyncio.sleep(0)
