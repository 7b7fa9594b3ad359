"""page-1k with 200,000 sessions in the worker's memory and 500 routes, as a multiple of its cost
with 10 sessions and one route.

Both sides ask in turn for one session after another, so that none of what is remembered of the last
request of a connection helps, and with many sessions none of the processor's caches does.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

from loadtest.bench import behind, clients, drive, sessions, wrk
from loadtest.bench.case import Alone, Bench, Case
from loadtest.bench.peers.broker import BrokerPlan, started

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.bench.peers import Target

ROUTES = 500
EMPLOYEES = 20_000
BROWSERS = 10
SAMPLE = 20_000

# One line of the file is a path, a tab and a Cookie field.
SCRIPT = """
local prepared, at = {}, 0
init = function(args)
  for line in io.lines("FILE") do
    local path, cookie = line:match("^(.-)\\t(.*)$")
    wrk.headers["Cookie"] = cookie
    prepared[#prepared + 1] = wrk.format("GET", path)
  end
end
request = function()
  at = at % #prepared + 1
  return prepared[at]
end
"""


def run(bench: Bench) -> Alone:
    chance = random.Random(1)
    with behind.site(bench.folder) as site, ExitStack() as stack:
        small = stack.enter_context(started(bench.folder / "small", site, BrokerPlan()))
        large = stack.enter_context(
            started(bench.folder / "large", site, BrokerPlan(routes=ROUTES))
        )
        few = sessions.log_in(small, 1, BROWSERS, seated=True)
        many = sessions.log_in(large, EMPLOYEES, BROWSERS, seated=True)
        _meet(small.target, few)
        bench.say(f"  making {len(many)} sessions known to the worker ...")
        _meet(large.target, many)
        paths = ["/", *(f"/part-{number}" for number in range(ROUTES - 1))]
        scripts = {
            small.target.name: _script(bench.folder / "few", [("/", each) for each in few]),
            "large": _script(
                bench.folder / "many",
                [(chance.choice(paths), chance.choice(many)) for _ in range(SAMPLE)],
            ),
        }
        targets = [small.target, replace(large.target, name="large")]
        rounds = bench.alternate(
            targets,
            lambda target, seconds: wrk.measure(
                target, wrk.Plan(script=scripts[target.name]), seconds, bench.folder
            ),
        )
    pairs = zip(rounds["large"], rounds["broker"], strict=True)
    return [with_many.cpu_us / with_few.cpu_us for with_many, with_few in pairs]


def _meet(target: Target, cookies: list[str]) -> None:
    """Each session asks once: the worker reads its record and remembers it."""
    pages = cycle(clients.request(target, "/", cookie=cookie) for cookie in cookies)
    first = clients.request(target, "/")
    with clients.connections(target, first, 32, expect=200) as held:
        driver = drive.Driver()
        driver.add("browsers", drive.Browsers(held, lambda: next(pages)))
        driver.flat_out(("browsers" for _ in cookies), 32).percentile(0.999)
        driver.close()


def _script(file: Path, asked: list[tuple[str, str]]) -> str:
    file.write_text("".join(f"{path}\t{cookie}\n" for path, cookie in asked))
    return SCRIPT.replace("FILE", str(file))


CASE = Case(
    name="growth",
    unit="x the cost with 10 sessions and 1 route",
    must=1.1,
    aim=1.0,
    run=run,
    order=11,
)
