"""The peers: each started with one process or thread and the duties its name says.

nginx, haproxy, caddy, envoy and chp (configurable-http-proxy) are bare. nginx-auth asks an
authentication service for every request, counts connections per session, tells the backend who it
is in four headers as the broker does, and writes a JSON log. haproxy-jwt verifies a JWT in the
cookie, counts connections per person in a stick table, tells the backend who it is, and writes a
JSON log. aiohttp is the naive proxy one would write in an afternoon. A peer that is not installed
raises ``Missing``, which says how to get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.bench.peers.target import Missing, Target

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from loadtest.bench.behind import Site

    Starter = Callable[[Path, Site], AbstractContextManager[Target]]

__all__ = ("ALL", "PEERS", "Missing", "Target")


def _peers() -> dict[str, Starter]:
    from loadtest.bench.peers import bare, broker, haproxy, nginx

    return {
        "broker": broker.broker,
        "nginx": nginx.nginx,
        "nginx-auth": nginx.nginx_auth,
        "haproxy": haproxy.haproxy,
        "haproxy-jwt": haproxy.haproxy_jwt,
        "caddy": bare.caddy,
        "envoy": bare.envoy,
        "chp": bare.chp,
        "aiohttp": bare.aiohttp_proxy,
    }


PEERS = _peers()
ALL = tuple(PEERS)
