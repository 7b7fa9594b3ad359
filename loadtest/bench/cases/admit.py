"""Seats admitted through Redis: microseconds for each, when as many ask as can (333 are 3,000/s).

What is driven is what a worker has: its admissions on a real Redis, whose script takes, keeps or
claims a seat for all who ask at the same time. Half of the employees find a free seat. The other
half wait until the limit is raised and come through the queue: each is called and claims. Wall time
with Redis and one client on the machine; the CPU of Redis for each is told beside it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from redis import Redis

from broker.ledger.redis_ledger import RedisLedger
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PopulationLimits
from broker.site.claims import Admissions
from loadtest.bench.case import ROUNDS, Alone, Bench, Case
from loadtest.bench.peers.broker import SITE, redis_server

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

EMPLOYEES = 10_000  # in each round
AT_ONCE = 256  # who ask at the same time
POPULATIONS = ("managers", "sales", "everyone")


def run(bench: Bench) -> Alone:
    values = []
    with redis_server(bench.folder):
        socket = bench.folder / "redis.sock"
        for number in range(1, ROUNDS + 1):
            spent, cpu = asyncio.run(_round(socket, number))
            values.append(spent / EMPLOYEES * 1e6)
            bench.say(
                f"  round {number}/{ROUNDS}: {values[-1]:.0f} us, {EMPLOYEES / spent:.0f}/s,"
                f" {cpu / EMPLOYEES * 1e6:.0f} us of Redis' CPU"
            )
    return values


async def _round(socket: Path, number: int) -> tuple[float, float]:
    """Wall seconds, and CPU seconds of Redis, that were spent on admitting."""
    ledger = await RedisLedger.connect(f"unix://{socket}", f"{SITE}-{number}", 10.0)
    try:
        half = EMPLOYEES // 2
        people = [(f"employee.{n:06d}", POPULATIONS[n % 3]) for n in range(EMPLOYEES)]
        await ledger.publish(_limits(half), if_match=0, first_start=True)
        admissions = Admissions(ledger)
        before, began = _cpu(socket), time.perf_counter()
        await _expect(admissions, people[:half], "seated")
        took, cpu = time.perf_counter() - began, _cpu(socket) - before
        await _expect(admissions, people[half:], "waiting")
        before, began = _cpu(socket), time.perf_counter()
        await ledger.publish(_limits(EMPLOYEES), if_match=1)
        await _expect(admissions, people[half:], "seated")
        return took + time.perf_counter() - began, cpu + _cpu(socket) - before
    finally:
        await ledger.close()


async def _expect(admissions: Admissions, people: Sequence[tuple[str, str]], state: str) -> None:
    """All of them ask, ``AT_ONCE`` at a time, and are answered alike."""
    coming = iter(people)

    async def ask() -> None:
        for employee, population in coming:
            answer = await admissions.admit(employee, population)
            if answer.state != state:
                raise RuntimeError(f"{employee} is {answer.state}, not {state}")

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(ask())


def _limits(seats: int) -> LimitsDocument:
    populations = {
        name: PopulationLimits(admitted=True, seats_maximum=seats, weight=weight)
        for weight, name in enumerate(POPULATIONS, 1)
    }
    return LimitsDocument(0, "bench", 1.0, seats, 0, populations, {})


def _cpu(socket: Path) -> float:
    with Redis(unix_socket_path=str(socket)) as redis:
        used = redis.info("cpu")
    assert isinstance(used, dict)
    return float(used["used_cpu_sys"] + used["used_cpu_user"])


CASE = Case(
    name="admit",
    unit="us per admission",
    must=333.0,
    aim=150.0,
    run=run,
    order=16,
)
