"""What stands behind all proxies: an nginx that answers pages and files, and beside it a small
server of our own for WebSockets and uploads, which nginx cannot answer by itself."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.bench.peers.nginx import configured
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broker.demo.certificates import Certificates

KIB = 1024
MIB = 1024 * KIB
PAGE = 1 * KIB
ASSET = 64 * KIB
DOWNLOAD = 10 * MIB

# What the authentication service of nginx-auth answers, as the broker tells its backends.
IDENTITY = {
    "X-Remote-User": "anna.kowalska",
    "X-Remote-Groups": "cn=sales,ou=groups,dc=intranet,dc=example",
    "X-Remote-Population": "sales",
    "X-Broker-Assertion": "eyJhbGciOiJFUzI1NiJ9." + "0123456789abcdef" * 24,
}

NGINX = """
  access_log off; sendfile on; open_file_cache max=16; etag on;
  server {{
    listen 127.0.0.1:{port} reuseport;
    location / {{ default_type text/html; return 200 "{page}"; }}
    location /files/ {{ alias {folder}/files/; default_type application/javascript; }}
    location = /status {{ default_type application/json; return 200 '{status}'; }}
    location = /auth {{ {identity} return 204; }}
  }}
"""
STATUS = (
    '{"state":"waiting","position":1234,"estimate_seconds":{"p50":60,"p90":90},"poll_seconds":5}'
)


@dataclass(frozen=True, slots=True)
class Site:
    """Ports on loopback: ``backend`` (pages under ``/``, files under ``/files/``, ``/auth``) and,
    if not None, ``live`` (WebSockets and uploads under ``/live``). ``tls``: listeners speak TLS
    with this certificate."""

    backend: int
    live: int | None = None
    tls: Certificates | None = None

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"


@contextmanager
def site(folder: Path, *, live: bool = False, tls: Certificates | None = None) -> Iterator[Site]:
    """Both servers, running in processes of their own."""
    folder = folder / "behind"
    files = folder / "files"
    files.mkdir(parents=True)
    (files / "asset.js").write_bytes(b"/* asset */ " * (ASSET // 12) + b" " * (ASSET % 12))
    (files / "download.bin").write_bytes(b"0123456789abcdef" * (DOWNLOAD // 16))
    page = ("<p>remote access</p>" * (PAGE // 20 + 1))[:PAGE]
    identity = " ".join(f'add_header {name} "{value}";' for name, value in IDENTITY.items())
    port, live_port = free_port(), free_port()
    text = NGINX.format(port=port, page=page, identity=identity, folder=folder, status=STATUS)
    with running(configured(folder, text), port, folder / "log"):
        if not live:
            yield Site(port, None, tls)
            return
        command = [sys.executable, "-m", "loadtest.bench.live", str(live_port)]
        with running(command, live_port, folder / "live.log"):
            yield Site(port, live_port, tls)
