"""What a storm of logins does to everybody else: p99 of pages of 1 KiB at a given rate, as a
multiple of the same without logins in the same repetition.

The logins come from a process of their own at 60 a second, which is what has to be borne; it gives
way to all others, for browsers are no part of the broker's machine. Pages are asked for in an open
loop by this one, as many as in the load model's peak minute: 157 views of 15 requests a second.

The broker divides the processors itself (``broker.wiring.processors``). What is no part of its
machine either would be measured in its place if the scheduler put it anywhere: so whatever takes
part in pages, these browsers and the application, stays with the worker, and whatever takes part in
logins, the directory, Redis and those who log in, with the portal; with and without logins alike.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import contextmanager
from itertools import accumulate
from typing import TYPE_CHECKING

from broker.wiring.processors import share
from loadtest.bench import behind, clients, drive, logins, machine
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.peers.broker import started

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 157.0 * 15
SECONDS = 4.0
BROWSERS = 32
STORM = 60.0  # logins a second


def run(bench: Bench) -> Alone:
    values = []
    driver = drive.Driver()
    with (
        behind.site(bench.folder) as site,
        logins.openldap(bench.folder) as plan,
        started(bench.folder / "broker", site, plan) as found,
        _placed(found.target.pid) as beside_portal,
    ):
        page = clients.request(found.target, "/")
        with clients.connections(found.target, page, BROWSERS, expect=200) as held:
            driver.add("pages", drive.Browsers(held, lambda: page))
            for number in range(1, ROUNDS + 1):
                idle = _p99(driver, number)
                storm = subprocess.Popen(
                    ["nice", "-n", "19", sys.executable, "-m", "loadtest.bench.logins",
                     str(found.port), str(SECONDS + 2), str(STORM), *logins.names()],
                    stdout=subprocess.PIPE,
                    text=True,
                )  # fmt: skip
                machine.place([storm.pid], beside_portal)
                try:
                    busy = _p99(driver, number)
                    told, _ = storm.communicate(timeout=30)
                finally:
                    storm.kill()
                    storm.wait()
                bench.say(
                    f"  round {number}/{ROUNDS}: p99 {idle:.2f} ms idle, {busy:.2f} ms at "
                    f"{float(told):.0f} logins/s"
                )
                values.append(busy / idle)
        driver.close()
    return values


@contextmanager
def _placed(broker: int) -> Iterator[set[int]]:
    """Everything but the broker is where its part of the work is; the processors of logins."""
    before = os.sched_getaffinity(0)
    of_pages, of_logins = (share(kind, 1, before) for kind in ("worker", "portal"))
    own = os.getpid()
    around = set(machine.tree(own)) - set(machine.tree(broker))
    pages = {pid for pid in around if pid == own or machine.name(pid) == "nginx"}
    machine.place(pages, of_pages)
    machine.place(around - pages, of_logins)
    try:
        yield of_logins
    finally:
        machine.place([own], before)


def _p99(driver: drive.Driver, seed: int) -> float:
    chance = random.Random(seed)
    count = int(RATE * SECONDS)
    times = accumulate(chance.expovariate(RATE) for _ in range(count))
    return driver.at_rate([(at, "pages") for at in times]).percentile(0.99)


CASE = Case(
    name="login-neighbours",
    unit="x the p99 of pages without logins",
    must=1.5,
    aim=1.0,
    run=run,
    order=15,
)
