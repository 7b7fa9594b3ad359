"""10,000 idle WebSockets: resident memory in the broker for each."""

from __future__ import annotations

from loadtest.bench import idle
from loadtest.bench.case import Alone, Bench, Case


def run(bench: Bench) -> Alone:
    return idle.resident(bench, websockets=True, tls=False)


CASE = Case(
    name="idle-10k-websockets",
    unit="KiB per connection",
    must=10.0,
    aim=5.0,
    run=run,
    order=8,
)
