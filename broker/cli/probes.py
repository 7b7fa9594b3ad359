"""What ``broker check`` tries: certificates, folders, descriptors, directory, Redis, servers.

All network probes run at the same time, each within its own configured deadline. Nothing is changed
anywhere; no secret and no answer of a server is shown.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from broker.directory.ldap_directory import LdapDirectory
from broker.errors import BrokerError, ConfigurationError
from broker.gateway.addresses import is_name, look_up
from broker.gateway.certificates import matching, read_chain
from broker.gateway.health import Unwell, ask
from broker.gateway.upstream import told
from broker.ledger.requirements import faults
from broker.telemetry.control import control_path
from broker.wiring.admin_tls import admin_context
from broker.wiring.clocks import boot_time
from broker.wiring.directory import directory_plan
from broker.wiring.gateway import health_plan, listener_certificates, server_plans

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.gateway.certificates import Chain
    from broker.gateway.plan import HealthPlan, ServerPlan
    from broker.settings import Listener, Pool, Settings

Level = Literal["ok", "warning", "fault"]

_SOON = timedelta(days=21)
_OWN_DESCRIPTORS = 128  # of a worker: listeners, Redis, log, pipes, epoll
_LONGEST_SOCKET = 107  # bytes: sun_path holds 108 with the final NUL (unix(7))


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` was looked at, and a sentence on how it is."""

    what: str
    level: Level
    text: str


async def probe(settings: Settings) -> list[Finding]:
    """Try everything; never raises for what is wrong with it."""
    found = [*_certificates(settings), *_folders(settings), _descriptors(settings)]
    async with asyncio.TaskGroup() as group:
        directory = group.create_task(_directory(settings))
        ledger = group.create_task(_ledger(settings))
        servers = [group.create_task(_servers(*each)) for each in settings.pools.items()]
    found += [*directory.result(), *ledger.result()]
    for task in servers:
        found += task.result()
    return found


def _certificates(settings: Settings) -> Iterator[Finding]:
    origins = (settings.home, *(host.origin for host in settings.hosts))
    hosts = [urlsplit(origin).hostname or "" for origin in origins]
    for listener in settings.listeners:
        if listener.tls is not None:
            yield from _listener_certificates(listener, hosts)
    if settings.admin.tls is not None:
        what = f"admin {settings.admin.address}"
        try:
            admin_context(settings.admin.tls)
            yield _expiry(what, read_chain(settings.admin.tls.certificate))
        except ConfigurationError as error:
            yield Finding(what, "fault", error.reason)


def _listener_certificates(listener: Listener, hosts: list[str]) -> Iterator[Finding]:
    assert listener.tls is not None
    what = f"listener {listener.address}"
    known: set[str] = set()
    try:
        for each in listener_certificates(listener):
            known.update(each.chain.names)
            yield _expiry(what, each.chain)
    except ConfigurationError as error:
        yield Finding(what, "fault", error.reason)
        return
    for host in hosts:
        if known.isdisjoint(matching(host)):
            yield Finding(what, "fault", f"no certificate is made out to {host}")


def _expiry(what: str, chain: Chain) -> Finding:
    """Of a whole chain: an authority in between that has expired is as bad as a leaf."""
    expires = datetime.fromtimestamp(chain.expires, UTC)
    left = expires - datetime.now(UTC)
    of, when = f"the certificate of {chain.name}", f"{expires:%Y-%m-%d}"
    if left <= timedelta(0):
        return Finding(what, "fault", f"{of} has expired on {when}")
    if left < _SOON:
        return Finding(what, "warning", f"{of} expires in {left.days} days, on {when}")
    return Finding(what, "ok", f"{of} is valid until {when}")


def _folders(settings: Settings) -> Iterator[Finding]:
    longest = control_path(settings.run_dir, f"worker-{settings.workers - 1}")
    if len(str(longest).encode()) > _LONGEST_SOCKET:
        text = f"{settings.run_dir} is too long: sockets in it may have {_LONGEST_SOCKET} bytes"
        yield Finding("run_dir", "fault", text)
    nearest = settings.run_dir
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        yield Finding("run_dir", "fault", f"{nearest} is no folder")


def _descriptors(settings: Settings) -> Finding:
    """``serve`` raises the soft limit to the hard one; an exchange needs two descriptors."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding("descriptors", "ok", "not limited")
    each = max(0, (hard - _OWN_DESCRIPTORS) // 2)
    together = each * settings.workers
    text = (
        f"{hard} for each process: {each} exchanges on each worker, {together} on "
        f"{settings.workers} workers"
    )
    if together < settings.connections.limit:
        text += f", fewer than connections.limit ({settings.connections.limit}): raise LimitNOFILE"
        return Finding("descriptors", "warning", text)
    return Finding("descriptors", "ok", text)


async def _directory(settings: Settings) -> list[Finding]:
    try:
        directory = LdapDirectory(directory_plan(settings), boot_time)
    except ConfigurationError as error:
        return [Finding("directory", "fault", text) for text in error.faults or (error.reason,)]
    try:
        await directory.probe()
        doubts = await directory.survey(_groups(settings))
    except BrokerError as error:
        return [Finding("directory", "fault", error.reason)]
    finally:
        await directory.close()
    servers = ", ".join(settings.directory.servers)
    return [
        Finding("directory", "ok", f"{servers}: bound, and found {settings.directory.base}"),
        *(Finding("directory", doubt.level, doubt.text) for doubt in doubts),
    ]


def _groups(settings: Settings) -> dict[str, str]:
    """Every group of the directory that the configuration names, and where."""
    named = {
        group: f"population {each.name}" for each in settings.populations for group in each.groups
    }
    named |= dict.fromkeys(settings.second_factor.groups, "second_factor")
    for role in ("operators", "viewers"):
        if group := getattr(settings.admin, role):
            named[group] = f"admin.{role}"
    return named


async def _ledger(settings: Settings) -> list[Finding]:
    factor = settings.second_factor
    needed = bool(factor.populations or factor.groups)
    found = await faults(settings.ledger.url.get_secret_value(), factors=needed)
    if not found:
        return [Finding("ledger", "ok", "Redis is fit to be the ledger")]
    return [
        Finding("ledger", "fault" if fault.severity == "fault" else "warning", fault.text)
        for fault in found
    ]


async def _servers(name: str, pool: Pool) -> list[Finding]:
    what = f"pool {name}"
    try:
        plans = server_plans(pool)
    except ConfigurationError as error:
        return [Finding(what, "fault", error.reason)]
    found = []
    if pool.tls.certificate is not None and any(plan.secure for plan in plans):
        found.append(_expiry(what, read_chain(pool.tls.certificate)))
    health = health_plan(pool.health)
    return found + await asyncio.gather(*(_server(what, plan, health) for plan in plans))


async def _server(what: str, plan: ServerPlan, health: HealthPlan) -> Finding:
    """The same question as the gateway's health check, asked of each address of a name."""
    try:
        async with asyncio.timeout(health.timeout):
            named = plan.host and is_name(plan.host)
            addresses = await look_up(plan.host) if named else (plan.host,)
    except OSError as error:
        return Finding(what, "fault", f"{plan.name} cannot be resolved: {told(error)}")
    wrong: list[str] = []
    for address in addresses:
        where = plan.name if len(addresses) == 1 else f"{plan.name} ({address})"
        try:
            await ask(plan, health, (address,))
        except OSError as error:
            wrong.append(f"{where} does not answer: {told(error)}")
        except Unwell as error:
            wrong.append(f"{where}: {error}")
    if not wrong:
        return Finding(what, "ok", f"{plan.name} is healthy")
    level: Level = "fault" if len(wrong) == len(addresses) else "warning"
    return Finding(what, level, "; ".join(wrong))
