"""What ten thousand connections that do nothing hold of the broker's memory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.bench import behind, clients, machine
from loadtest.bench.certificates import made
from loadtest.bench.peers import broker

if TYPE_CHECKING:
    from loadtest.bench.case import Bench
    from loadtest.bench.peers import Target

CONNECTIONS = 10_000
REPETITIONS = 3
SETTLE = 4.0
"""Seconds until memory is read: idle connections give up what they remember after 2."""
SPARE = 500
"""Descriptors a worker needs besides."""


def resident(bench: Bench, *, websockets: bool, tls: bool = False) -> list[float]:
    """KiB per connection, once for each repetition, each with a fresh broker: memory that was used
    once stays with a process, so a second crowd on the same one would seem free.

    Where a process may not have the descriptors for all of them, two workers share them.
    """
    needed = CONNECTIONS * (2 if websockets else 1) + SPARE
    workers = 1 if machine.descriptors() >= needed else 2
    values = []
    files = made(bench.folder) if tls else None
    with behind.site(bench.folder, live=websockets, tls=files) as site:
        for number in range(1, REPETITIONS + 1):
            folder = bench.folder / f"broker-{number}"
            with broker.started(folder, site, broker.BrokerPlan(workers=workers)) as found:
                values.append(_grown(found.target, websockets, site) / CONNECTIONS)
            bench.say(f"  repetition {number}/{REPETITIONS}: {values[-1]:.2f} KiB")
    return values


def _grown(target: Target, websockets: bool, site: behind.Site) -> float:
    ca = None if site.tls is None else site.tls.ca
    said = clients.request(target, "/live" if websockets else "/", websocket=websockets)
    expect = 101 if websockets else 200
    with clients.connections(target, said, 200, expect=expect, ca=ca):
        pass  # what is made once and kept is made by these
    processes = machine.tree(target.pid)
    time.sleep(1.0)
    before = machine.resident_kib(processes)
    with clients.connections(target, said, CONNECTIONS, expect=expect, ca=ca):
        time.sleep(SETTLE)
        return machine.resident_kib(processes) - before
