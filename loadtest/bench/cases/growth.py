"""page-1k with 200,000 sessions in the worker's memory and 500 routes, as a multiple of its cost
with 10 sessions and one route.

The load is page-1k's on both sides: 32 connections, each of one browser, two to a browser. Which
browsers these are is drawn anew from all of them for each round, and so is the route of each
request. ``growth-scattered`` has the same brokers asked as nobody asks them.
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
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from loadtest.bench.peers import Target

    Draw = Callable[[random.Random, Sequence[str], Sequence[str]], list[tuple[str, str]]]
    """From sessions and paths what each of THREADS threads asks for, one after the other."""

ROUTES = 500
EMPLOYEES = 20_000
BROWSERS = 10
THREADS = 16
PAGES = 64  # of one browser, again and again

# One line of the file is a path, a tab and a Cookie field; thread by thread, SHARE lines each.
SCRIPT = """
local threads = 0
function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end
local prepared, at, line_number = {}, 0, 0
function init(args)
  for line in io.lines("FILE") do
    if math.floor(line_number / SHARE) == number then
      local path, cookie = line:match("^(.-)\\t(.*)$")
      wrk.headers["Cookie"] = cookie
      prepared[#prepared + 1] = wrk.format("GET", path)
    end
    line_number = line_number + 1
  end
end
function request()
  at = at % #prepared + 1
  return prepared[at]
end
"""


def run(bench: Bench) -> Alone:
    return grown(bench, _browsers, THREADS)


def _browsers(
    chance: random.Random, cookies: Sequence[str], paths: Sequence[str]
) -> list[tuple[str, str]]:
    """Each thread is one browser and clicks through the pages."""
    return [
        (chance.choice(paths), cookie)
        for cookie in (chance.choice(cookies) for _ in range(THREADS))
        for _ in range(PAGES)
    ]


def grown(bench: Bench, draw: Draw, threads: int) -> Alone:
    """A small broker and a large one in alternating rounds: what the large one costs, as a
    multiple."""
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
        asked = {"broker": (few, paths[:1]), "large": (many, paths)}
        targets = [small.target, replace(large.target, name="large")]
        rounds = bench.alternate(
            targets,
            lambda target, seconds: wrk.measure(
                target,
                _plan(bench.folder / "asked", draw(chance, *asked[target.name]), threads),
                seconds,
                bench.folder,
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


def _plan(file: Path, asked: list[tuple[str, str]], threads: int) -> wrk.Plan:
    file.write_text("".join(f"{path}\t{cookie}\n" for path, cookie in asked))
    script = SCRIPT.replace("FILE", str(file)).replace("SHARE", str(len(asked) // threads))
    return wrk.Plan(script=script, threads=threads)


CASE = Case(
    name="growth",
    unit="x the cost with 10 sessions and 1 route",
    must=1.1,
    aim=1.0,
    run=run,
    order=11,
)
