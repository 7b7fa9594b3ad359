"""What the gateway is told at its start and at each reload, as plain frozen values.

Made by ``wiring`` from the settings. Durations are seconds, sizes are bytes, an authority is what
stands in ``Host`` (``feed.example.com:8443``, lower case). Nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.policy.ejection import EjectionRule

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True, slots=True)
class DoorPlan:
    """Strictness of the public listener, the same for all hosts.

    ``body_minimum_rate`` is bytes per second, over each ``head_timeout``. ``discard_limit``: what
    is read and thrown away of a body nobody wants, so that its sender gets to see the answer.
    """

    head_timeout: float = 10.0
    keep_alive: float = 75.0
    head_limit: int = 32 * 1024
    header_count: int = 100
    request_line_limit: int = 8 * 1024
    body_minimum_rate: int = 1024
    connections_per_address: int = 4096
    stall_timeout: float = 60.0
    discard_limit: int = 256 * 1024
    discard_timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class DeadlinesPlan:
    """What may take how long towards one pool, in seconds."""

    dial: float = 5.0
    first_byte: float = 60.0
    between_bytes: float = 60.0
    tunnel_idle: float = 3600.0
    tunnel_max_age: float = 14_400.0


@dataclass(frozen=True, slots=True)
class HealthPlan:
    """An active check: GET ``path`` every ``every`` seconds; 2xx and 3xx are healthy."""

    path: str = "/healthz"
    every: float = 2.0
    timeout: float = 2.0
    healthy_after: int = 1
    unhealthy_after: int = 2


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """One server of a pool. ``path`` is a Unix socket; without it ``host`` and ``port`` count.
    ``secure``: its address says https; ``tls``: how it is spoken to then; ``server_name``: what
    its certificate must be made out to, its host unless it is said. ``weight``: its part of the
    load beside the others. ``most``: exchanges in flight to it from this worker; None: as many as
    the grant allows."""

    name: str
    host: str = ""
    port: int = 0
    path: str = ""
    secure: bool = False
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    weight: int = 1
    most: int | None = None

    @classmethod
    def parse(cls, address: str) -> ServerPlan:
        """``http[s]://HOST[:PORT]`` or ``unix:PATH``; ``tls`` is for the caller to add. Raises
        ValueError for anything else."""
        if address.startswith("unix:"):
            path = address.removeprefix("unix:").removeprefix("//")
            if not path.startswith("/"):
                raise ValueError(f"{address}: unix: wants an absolute path")
            return cls(address, path=path)
        parts = urlsplit(address)
        secure = parts.scheme == "https"
        if not (secure or parts.scheme == "http") or not parts.hostname or parts.path not in "/":
            raise ValueError(f"{address}: a server is http[s]://HOST:PORT or unix:PATH")
        port = parts.port or (443 if secure else 80)
        return cls(address, parts.hostname, port, secure=secure)

    @property
    def expected_name(self) -> str:
        """What its certificate is verified against. Never empty: that would ask for no name."""
        return self.server_name or self.host

    @property
    def authority(self) -> str:
        """For the Host of our own questions."""
        if not self.host:
            return "localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One application's servers. ``portal``: our own pages, which need no seat and no grant.
    ``queue_timeout``: how long a request may wait for a grant. ``idle_connections``: kept per
    server, for at most ``idle_timeout``. ``sticky``: a session stays with one server.
    ``forwarded``: whether its servers are sent Forwarded; ``via``: by which name we stand in their
    Via, empty for none. ``resolve_every``: how long the addresses of a server's name are taken for
    right."""

    name: str
    servers: tuple[ServerPlan, ...]
    deadlines: DeadlinesPlan = field(default_factory=DeadlinesPlan)
    health: HealthPlan | None = None
    ejection: EjectionRule = field(default_factory=EjectionRule)
    queue_timeout: float = 2.0
    portal: bool = False
    sticky: bool = False
    forwarded: bool = False
    via: bytes = b""
    resolve_every: float = 30.0
    idle_connections: int = 256
    idle_timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """Requests under ``prefix`` (whole segments, the longest wins) go to ``pool``.

    ``origins``: Origins besides the host's own that may open a WebSocket. ``activity``: whether a
    request here keeps the seat from being idle.
    """

    prefix: bytes
    pool: str
    origins: tuple[bytes, ...] = ()
    body_limit: int = 1024**3
    activity: bool = True
    allow_encoded_slash: bool = False


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host. ``origin`` (``https://feed.example.com``) is the only source of scheme and
    authority. The home host has no routes: all of it is the portal's."""

    origin: bytes
    routes: tuple[RoutePlan, ...] = ()
    home: bool = False

    @property
    def authority(self) -> bytes:
        return self.origin.partition(b"://")[2]


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """One public address. ``secure``: browsers reach it over TLS, ours or that of a terminator in
    front. ``hsts``: seconds for Strict-Transport-Security; 0 sends none. ``trusted_proxies``: peers
    that are believed when they say who their client is. ``proxy_protocol_from``: when not empty,
    the only peers, each of whose connections begins with the PROXY protocol."""

    name: str
    secure: bool = True
    hsts: int = 0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    proxy_protocol_from: tuple[IPv4Network | IPv6Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Look:
    """How the gateway's own pages look. Colours are ``#rrggbb``: the accent readable on a light and
    on a dark ground, the company's own and what is drawn on it. ``contact`` stands inside a
    sentence. ``language``: for browsers that ask for none we have."""

    company: str = "Remote access"
    contact: str = "your IT service desk"
    accent_light: str = "#2457c5"
    accent_dark: str = "#7c9ce2"
    brand: str = "#2457c5"
    on_brand: str = "#ffffff"
    language: str = "en"


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """Everything. ``hosts`` include home; ``portal`` names the portal's pool in ``pools``.
    ``inside``: networks from which no second factor is needed. ``look`` holds until a restart."""

    door: DoorPlan
    hosts: tuple[HostPlan, ...]
    pools: Mapping[str, PoolPlan]
    portal: str = "portal"
    inside: tuple[str, ...] = ()
    look: Look = Look()
