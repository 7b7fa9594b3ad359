"""What ``broker check`` tries: certificates, folders, descriptors, directory, Redis, servers.

All network probes run at the same time, each within its own configured deadline. Nothing is changed
anywhere; no secret and no answer of a server is shown.
"""

from __future__ import annotations

import asyncio
import http.client
import resource
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from broker.directory.ldap_directory import LdapDirectory
from broker.errors import BrokerError, ConfigurationError
from broker.ledger.requirements import faults
from broker.telemetry.control import control_path
from broker.wiring.clocks import boot_time
from broker.wiring.directory import directory_plan
from broker.wiring.gateway import certificate_names, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker.settings import Health, Listener, Settings

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
        servers = [
            group.create_task(asyncio.to_thread(_server, name, server.address, pool.health))
            for name, pool in settings.pools.items()
            for server in pool.servers
        ]
    found += [*directory.result(), *ledger.result(), *(task.result() for task in servers)]
    return found


def _certificates(settings: Settings) -> Iterator[Finding]:
    origins = (settings.home, *(host.origin for host in settings.hosts))
    hosts = [urlsplit(origin).hostname or "" for origin in origins]
    for listener in settings.listeners:
        if listener.tls is not None:
            yield from _listener_certificates(listener, hosts)


def _listener_certificates(listener: Listener, hosts: list[str]) -> Iterator[Finding]:
    assert listener.tls is not None
    what = f"listener {listener.address}"
    try:
        tls_context(listener.tls)
    except (OSError, ssl.SSLError, ValueError) as error:
        cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        yield Finding(what, "fault", f"certificate and key cannot be used: {cause}")
        return
    names: set[str] = set()
    for pair in listener.tls.certificates:
        names.update(certificate_names(pair.certificate))
        yield _expiry(what, pair.certificate)
    for host in hosts:
        if host not in names and f"*.{host.partition('.')[2]}" not in names:
            yield Finding(what, "fault", f"no certificate is made out to {host}")


def _expiry(what: str, path: Path) -> Finding:
    from cryptography import x509

    leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    left = leaf.not_valid_after_utc - datetime.now(UTC)
    when = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    if left <= timedelta(0):
        return Finding(what, "fault", f"{path} has expired on {when}")
    if left < _SOON:
        return Finding(what, "warning", f"{path} expires in {left.days} days, on {when}")
    return Finding(what, "ok", f"{path} is valid until {when}")


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
    except BrokerError as error:
        return [Finding("directory", "fault", error.reason)]
    finally:
        await directory.close()
    servers = ", ".join(settings.directory.servers)
    return [Finding("directory", "ok", f"{servers}: bound, and found {settings.directory.base}")]


async def _ledger(settings: Settings) -> list[Finding]:
    found = await faults(settings.ledger.url.get_secret_value())
    if not found:
        return [Finding("ledger", "ok", "Redis is fit to be the ledger")]
    return [
        Finding("ledger", "fault" if fault.severity == "fault" else "warning", fault.text)
        for fault in found
    ]


def _server(pool: str, server: str, health: Health) -> Finding:
    """The same question as the gateway's health check."""
    what = f"pool {pool}"
    parts = urlsplit(server)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=health.timeout
    )
    try:
        connection.request("GET", health.path)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return Finding(what, "fault", f"{server} does not answer: {cause}")
    finally:
        connection.close()
    if 200 <= status < 400:
        return Finding(what, "ok", f"{server} is healthy")
    return Finding(what, "fault", f"{server}{health.path} answers {status}")
