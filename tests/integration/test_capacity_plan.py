"""A step load on a real sample backend, through a real broker, with a bottleneck that is known: the
oracle lets requests take turns of 20 ms, so no more than 50 a second can ever pass. Turns and
delays are long against what a busy machine adds to them.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING

import aiohttp
import pytest

from broker.cli.main import main
from broker.scaling.answer import answer
from broker.scaling.measured import Step
from broker.scaling.words import about
from tests.support.running_broker import RunningBroker, running_broker
from tests.support.running_demo import CHECKOUT
from tests.support.step_loads import write_run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

TURN, DELAY, THINK = 0.020, 0.060, 0.060  # seconds
EMPLOYEES = (2, 3, 4, 5, 7, 9, 12, 16, 22, 32)
INTERVALS, SECONDS = 1, 3.0
ALONE = 0.25  # seconds of a request where nothing takes turns


@pytest.fixture
async def backend() -> AsyncIterator[str]:
    """The address of a feed server in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker.demo.apps", "feed",
        stdout=asyncio.subprocess.PIPE, cwd=CHECKOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        ready = (await process.stdout.readline()).decode().split()
        assert ready[0] == "READY"
        yield f"http://127.0.0.1:{ready[1]}"
    finally:
        process.terminate()
        await process.wait()


class Load:
    """Employees who ask for a page, think (exponentially) and ask again. ``exchanges``: (from, to)
    of each answer."""

    def __init__(self, broker: RunningBroker, headers: dict[str, str]) -> None:
        self._broker = broker
        self._headers = headers
        self._random = random.Random(1)
        self.exchanges: list[tuple[float, float]] = []

    async def step(self, employees: int, intervals: int, seconds: float) -> list[Step]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=self._headers) as session:
            everybody = [asyncio.create_task(self._work(session)) for _ in range(employees)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await asyncio.sleep(intervals * seconds)
            for each in everybody:
                each.cancel()
            done = await asyncio.gather(*everybody, return_exceptions=True)
            assert all(isinstance(each, asyncio.CancelledError) for each in done), done
        return [self._seen(began + number * seconds, seconds) for number in range(intervals)]

    async def _work(self, session: aiohttp.ClientSession) -> None:
        while True:
            began = time.monotonic()
            async with session.get(self._broker.url("/api/whoami")) as response:
                await response.read()
                assert response.status == 200
            self.exchanges.append((began, time.monotonic()))
            await asyncio.sleep(self._random.expovariate(1 / THINK))

    def _seen(self, start: float, seconds: float) -> Step:
        """What was in flight on average, and what ended, in one interval. What never ended is not
        counted as in flight: of hundreds of exchanges, one per employee in the last interval."""
        end = start + seconds
        inside = [(max(a, start), min(b, end)) for a, b in self.exchanges if b > start and a < end]
        ended = sorted(b - a for a, b in self.exchanges if start < b <= end)
        in_flight = sum(b - a for a, b in inside) / seconds
        return Step(seconds, in_flight, len(ended) / seconds, 0, ended[len(ended) // 2])


async def measured(
    backend: str, behaviour: dict[str, float], loads: tuple[int, ...] = EMPLOYEES
) -> list[Step]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{backend}/oracle", json={"mend": True, **behaviour}) as told,
    ):
        assert told.status == 200
    pools = {"feed": {"servers": [backend], "connections": {"limit": 200}}}
    with running_broker(pools) as broker:
        load = Load(broker, broker.headers("feed", await broker.cookie("feed", "anna.nowak")))
        return [
            step for employees in loads for step in await load.step(employees, INTERVALS, SECONDS)
        ]


async def test_a_known_bottleneck_is_found(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = await measured(backend, {"delay_seconds": DELAY, "turn_seconds": TURN})
    found = answer("feed", steps, base=2.0)
    assert found.answered, (found.refused, steps)
    assert found.fit is not None
    # What passes takes its turn: 50 a second, less what the turn's own timer is late.
    assert 37 < found.fit.law.ceiling() < 63
    # The line to the bottleneck is just full at (delay + turn) / turn = 4 in flight.
    full = (DELAY + TURN) / TURN
    assert full / 2 < found.fit.law.knee() < full * 2
    assert full / 2 < found.safe < full * 2
    assert "take turns at one thing" in " ".join(about(found, 6.0))
    run = write_run(tmp_path / "report.json", {"feed": steps})
    assert main(["capacity", "plan", "--from", str(run), "--base", "feed=2"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "feed breaks first" in said
    assert "For 6x (12 in flight) add servers" in said


async def test_without_the_bottleneck_there_is_no_answer(backend: str) -> None:
    """A server that takes no turns shows no saturation, and nothing is claimed."""
    steps = await measured(backend, {"delay_seconds": ALONE}, (6, 8, 11, 15, 20, 26))
    found = answer("feed", steps)
    assert not found.answered, steps
    assert "no saturation was seen" in found.refused[0]
