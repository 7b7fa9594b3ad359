"""A raise, from the accepted call: the first employee who waited has a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.bench import raising
from loadtest.bench.case import Case

if TYPE_CHECKING:
    from loadtest.bench.case import Alone, Bench


def run(bench: Bench) -> Alone:
    return [raising.p99(raising.measure(bench).let_in)]


CASE = Case(
    name="raise-admits",
    unit="ms p99 until who waited first is let in",
    must=1000,
    aim=300,
    run=run,
    order=21,
)
