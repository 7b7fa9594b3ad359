"""What one waiting browser holds of the broker's memory: its session, its ticket, its own
connection over TLS, which it keeps between two polls. Told beside it: the CPU of its handshake."""

from __future__ import annotations

import time
from contextlib import ExitStack

from loadtest.bench import behind, clients, crowd, machine
from loadtest.bench.case import Alone, Bench, Case
from loadtest.bench.certificates import made
from loadtest.bench.idle import REPETITIONS, SETTLE, SPARE
from loadtest.bench.peers.broker import BrokerPlan, started

EMPLOYEES = 5_000
WARM_UP = 200


def run(bench: Bench) -> Alone:
    if machine.descriptors() < EMPLOYEES + SPARE:
        raise RuntimeError(f"this needs {EMPLOYEES + SPARE} descriptors (ulimit -n)")
    values = []
    with behind.site(bench.folder, tls=made(bench.folder)) as site:
        ca = None if site.tls is None else site.tls.ca
        for number in range(1, REPETITIONS + 1):
            with (
                started(bench.folder / f"broker-{number}", site, BrokerPlan(seats=1)) as found,
                ExitStack() as stack,
            ):
                said = crowd.gather(found, EMPLOYEES + WARM_UP)
                for each in said[:WARM_UP]:  # what is made once and kept is made by these
                    with clients.connections(found.target, each, 1, expect=200, ca=ca):
                        pass
                processes = machine.tree(found.target.pid)
                time.sleep(1.0)
                before, cpu = machine.resident_kib(processes), machine.cpu_seconds(processes)
                for each in said[WARM_UP:]:
                    stack.enter_context(
                        clients.connections(found.target, each, 1, expect=200, ca=ca)
                    )
                cpu = machine.cpu_seconds(processes) - cpu
                time.sleep(SETTLE)
                values.append((machine.resident_kib(processes) - before) / EMPLOYEES)
            bench.say(
                f"  repetition {number}/{REPETITIONS}: {values[-1]:.2f} KiB,"
                f" {cpu / EMPLOYEES * 1e6:.0f} us for handshake, session and first poll"
            )
    return values


CASE = Case(
    name="wait-memory",
    unit="KiB per waiting browser",
    must=None,
    aim=None,
    run=run,
    order=17,
)
