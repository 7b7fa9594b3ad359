"""A page of 1 KiB for somebody who is logged in: the hot path, against everybody."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus
from loadtest.bench.peers import ALL


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder) as site:
        return wrk.against(bench, ALL, site, wrk.Plan())


CASE = Case(
    name="page-1k",
    unit="us per request",
    must={
        "nginx-auth": 1.3,
        "haproxy-jwt": 1.2,
        "envoy": 0.85,
        "caddy": 0.5,
        "chp": 0.25,
        "aiohttp": 0.35,
    },
    aim={"nginx-auth": 0.95},
    run=run,
    order=1,
)
