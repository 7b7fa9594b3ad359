"""A download of 10 MiB: what a byte costs."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder) as site:
        plan = wrk.Plan(path="/files/download.bin", connections=8, per=behind.DOWNLOAD / behind.MIB)
        return wrk.against(bench, ("broker", "nginx"), site, plan)


CASE = Case(
    name="download-10m",
    unit="us per MiB",
    must={"nginx": 0.8},
    aim={"nginx": 0.5},
    run=run,
    order=4,
)
