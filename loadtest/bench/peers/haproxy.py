"""HAProxy, bare and with the broker's duties; one thread."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import jwt

from loadtest.bench.peers.target import Target, program
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.bench.behind import Site

SECRET = "a-key-of-the-benchmark-and-of-nothing-else"
PERSON = "anna.kowalska"

CONFIGURATION = """
global
  nbthread 1
  maxconn 8192
  {log_to}
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  timeout http-keep-alive 75s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}{tls}
  {duties}
  default_backend app
backend app
  server one 127.0.0.1:{backend}
"""

# Deny what has no valid signature, or is past its end, before the person counts for anything.
DUTIES = """
  log global
  log-format '{json}'
  option forwardfor
  unique-id-format %[uuid()]
  unique-id-header X-Request-Id
  stick-table type string len 64 size 200k expire 1h store conn_cur
  http-request set-var(txn.token) req.cook(session)
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_header_query('$.alg') -m str HS256 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("HS256","{secret}") 1 }}
  http-request set-var(txn.now) date
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.exp','int'),sub(txn.now) -m int gt 0 }}
  http-request set-var(txn.person) var(txn.token),jwt_payload_query('$.sub')
  http-request track-sc0 var(txn.person)
  http-request deny deny_status 429 if {{ sc0_conn_cur gt 4096 }}
  http-request set-header X-Remote-User %[var(txn.person)]
"""  # noqa: E501 - one directive is one line
JSON = (
    '{"time":"%tr","address":"%ci","employee":"%[var(txn.person)]","method":"%HM","path":"%HPO",'
    '"status":%ST,"bytes":%B,"ms":%Ta,"server":"%s","id":"%ID"}'
)


@contextmanager
def haproxy(folder: Path, site: Site) -> Iterator[Target]:
    with _haproxy("haproxy", folder, site, duties="", log_to="") as (url, pid):
        yield Target("haproxy", url, pid)


@contextmanager
def haproxy_jwt(folder: Path, site: Site) -> Iterator[Target]:
    duties = DUTIES.format(secret=SECRET, json=JSON)
    log_to = "log stdout format raw local0"
    with _haproxy("haproxy-jwt", folder, site, duties=duties, log_to=log_to) as (url, pid):
        yield Target("haproxy-jwt", url, pid, {"Cookie": f"theme=dark; session={_token()}"})


def _token() -> str:
    """A session such as the broker's: the same claims, about the same length."""
    now = int(time.time())
    claims = {
        "iss": "bench", "aud": "app.bench", "sub": PERSON, "sid": "0123456789abcdef" * 2,
        "pop": "sales", "iat": now, "exp": now + 3600, "born": now * 1000,
        "ends": (now + 43_200) * 1000, "grp": ["cn=sales,ou=groups,dc=intranet,dc=example"],
    }  # fmt: skip
    return jwt.encode(claims, SECRET, algorithm="HS256", headers={"kid": "01234567"})


@contextmanager
def _haproxy(
    name: str, folder: Path, site: Site, *, duties: str, log_to: str
) -> Iterator[tuple[str, int]]:
    binary = program("haproxy", "haproxy")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    tls = ""
    if site.tls is not None:
        pair = folder / "pair.pem"
        pair.write_bytes(site.tls.public.read_bytes() + site.tls.public_key.read_bytes())
        tls = f" ssl crt {pair} alpn http/1.1"
    configuration = folder / "haproxy.cfg"
    configuration.write_text(
        CONFIGURATION.format(port=port, backend=site.backend, tls=tls, duties=duties, log_to=log_to)
    )
    command = [binary, "-db", "-f", str(configuration)]
    with running(command, port, folder / "log") as process:
        yield f"{site.scheme}://127.0.0.1:{port}", process.pid
