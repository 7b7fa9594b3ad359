"""The same page over TLS 1.3, keep-alive: what the broker's own TLS costs."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus
from loadtest.bench.certificates import made


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder, tls=made(bench.folder)) as site:
        return wrk.against(bench, ("broker", "nginx", "nginx-auth"), site, wrk.Plan())


CASE = Case(
    name="page-1k-tls",
    unit="us per request",
    must={"nginx-auth": 1.6},
    aim={"nginx-auth": 1.2},
    run=run,
    order=2,
)
