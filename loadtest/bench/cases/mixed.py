"""Everything at once, in the load model's proportions, at 60 % of what the broker can carry: p99
beside that of nginx-auth at the same rate.

Per second, site at six times the crisis (``load model``): 157 page views in the peak minute, each
with 14 assets (15 requests with a warm cache); 41,000 seats of which a quarter hold 1.2 WebSockets
that say something every 20 s; and the 39,000 of 80,000 employees who have no seat poll the waiting
room every 20 s. Only the proportions are used: one worker is given what one worker can carry.

Arrivals are Poisson, sent when they are due whatever has become of those before, and latency counts
from then. Each asset is the script of 64 KiB. nginx-auth answers a poll like a page, with its
duties, from the server behind it; the broker asks its ledger.
"""

from __future__ import annotations

import random
from contextlib import ExitStack
from itertools import accumulate, cycle
from typing import TYPE_CHECKING

from loadtest.bench import behind, clients, drive, machine, sessions
from loadtest.bench.case import Bench, Case, Sample, Versus
from loadtest.bench.peers import PEERS, Missing, Target
from loadtest.bench.peers.broker import BrokerPlan, started

if TYPE_CHECKING:
    from collections.abc import Callable

PAGES = 157.0
ASSETS = 14 * PAGES
MESSAGES = 41_000 * 0.25 * 1.2 / 20
POLLS = 39_000 / 20
MIX = {"pages": PAGES, "assets": ASSETS, "live": MESSAGES, "polls": POLLS}

SHARE = 0.6
BROWSERS = 48  # connections for pages and assets together
POLLING = 48
TUNNELS = 500
SEATED = 64  # employees with a seat, one of whom the broker's own login is
WAITING = 20_000
SATURATION_EXCHANGES = 20_000
AT_ONCE = 48


def run(bench: Bench) -> Versus:
    drivers = {"broker": drive.Driver(), "nginx-auth": drive.Driver()}
    with behind.site(bench.folder, live=True) as site, ExitStack() as stack:
        for driver in drivers.values():
            stack.callback(driver.close)
        found = stack.enter_context(
            started(bench.folder / "broker", site, BrokerPlan(seats=SEATED))
        )
        seated = sessions.log_in(found, SEATED - 1, 1, seated=True)
        waiting = sessions.log_in(found, WAITING, 1, seated=False)
        polls = [
            clients.request(found.target, "/.broker/wait/status", cookie=each) for each in waiting
        ]
        _connect(stack, drivers["broker"], found.target, seated, polls)
        targets = [found.target]
        try:
            peer = stack.enter_context(PEERS["nginx-auth"](bench.folder / "nginx-auth", site))
        except Missing as reason:
            bench.missing.append(str(reason))
        else:
            targets.append(peer)
            _connect(stack, drivers[peer.name], peer, [""], [clients.request(peer, "/status")])
        bench.say(f"  {WAITING} employees poll for the first time ...")
        drivers["broker"].flat_out(("polls" for _ in waiting), AT_ONCE)
        chance = random.Random(1)
        flat = drivers["broker"].flat_out(
            chance.choices([*MIX], [*MIX.values()], k=SATURATION_EXCHANGES), AT_ONCE
        )
        rate = SHARE * SATURATION_EXCHANGES / flat.seconds
        bench.say(f"  saturated at {rate / SHARE:.0f} exchanges/s; all at {rate:.0f}/s from here")
        return bench.alternate(
            targets, lambda target, seconds: _round(drivers[target.name], target, rate, seconds)
        )


def _connect(
    stack: ExitStack, driver: drive.Driver, target: Target, cookies: list[str], polls: list[bytes]
) -> None:
    """The connections of everybody, on this target."""
    pages = [clients.request(target, "/", cookie=each) for each in cookies]
    assets = [clients.request(target, "/files/asset.js", cookie=each) for each in cookies]
    for name, said, count in (
        ("pages", pages, BROWSERS // 2),
        ("assets", assets, BROWSERS),
        ("polls", polls, POLLING),
    ):
        held = stack.enter_context(
            clients.connections(target, clients.request(target, "/"), count, expect=200)
        )
        driver.add(name, drive.Browsers(held, _in_turn(said)))
    tunnel = clients.request(target, "/live", websocket=True)
    held = stack.enter_context(clients.connections(target, tunnel, TUNNELS, expect=101))
    driver.add("live", drive.Live(held))


def _in_turn(said: list[bytes]) -> Callable[[], bytes]:
    turn = cycle(said)
    return lambda: next(turn)


def _round(driver: drive.Driver, target: Target, rate: float, seconds: int) -> Sample:
    chance = random.Random(seconds)
    count = int(rate * seconds)
    times = accumulate(chance.expovariate(rate) for _ in range(count))
    kinds = chance.choices([*MIX], [*MIX.values()], k=count)
    processes = machine.tree(target.pid)
    before = machine.cpu_seconds(processes)
    outcome = driver.at_rate(list(zip(times, kinds, strict=True)))
    spent = machine.cpu_seconds(processes) - before
    return Sample(
        cpu_us=spent / count * 1e6,
        rps=count / outcome.seconds,
        p50_ms=outcome.percentile(0.5),
        p99_ms=outcome.percentile(0.99),
    )


CASE = Case(
    name="mixed",
    unit="us per exchange",
    must={"nginx-auth": 2.0},
    aim={"nginx-auth": 1.2},
    run=run,
    metric="p99_ms",
    order=12,
)
