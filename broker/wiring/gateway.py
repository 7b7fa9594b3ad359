"""From the configuration to the gateway's plan, and the TLS of its listeners."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING

from broker.errors import ConfigurationError
from broker.gateway.certificates import load_certified, server_context
from broker.gateway.plan import (
    DeadlinesPlan,
    DoorPlan,
    GatewayPlan,
    HealthPlan,
    HostPlan,
    ListenerPlan,
    Look,
    PoolPlan,
    RoutePlan,
    ServerPlan,
)
from broker.policy.ejection import EjectionRule
from broker.portal.palette import palette
from broker.wiring.admin_tls import admin_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from broker.gateway.certificates import Certified
    from broker.settings import Company, Health, Host, Listener, Pool, Route, Settings

PORTAL = "portal"


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
        inside=tuple(settings.second_factor.except_from),
        look=_look(settings.company),
    )


def _look(company: Company) -> Look:
    colours = palette(company.color)
    return Look(
        company=company.name,
        contact=company.contact,
        accent_light=colours["accent_light"],
        accent_dark=colours["accent_dark"],
        brand=colours["brand"],
        on_brand=colours["on_brand"],
        language=company.language,
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
        servers=server_plans(pool),
        resolve_every=pool.resolve_every,
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
        health=health_plan(health),
        ejection=EjectionRule(
            failures=ejection.failures,
            pause=ejection.pause,
            longest=ejection.longest,
            slow_start=ejection.slow_start,
        ),
        queue_timeout=pool.queue_timeout,
    )


def server_plans(pool: Pool) -> tuple[ServerPlan, ...]:
    """Raises ConfigurationError for files of TLS that cannot be used."""
    context = servers_context(pool)
    plans = []
    for server in pool.servers:
        plan = ServerPlan.parse(server.address)
        plans.append(
            replace(
                plan,
                tls=context if plan.secure else None,
                server_name=pool.tls.server_name or "",
                weight=server.weight,
                most=server.max_connections,
            )
        )
    return tuple(plans)


def health_plan(health: Health) -> HealthPlan:
    return HealthPlan(
        path=health.path,
        every=health.every,
        timeout=health.timeout,
        healthy_after=health.healthy_after,
        unhealthy_after=health.unhealthy_after,
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


def listener_certificates(listener: Listener) -> tuple[Certified, ...]:
    """What a listener shows, loaded; empty without TLS. Raises ConfigurationError."""
    if listener.tls is None:
        return ()
    return tuple(load_certified(each.certificate, each.key) for each in listener.tls.certificates)


def require_usable_certificates(settings: Settings) -> None:
    """Read every file of TLS as the workers will. Raises ConfigurationError with all faults."""
    faults: list[str] = []
    tries: list[Callable[[], object]] = [
        *(partial(listener_certificates, listener) for listener in settings.listeners),
        *(partial(servers_context, pool) for pool in settings.pools.values()),
    ]
    if settings.admin.tls is not None:
        tries.append(partial(admin_context, settings.admin.tls))
    for attempt in tries:
        try:
            attempt()
        except ConfigurationError as error:
            faults += error.faults
    if faults:
        raise ConfigurationError("certificates cannot be used", tuple(faults))


def servers_context(pool: Pool) -> ssl.SSLContext | None:
    """For the servers of a pool that speak TLS; None when none does. Raises ConfigurationError."""
    if not any(ServerPlan.parse(server.address).secure for server in pool.servers):
        return None
    tls = pool.tls
    return server_context(tls.ca, tls.minimum, tls.certificate, tls.key)
