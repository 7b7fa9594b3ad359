"""nginx, bare and with the broker's duties.

Buffers are nginx's own defaults, but nothing goes to temporary files: a proxy that streams is
compared with one that streams.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from loadtest.bench.peers.target import Target, program
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.bench.behind import Site

IDENTITY = ("X-Remote-User", "X-Remote-Groups", "X-Remote-Population", "X-Broker-Assertion")

CONFIGURATION = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 100000000; tcp_nodelay on; client_max_body_size 0;
  proxy_request_buffering off; proxy_max_temp_file_size 0;
  {http}
}}
"""

PROXY = """
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  upstream backend {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 100000000; }}
  upstream live {{ server 127.0.0.1:{live}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} {tls};
    location / {{
      {duties}
      proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
    location /live {{
      {duties}
      proxy_pass http://live; proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade; proxy_set_header Host $host;
      proxy_read_timeout 1h;
    }}
    {auth}
  }}
"""

TLS = """ssl; ssl_certificate {certificate}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m"""

LOG = """
  log_format json escape=json '{{"time":"$time_iso8601","address":"$remote_addr",'
    '"employee":"$x_remote_user","method":"$request_method","path":"$uri","status":$status,'
    '"bytes":$body_bytes_sent,"seconds":$request_time,"upstream":"$upstream_addr",'
    '"upstream_seconds":"$upstream_response_time","id":"$request_id"}}';
  access_log {folder}/access.log json buffer=64k flush=1s;
  limit_conn_zone $cookie_session zone=sessions:10m;
"""

DUTIES = """
      auth_request /auth; {taken}
      limit_conn sessions 16384; {passed}
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
"""

AUTH = """
    location = /auth {
      internal; proxy_pass http://backend; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }
"""


def configured(folder: Path, http: str) -> list[str]:
    """The command of an nginx with this ``http`` block. Raises Missing."""
    binary = program("nginx", "nginx")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "nginx.conf"
    text = CONFIGURATION.format(folder=folder, http=http, files=16384, connections=16384)
    configuration.write_text(text)
    return [binary, "-p", str(folder), "-c", str(configuration)]


@contextmanager
def nginx(folder: Path, site: Site) -> Iterator[Target]:
    with _proxy("nginx", folder, site, "access_log off;", "", "") as target:
        yield target


@contextmanager
def nginx_auth(folder: Path, site: Site) -> Iterator[Target]:
    variables = {name: "$" + name.lower().replace("-", "_") for name in IDENTITY}
    duties = DUTIES.format(
        taken=" ".join(
            f"auth_request_set {variable} $upstream_http_{variable[1:]};"
            for variable in variables.values()
        ),
        passed=" ".join(f"proxy_set_header {name} {value};" for name, value in variables.items()),
    )
    with _proxy("nginx-auth", folder, site, LOG.format(folder=folder), duties, AUTH) as target:
        yield target


@contextmanager
def _proxy(
    name: str, folder: Path, site: Site, log: str, duties: str, auth: str
) -> Iterator[Target]:
    port = free_port()
    tls = ""
    if site.tls is not None:
        tls = TLS.format(certificate=site.tls.public, key=site.tls.public_key)
    text = log + PROXY.format(
        port=port, backend=site.backend, live=site.live or site.backend, tls=tls, duties=duties,
        auth=auth,
    )  # fmt: skip
    with running(configured(folder, text), port, folder / "log") as process:
        yield Target(name, f"{site.scheme}://127.0.0.1:{port}", process.pid)
