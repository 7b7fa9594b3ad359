"""A poll of the waiting room over TLS, 80,000 employees waiting: CPU of the broker for each.

All have been met by the worker, as on any morning; each then polls once, a fifth of them in each
round, over kept connections that carry a different employee every time, so that nothing remembered
of a connection helps. Counted is the whole process tree: presence travels with the syncs. What
Redis spends on it meanwhile, and the commands it gets, are told beside it.
"""

from __future__ import annotations

import time

from redis import Redis

from broker.policy.standing import LONGEST_POLL
from loadtest.bench import behind, clients, crowd, machine
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.certificates import made
from loadtest.bench.peers.broker import BrokerPlan, RunningBroker, started

EMPLOYEES = 80_000
CONNECTIONS = 64


def run(bench: Bench) -> Alone:
    values = []
    with (
        behind.site(bench.folder, tls=made(bench.folder)) as site,
        started(bench.folder / "broker", site, BrokerPlan(seats=1)) as found,
    ):
        said = crowd.gather(found, EMPLOYEES)
        processes = machine.tree(found.target.pid)
        empty = machine.resident_kib(processes)
        ca = None if site.tls is None else site.tls.ca
        with clients.connections(
            found.target, clients.request(found.target, "/"), CONNECTIONS, expect=200, ca=ca
        ) as held:
            began = time.monotonic()
            _expect_waiting(crowd.poll_all(held, said), len(said))
            took = time.monotonic() - began
            grown = (machine.resident_kib(processes) - empty) / EMPLOYEES
            bench.say(
                f"  {EMPLOYEES} sessions and tickets met in {took:.0f} s, {grown:.2f} KiB for each"
            )
            time.sleep(LONGEST_POLL / 2 + 0.5)  # a second poll before that would be refused
            part = EMPLOYEES // ROUNDS
            for number in range(ROUNDS):
                some = said[number * part : (number + 1) * part]
                before, redis_before = machine.cpu_seconds(processes), _redis(found)
                _expect_waiting(crowd.poll_all(held, some), part)
                spent, redis = machine.cpu_seconds(processes) - before, _redis(found)
                values.append(spent / part * 1e6)
                bench.say(
                    f"  round {number + 1}/{ROUNDS}: {values[-1]:.1f} us, of Redis"
                    f" {(redis[0] - redis_before[0]) / part * 1e6:.1f} us and"
                    f" {(redis[1] - redis_before[1]) / part:.4f} commands"
                )
    return values


def _expect_waiting(waiting: int, polls: int) -> None:
    if waiting != polls:
        raise RuntimeError(f"only {waiting} of {polls} were told that they wait")


def _redis(found: RunningBroker) -> tuple[float, int]:
    """CPU seconds of Redis so far, and the scripts it was asked for."""
    with Redis(unix_socket_path=str(found.redis_socket)) as redis:
        cpu, commands = redis.info("cpu"), redis.info("commandstats")
    assert isinstance(cpu, dict)
    assert isinstance(commands, dict)
    names = ("cmdstat_evalsha", "cmdstat_eval")
    scripts = sum(commands.get(name, {}).get("calls", 0) for name in names)
    return cpu["used_cpu_sys"] + cpu["used_cpu_user"], scripts


CASE = Case(
    name="wait-poll",
    unit="us per poll",
    must=60.0,
    aim=45.0,
    run=run,
    order=15,
)
