"""10,000 idle WebSockets over TLS: resident memory in the broker for each."""

from __future__ import annotations

from loadtest.bench import idle
from loadtest.bench.case import Alone, Bench, Case


def run(bench: Bench) -> Alone:
    return idle.resident(bench, websockets=True, tls=True)


CASE = Case(
    name="idle-10k-tls",
    unit="KiB per connection",
    must=32.0,
    aim=24.0,
    run=run,
    order=9,
)
