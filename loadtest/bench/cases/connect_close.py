"""A new connection for each request: accepting, and forgetting."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder) as site:
        plan = wrk.Plan(close=True)
        return wrk.against(bench, ("broker", "nginx", "nginx-auth"), site, plan)


CASE = Case(
    name="connect-close",
    unit="us per request",
    must={"nginx-auth": 1.5},
    aim={"nginx-auth": 1.2},
    run=run,
    order=10,
)
