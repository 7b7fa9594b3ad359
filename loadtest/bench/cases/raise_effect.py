"""A raise, from the accepted call: in force on the last worker of two hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.bench import raising
from loadtest.bench.case import Case

if TYPE_CHECKING:
    from loadtest.bench.case import Alone, Bench


def run(bench: Bench) -> Alone:
    return [raising.p99(raising.measure(bench).acknowledged)]


CASE = Case(
    name="raise-effect",
    unit="ms p99 until the last of 4 workers has acknowledged",
    must=1000,
    aim=300,
    run=run,
    order=20,
)
