"""10,000 idle keep-alive connections: resident memory in the broker for each."""

from __future__ import annotations

from loadtest.bench import idle
from loadtest.bench.case import Alone, Bench, Case


def run(bench: Bench) -> Alone:
    return idle.resident(bench, websockets=False, tls=False)


CASE = Case(
    name="idle-10k-keepalive",
    unit="KiB per connection",
    must=6.0,
    aim=3.0,
    run=run,
    order=7,
)
