"""WebSocket messages of 128 bytes, there and back, on 64 tunnels."""

from __future__ import annotations

from contextlib import ExitStack

from loadtest.bench import behind, clients
from loadtest.bench.case import Bench, Case, Versus

TUNNELS = 64


def run(bench: Bench) -> Versus:
    with (
        behind.site(bench.folder, live=True) as site,
        bench.peers(("broker", "nginx"), site) as targets,
        ExitStack() as stack,
    ):
        held = {}
        for target in targets:
            said = clients.request(target, "/live", websocket=True)
            held[target.name] = stack.enter_context(
                clients.connections(target, said, TUNNELS, expect=101)
            )
        return bench.alternate(
            targets,
            lambda target, seconds: clients.echo(target, held[target.name], seconds),
        )


CASE = Case(
    name="ws-echo",
    unit="us per echo",
    must={"nginx": 1.2},
    aim={"nginx": 1.0},
    run=run,
    order=6,
)
