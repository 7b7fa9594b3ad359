"""Step 4, route: from a host and a canonical path to a route, and what ``/.broker/`` means.

Look-ups cost the same with one route or with five hundred: a dictionary of prefixes, asked from the
longest possible one down, whole segments at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.gateway.paths import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.gateway.plan import GatewayPlan, HostPlan, RoutePlan
    from broker.gateway.pool import Pool
    from broker.site.admission import Cell

RESERVED: Final = b"/.broker"
HEALTHZ: Final = b"/.broker/healthz"
STATUS: Final = b"/.broker/wait/status"
ROOM: Final = b"/.broker/wait"
LOGOUT: Final = b"/.broker/logout"
PORTAL_PATHS: Final = frozenset(
    (ROOM, LOGOUT, b"/.broker/landing", b"/.broker/language", b"/.broker/jwks.json")
)
PORTAL_PREFIX: Final = b"/.broker/static/"
LONGEST_REMEMBERED: Final = 128
MOST_REMEMBERED: Final = 4096


class Route:
    """One route with its pool at hand."""

    __slots__ = ("activity", "body_limit", "cells", "encoded_slash", "origins", "plan", "pool")

    def __init__(
        self, plan: RoutePlan, pool: Pool, origin: bytes, cells: Mapping[str, Cell]
    ) -> None:
        self.plan = plan
        self.pool = pool
        self.cells = cells
        self.body_limit = plan.body_limit
        self.activity = plan.activity
        self.encoded_slash = plan.allow_encoded_slash
        self.origins = frozenset((origin, *plan.origins))


class Host:
    """One host: its routes, and the bytes that name it to backends and in decisions."""

    __slots__ = ("authority", "authority_text", "encoded_slash", "forwarded", "home", "name",
                 "only", "origin", "reached", "routes", "spellings")  # fmt: skip

    def __init__(
        self, plan: HostPlan, pools: Mapping[str, Pool], cells: Callable[[str], Mapping[str, Cell]]
    ) -> None:
        self.origin = plan.origin
        self.authority = plan.authority
        self.authority_text = plan.authority.decode("ascii")
        self.name = self.authority.partition(b":")[0]
        self.home = plan.home
        scheme = plan.origin.partition(b":")[0]
        self.forwarded = b"X-Forwarded-Proto: %b\r\nX-Forwarded-Host: %b\r\n" % (
            scheme, self.authority,
        )  # fmt: skip
        self.reached = b';host="%b";proto=%b\r\n' % (self.authority, scheme)  # RFC 7239 5.3, 5.4
        self.routes = {
            route.prefix.rstrip(b"/"): Route(
                route, pools[route.pool], plan.origin, cells(route.pool)
            )
            for route in plan.routes
        }
        self.only = self.routes[b""] if set(self.routes) == {b""} else None
        self.spellings: dict[bytes, tuple[bytes, bytes]] = {}
        self.encoded_slash = any(route.encoded_slash for route in self.routes.values())

    def spell(self, target: bytes) -> tuple[bytes, bytes]:
        """(path, whole target) in their one spelling; the targets asked for most are remembered.
        Raises ProtocolViolation."""
        spelling = canonical(target, encoded_slash=self.encoded_slash)
        if len(target) <= LONGEST_REMEMBERED:
            if len(self.spellings) >= MOST_REMEMBERED:
                self.spellings.clear()
            self.spellings[target] = spelling
        return spelling

    def route(self, path: bytes) -> Route | None:
        """The route with the longest prefix of whole segments."""
        routes = self.routes
        while path:
            found = routes.get(path)
            if found is not None:
                return found
            path = path[: path.rindex(b"/")]
        return routes.get(b"")


class RouteTable:
    """All hosts by what may stand in Host (the default port may be written out)."""

    def __init__(
        self,
        plan: GatewayPlan,
        pools: Mapping[str, Pool],
        cells: Callable[[str], Mapping[str, Cell]],
    ) -> None:
        """``cells``: the live mapping population -> Cell of a pool, by its name."""
        self.portal = pools[plan.portal]
        self.hosts: dict[bytes, Host] = {}
        for host_plan in plan.hosts:
            host = Host(host_plan, pools, cells)
            self.hosts[host.authority] = host
            scheme = host.origin.partition(b":")[0]
            if b":" not in host.authority:
                self.hosts[host.authority + (b":443" if scheme == b"https" else b":80")] = host

    def host(self, authority: bytes) -> Host | None:
        return self.hosts.get(authority) or self.hosts.get(authority.lower())


def is_reserved(path: bytes) -> bool:
    return path.startswith(RESERVED) and path[8:9] in (b"", b"/")


def is_portal_path(path: bytes) -> bool:
    """On an application host: whether the portal answers this reserved path."""
    return path in PORTAL_PATHS or path.startswith(PORTAL_PREFIX)
