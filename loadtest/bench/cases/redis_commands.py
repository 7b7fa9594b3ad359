"""Commands that Redis carries out for a worker: as many at full request rate as at none, because
only syncs and batched touches go there.

Counted are the calls that arrive (what scripts call inside Redis is not a round trip), of the whole
site, as a multiple of the idle rate in the same repetition.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from redis import Redis

from loadtest.bench import behind, wrk
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.peers.broker import BrokerPlan, started

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = 4


def run(bench: Bench) -> Alone:
    values = []
    with (
        behind.site(bench.folder) as site,
        started(bench.folder / "broker", site, BrokerPlan()) as found,
    ):
        wrk.measure(found.target, wrk.Plan(), 1, bench.folder)
        for number in range(1, ROUNDS + 1):
            began, before = time.monotonic(), _calls(found.redis_socket)
            time.sleep(SECONDS)
            idle = (_calls(found.redis_socket) - before) / (time.monotonic() - began)
            began, before = time.monotonic(), _calls(found.redis_socket)
            sample = wrk.measure(found.target, wrk.Plan(), SECONDS, bench.folder)
            busy = (_calls(found.redis_socket) - before) / (time.monotonic() - began)
            values.append(busy / idle)
            bench.say(
                f"  round {number}/{ROUNDS}: {idle:.1f} commands/s idle, {busy:.1f} commands/s"
                f" at {sample.rps:.0f} requests/s"
            )
    return values


def _calls(socket: Path) -> int:
    """Calls so far that came from the broker's clients: scripts, pub/sub and pings."""
    with Redis(unix_socket_path=str(socket)) as redis:
        statistics = redis.info("commandstats")
    assert isinstance(statistics, dict)
    return sum(
        statistics[f"cmdstat_{name}"]["calls"]
        for name in ("evalsha", "eval", "subscribe", "ping")
        if f"cmdstat_{name}" in statistics
    )


CASE = Case(
    name="redis-commands",
    unit="x the commands per second at idle",
    must=1.2,
    aim=1.0,
    run=run,
    order=13,
)
