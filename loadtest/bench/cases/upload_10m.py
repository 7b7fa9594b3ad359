"""An upload of 10 MiB, streamed to a server that reads it all before it answers."""

from __future__ import annotations

from loadtest.bench import behind, wrk
from loadtest.bench.case import Bench, Case, Versus

SIZE = 10 * behind.MIB


def run(bench: Bench) -> Versus:
    with behind.site(bench.folder, live=True) as site:
        plan = wrk.Plan(path="/live", connections=8, upload=SIZE, per=SIZE / behind.MIB)
        return wrk.against(bench, ("broker", "nginx"), site, plan)


CASE = Case(
    name="upload-10m",
    unit="us per MiB",
    must={"nginx": 0.8},
    aim={"nginx": 0.5},
    run=run,
    order=5,
)
