"""Checks on listeners, hosts, routes and the operators' door."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.configuration.faults import nearest
from broker.settings.scalars import parse_address

if TYPE_CHECKING:
    from broker.configuration.draft import Draft, Found


def listeners(draft: Draft) -> Found:
    seen: dict[str, int] = {}
    for index, listener in draft.listeners.items():
        at = ("listeners", index)
        if listener.address in seen:
            yield (*at, "address"), f"is also that of listeners[{seen[listener.address]}]"
        seen.setdefault(listener.address, index)
        open_to_all = not listener.trusted_proxies and not _local(listener.address)
        if listener.tls is None and open_to_all:
            yield (
                at,
                "clear text is allowed only on loopback, on a Unix socket or behind "
                "trusted_proxies: give it tls",
            )
        if listener.proxy_protocol and listener.address.startswith("unix:"):
            yield (*at, "proxy_protocol"), "on a Unix socket nobody has an address to be listed by"


def admin(draft: Draft) -> Found:
    if draft.admin is None:
        return
    if draft.admin.tls is None and not _local(draft.admin.address):
        yield ("admin", "address"), "should be loopback or a Unix socket: elsewhere it needs tls"
    if draft.admin.tls is not None and draft.admin.address.startswith("unix:"):
        yield ("admin", "tls"), "is of no use on a Unix socket, which never leaves this host"
    if len(draft.admin.token.get_secret_value()) < 16:
        yield ("admin", "token"), "is shorter than 16 characters"
    taken = {listener.address for listener in draft.listeners.values()}
    if draft.admin.address in taken:
        yield ("admin", "address"), "is also a public listener's"
    directory = draft.directory
    if directory and directory.group_attribute is None and directory.group_base is None:
        for key in ("operators", "viewers"):
            if getattr(draft.admin, key):
                yield (
                    ("admin", key),
                    "groups are never read: give directory.group_attribute or directory.group_base",
                )


def hosts(draft: Draft) -> Found:
    home = _authority(draft.home) if draft.home else None
    seen: dict[tuple[str, int], int] = {}
    for index, host in draft.hosts.items():
        at = ("hosts", index)
        authority = _authority(host.origin)
        if authority == home:
            yield (
                (*at, "origin"),
                "is the home host, which carries no application: its scripts could read passwords",
            )
        if authority in seen:
            yield (*at, "origin"), f"is also that of hosts[{seen[authority]}]"
        seen.setdefault(authority, index)
        prefixes: dict[str, int] = {}
        for number, route in enumerate(host.routes):
            place = (*at, "routes", number)
            prefix = route.path.rstrip("/")
            if prefix in prefixes:
                yield (*place, "path"), f"is also that of routes[{prefixes[prefix]}] of this host"
            prefixes.setdefault(prefix, number)
            if prefix == "/.broker" or prefix.startswith("/.broker/"):
                yield (*place, "path"), "/.broker/ is the broker's own on every host"
            if route.pool not in draft.pool_names:
                offer = nearest(route.pool, draft.pool_names)
                yield (*place, "pool"), f"there is no pool {route.pool}{offer}"


def _local(address: str) -> bool:
    parsed = parse_address(address)
    if isinstance(parsed, pathlib.Path) or parsed[0] == "localhost":
        return True
    try:
        return ipaddress.ip_address(parsed[0]).is_loopback
    except ValueError:
        return False


def _authority(origin: str) -> tuple[str, int]:
    parts = urlsplit(origin)
    return parts.hostname or "", parts.port or 443
