"""From the configuration to the gateway's plan, and the TLS of its listeners."""

from __future__ import annotations

import ssl
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from broker.gateway.plan import (
    DeadlinesPlan,
    DoorPlan,
    GatewayPlan,
    HealthPlan,
    HostPlan,
    ListenerPlan,
    PoolPlan,
    RoutePlan,
    ServerPlan,
)
from broker.policy.ejection import EjectionRule

if TYPE_CHECKING:
    from pathlib import Path

    from broker.settings import Host, Listener, Pool, Route, Settings, Tls

PORTAL = "portal"
_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def portal_socket(run_dir: Path) -> str:
    """Where the portal listens: a Unix socket that only the broker's user may open."""
    return f"unix:{run_dir / 'portal.sock'}"


def gateway_plan(settings: Settings) -> GatewayPlan:
    door = settings.door
    pools = {name: _pool(name, pool) for name, pool in settings.pools.items()}
    pools[PORTAL] = PoolPlan(
        PORTAL, (ServerPlan.parse(portal_socket(settings.run_dir)),), portal=True
    )
    return GatewayPlan(
        door=DoorPlan(
            head_timeout=door.head_timeout,
            keep_alive=door.keep_alive,
            head_limit=door.head_limit,
            header_count=door.header_count,
            request_line_limit=door.request_line_limit,
            body_minimum_rate=door.body_minimum_rate,
            connections_per_address=door.connections_per_address,
        ),
        hosts=(
            HostPlan(settings.home.encode("ascii"), home=True),
            *(_host(host) for host in settings.hosts),
        ),
        pools=pools,
        portal=PORTAL,
    )


def _host(host: Host) -> HostPlan:
    return HostPlan(host.origin.encode("ascii"), tuple(_route(route) for route in host.routes))


def _route(route: Route) -> RoutePlan:
    return RoutePlan(
        prefix=route.path.encode("ascii"),
        pool=route.pool,
        origins=tuple(origin.encode("ascii") for origin in route.origins),
        body_limit=route.body_limit,
        activity=route.activity,
        allow_encoded_slash=route.allow_encoded_slash,
    )


def _pool(name: str, pool: Pool) -> PoolPlan:
    deadlines, health, ejection = pool.deadlines, pool.health, pool.ejection
    return PoolPlan(
        name=name,
        servers=tuple(
            replace(
                ServerPlan.parse(server.address),
                weight=server.weight,
                most=server.max_connections,
            )
            for server in pool.servers
        ),
        sticky=pool.sticky,
        forwarded=pool.forwarded,
        via=(pool.via or "").encode("ascii"),
        deadlines=DeadlinesPlan(
            dial=deadlines.dial,
            first_byte=deadlines.first_byte,
            between_bytes=deadlines.between_bytes,
            tunnel_idle=deadlines.tunnel_idle,
            tunnel_max_age=deadlines.tunnel_max_age,
        ),
        health=HealthPlan(
            path=health.path,
            every=health.every,
            timeout=health.timeout,
            healthy_after=health.healthy_after,
            unhealthy_after=health.unhealthy_after,
        ),
        ejection=EjectionRule(
            failures=ejection.failures,
            pause=ejection.pause,
            longest=ejection.longest,
            slow_start=ejection.slow_start,
        ),
        queue_timeout=pool.queue_timeout,
    )


def listener_plan(listener: Listener) -> ListenerPlan:
    hsts = int(listener.tls.hsts) if listener.tls else 0
    trusted = tuple(ip_network(each) for each in listener.trusted_proxies)
    spoken = listener.proxy_protocol
    return ListenerPlan(
        listener.address,
        secure=True,
        hsts=hsts,
        trusted_proxies=trusted,
        proxy_protocol_from=tuple(ip_network(each) for each in spoken.senders) if spoken else (),
    )


def tls_context(tls: Tls) -> ssl.SSLContext:
    """A server context that answers each name with its own certificate (SNI); the first by default.

    Raises ssl.SSLError or OSError for a certificate that cannot be read; ``broker check`` says so
    beforehand.
    """
    contexts = [_context(tls, number) for number in range(len(tls.certificates))]
    if len(contexts) > 1:
        _choose_by_name(tls, contexts)
    return contexts[0]


def _context(tls: Tls, number: int) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _TLS_VERSIONS[tls.minimum]
    context.set_alpn_protocols(["http/1.1"])
    pair = tls.certificates[number]
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def _choose_by_name(tls: Tls, contexts: list[ssl.SSLContext]) -> None:
    by_name: dict[str, ssl.SSLContext] = {}
    for pair, context in zip(tls.certificates, contexts, strict=True):
        for name in certificate_names(pair.certificate):
            by_name.setdefault(name, context)

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name is None:
            return
        wildcard = "*." + name.partition(".")[2]
        found = by_name.get(name.lower()) or by_name.get(wildcard.lower())
        if found is not None:
            connection.context = found

    contexts[0].sni_callback = choose


def certificate_names(path: Path) -> list[str]:
    """The DNS names of the leaf in a PEM chain (subjectAltName, RFC 6125), lower case."""
    from cryptography import x509

    leaf = x509.load_pem_x509_certificates(path.read_bytes())[0]
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in names.get_values_for_type(x509.DNSName)]
