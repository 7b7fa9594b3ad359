"""The portal process: pages, logins, hand-over, on a private Unix socket behind the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import web

from broker.configuration import load
from broker.directory.ldap_directory import LdapDirectory
from broker.ledger.redis_ledger import RedisLedger
from broker.policy.guessing import GuessRules
from broker.policy.populations import PopulationRule
from broker.policy.second_factor import FactorRules
from broker.portal.app import Portal
from broker.portal.plan import PortalPlan
from broker.settings.scalars import picture_type
from broker.site.factors import Factors
from broker.site.rereading import Rereading
from broker.site.tokens import KeyRing, Tokens
from broker.supervisor.child import Child
from broker.telemetry import names
from broker.telemetry.control import ControlServer, control_path
from broker.telemetry.exposition import Exposition
from broker.wiring.clocks import boot_time, civil_time
from broker.wiring.directory import directory_plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broker.settings import Settings
    from broker.wiring.processes import Birth


_log = logging.getLogger(__name__)


def portal_plan(settings: Settings) -> PortalPlan:
    company = settings.company
    return PortalPlan(
        home=settings.home,
        applications=tuple(host.origin for host in settings.hosts),
        populations=tuple(
            PopulationRule(
                population.name,
                tuple(population.groups),
                population.attributes,
                population.filter,
            )
            for population in settings.populations
        ),
        session_lifetime=settings.sessions.lifetime,
        sessions_per_employee=settings.sessions.per_employee,
        refuse_more_sessions=settings.sessions.when_full == "refuse",
        guesses=GuessRules(
            window_ms=int(settings.bans.window * 1000),
            ban_ms=int(settings.bans.duration * 1000),
            per_pair=settings.bans.per_employee_and_address,
            per_address=settings.bans.per_address,
            free=settings.bans.slow_after,
            slowest_ms=int(settings.bans.slowest * 1000),
        ),
        trusted_addresses=tuple(settings.bans.trusted),
        password_change=settings.directory.password_change != "none",
        factor=FactorRules(
            populations=tuple(settings.second_factor.populations),
            groups=tuple(settings.second_factor.groups),
            except_from=tuple(settings.second_factor.except_from),
            tries=settings.second_factor.tries,
            window_ms=int(settings.second_factor.window * 1000),
        ),
        company=company.name,
        contact=company.contact,
        color=company.color,
        language=company.language,
        logo=_picture(company.logo),
        last_use_within=settings.sessions.token_refresh,
    )


def _picture(path: Path | None) -> tuple[str, bytes] | None:
    """Media type and content; of one that was replaced by something else since the check, none."""
    if path is None:
        return None
    content = path.read_bytes()
    kind = picture_type(content)
    return (kind, content) if kind is not None else None


PATIENCE = 1.0  # seconds for the ledger: not the data path, and logins keep this process busy
LARGEST_HEAD = 128 * 1024  # bytes: above the gateway's own limits, its assertion included
BACKLOG = 4096  # connections of the gateway that may wait, as the supervisor opened the socket
SHUTDOWN = 3.0  # seconds for answers under way; the supervisor waits a little longer


async def portal(settings: Settings, birth: Birth) -> None:
    child = Child(birth.fds, reopen=lambda: None)
    keys = KeyRing.from_json(settings.sessions.keys.get_secret_value())
    tokens = Tokens(keys, settings.site, civil_time, settings.sessions.token_lifetime)
    factors = Factors(keys, settings.site, civil_time)
    ledger = await RedisLedger.connect(
        settings.ledger.url.get_secret_value(),
        settings.site,
        max(settings.ledger.deadline, PATIENCE),
    )
    exposition = Exposition()
    logins = exposition.counter(names.LOGINS, [(outcome,) for outcome in names.LOGIN_OUTCOMES])
    bans = exposition.counter(names.BANS, [(kind,) for kind in names.BAN_KINDS])
    delays = exposition.counter(names.LOGINS_DELAYED)

    def guarded(kind: str) -> None:
        if kind == "delayed":
            delays.add()
        else:
            bans.add(kind)

    reread = exposition.counter(names.REREAD, [(outcome,) for outcome in names.REREAD_OUTCOMES])
    try:
        async with asyncio.TaskGroup() as farewells:
            directory = _directory(settings)
            rereading = Rereading(
                ledger,
                directory,
                portal_plan(settings).populations,
                settings.sessions.reread,
                reread.add,
                portal_plan(settings).factor,
            )
            background = asyncio.create_task(rereading.run())
            served = Portal(
                portal_plan(settings), ledger, directory, tokens, factors, logins.add, guarded
            )

            async def reload() -> None:
                """Take rules of populations, hosts, texts, what a new session gets, and the
                directory. Raises with all faults, and then nothing has changed."""
                nonlocal directory
                wanted = load(birth.configuration)
                # A new one also where its settings are the same: the file ``ca`` may not be.
                found = _directory(wanted)
                ring = KeyRing.from_json(wanted.sessions.keys.get_secret_value())
                tokens.replace(ring)
                factors.replace(ring)
                ended = served.replace(portal_plan(wanted), found)
                rereading.directory, rereading.rules = found, portal_plan(wanted).populations
                rereading.factor = portal_plan(wanted).factor
                rereading.every = wanted.sessions.reread
                farewells.create_task(_close_after(ended, directory))
                directory = found
                _log.info("reloaded")

            try:
                await _serve(settings, child, served, exposition, reload)
            finally:
                background.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await background
                await directory.close()
    finally:
        await ledger.close()


async def _serve(
    settings: Settings,
    child: Child,
    served: Portal,
    exposition: Exposition,
    reload: Callable[[], Awaitable[None]],
) -> None:
    runner = web.AppRunner(
        served.app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=SHUTDOWN,
        # What the gateway let through must not fail here, and nobody sends us compressed forms.
        max_line_size=LARGEST_HEAD,
        max_field_size=LARGEST_HEAD,
        auto_decompress=False,
    )
    await runner.setup()
    control = ControlServer(
        control_path(settings.run_dir, "portal"),
        exposition.render,
        lambda: {"kind": "portal"},
        {"reload": reload},
    )
    try:
        async with control:
            for listening in child.sockets[0]:
                await web.SockSite(runner, listening, backlog=BACKLOG).start()
            child.ready()
            await child.stop.wait()
    finally:
        await runner.cleanup()


def _directory(settings: Settings) -> LdapDirectory:
    return LdapDirectory(directory_plan(settings), boot_time)


async def _close_after(ended: Awaitable[None], directory: LdapDirectory) -> None:
    """Its last logins are left in peace."""
    try:
        await ended
    finally:
        await directory.close()
