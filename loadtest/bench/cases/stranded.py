"""Connections that stand unused while somebody waits for one elsewhere, as a part of the limit: one
worker or a few want all of it; limits of 50 for each cell of each worker.

The worst of several kinds of skew counts. What is above the limit in any of them is a failure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.bench import skew
from loadtest.bench.case import Case
from loadtest.bench.peers.broker import redis_server
from loadtest.bench.skew import Demand

if TYPE_CHECKING:
    from loadtest.bench.case import Alone, Bench

SECONDS = 4.0  # of virtual time
SEEDS = 3
SKEWS = {
    "one cell of one worker of 4": Demand(workers=4),
    "one cell of one worker of 8": Demand(workers=8),
    "three cells of two workers of 4": Demand(workers=4, hot_cells=3, hot_workers=2),
    "a crowd that moves on every 2 s": Demand(workers=4, moves_every=2.0),
}


def run(bench: Bench) -> Alone:
    values = []
    with redis_server(bench.folder):
        socket = bench.folder / "redis.sock"
        for seed in range(1, SEEDS + 1):
            worst = 0.0
            for number, (name, demand) in enumerate(SKEWS.items()):
                site = f"skew-{seed}-{number}"
                found = skew.measure(socket, site, demand, seconds=SECONDS, seed=seed)
                if found.above:
                    raise RuntimeError(f"{name}: {found.above} above the limit of {demand.limit}")
                bench.say(
                    f"  {seed}/{SEEDS} {name}: {100 * found.unused:.2f} % of {demand.limit} unused"
                )
                worst = max(worst, found.unused)
            values.append(100 * worst)
    return values


CASE = Case(
    name="stranded",
    unit="% of the limit unused while somebody waits",
    must=2.0,
    aim=1.0,
    run=run,
    order=17,
)
