"""A script of 64 KiB, as most requests of a page are for such things."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder) as site:
        plan = wrk.Plan(path="/files/asset.js")
        return wrk.against(bench, ("broker", "nginx", "nginx-auth", "haproxy"), site, plan)


CASE = Case(
    name="asset-64k",
    unit="us per request",
    must={"nginx-auth": 0.9},
    aim={"nginx-auth": 0.7},
    run=run,
    order=3,
)
