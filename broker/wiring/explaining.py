"""From the configuration to what ``explain`` needs: rules, and where an address leads.

The gateway's own table of routes answers, with names in place of pools, so that what is explained
is what is done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from broker.admin.explain import Premises
from broker.directory.reading import typed_name
from broker.errors import ProtocolViolation
from broker.gateway.route import HEALTHZ, STATUS, RouteTable, is_portal_path, is_reserved
from broker.policy.explaining import Place
from broker.wiring.gateway import gateway_plan
from broker.wiring.portal import portal_plan

if TYPE_CHECKING:
    from broker.settings import Settings


def premises(settings: Settings) -> Premises:
    """Raises ConfigurationError for files of TLS that cannot be used."""
    plan = gateway_plan(settings)
    portal = portal_plan(settings)
    names = cast("Any", {name: name for name in plan.pools})
    table = RouteTable(plan, names, lambda _: {})
    return Premises(
        rules=portal.populations,
        factor=portal.factor,
        place=lambda url: place(table, url),
        canonical=typed_name,
    )


def place(table: RouteTable, url: str) -> Place:
    """Where ``url`` leads. Without a scheme https is meant."""
    try:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        netloc = parts.netloc.encode("ascii")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        path = target.encode("ascii")
    except ValueError:  # UnicodeEncodeError is one
        return Place(url, refused=f"{url} is no address")
    if parts.scheme not in ("http", "https", "ws", "wss") or not netloc or b"@" in netloc:
        return Place(url, refused=f"{url} is no address of a page: say https://HOST/PATH")
    host = table.host(netloc)
    if host is None:
        known = ", ".join(sorted({each.authority_text for each in table.hosts.values()}))
        return Place(parts.netloc, refused=f"there is no host {parts.netloc}; known: {known}")
    name = host.authority_text
    try:
        path, _ = host.spell(path)
    except ProtocolViolation as violation:
        return Place(name, refused=f"the door refuses {violation.reason}")
    text = path.decode("ascii")
    if host.home or is_reserved(path):
        if not host.home and not is_portal_path(path) and path not in (HEALTHZ, STATUS):
            return Place(name, text, refused=f"{text} is reserved for the broker")
        return Place(name, text, portal=True)
    route = host.route(path)
    if route is None:
        return Place(name, text, refused=f"no route of {name} leads to {text}")
    return Place(name, text, route.plan.prefix.decode("ascii"), route.plan.pool)
