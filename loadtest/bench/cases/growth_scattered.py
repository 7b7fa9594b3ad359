"""growth, with another of the 200,000 sessions in each request, whatever connection it comes on.

No browser does that, only a front proxy that mixes its clients; even there a page's requests come
together. It is the worst there is: nothing remembered of a connection helps, and none of the
processor's caches. There is no must for it; it shows what memory costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.bench.case import Alone, Bench, Case
from loadtest.bench.cases.growth import grown

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

SAMPLE = 20_000


def run(bench: Bench) -> Alone:
    return grown(bench, _strangers, 1)


def _strangers(
    chance: random.Random, cookies: Sequence[str], paths: Sequence[str]
) -> list[tuple[str, str]]:
    if len(cookies) < SAMPLE:  # all of them in turn, so that the small side remembers nothing too
        return [(path, cookie) for path in paths for cookie in cookies]
    return [(chance.choice(paths), chance.choice(cookies)) for _ in range(SAMPLE)]


CASE = Case(
    name="growth-scattered",
    unit="x the cost with 10 sessions and 1 route",
    must=None,
    aim=None,
    run=run,
    order=12,
    only_named=True,
)
