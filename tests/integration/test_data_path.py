"""How the processes of a whole broker run: workers compiled, and on processors of their own."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from broker.telemetry.control import ControlClient, control_path
from broker.wiring import compiled
from broker.wiring.processors import share
from tests.support.running_broker import running_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_broker import RunningBroker


POOLS = {"feed": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}}


@pytest.fixture(scope="module")
def broker() -> Iterator[RunningBroker]:
    with running_broker(POOLS, workers=1) as broker:
        yield broker


async def test_workers_run_what_was_compiled(broker: RunningBroker) -> None:
    if not compiled.build().exists():
        if os.environ.get("CI"):
            pytest.fail("the data path is not compiled: make compiled")
        pytest.skip("the data path is not compiled: make compiled")
    state = await ControlClient().state(control_path(broker.folder / "run", "worker-0"))
    assert state["compiled"] is True
    assert "the data path runs compiled" in broker.log()


async def test_a_lone_worker_has_a_processor_of_its_own(broker: RunningBroker) -> None:
    available = os.sched_getaffinity(0)
    if len(available) < 2:
        pytest.skip("one processor cannot be divided")
    supervisor = control_path(broker.folder / "run", "supervisor")
    async with asyncio.timeout(30.0):  # the broker is ready before its portal may be
        while True:
            children = (await ControlClient().state(supervisor))["children"]
            if all(child["ready"] for child in children):
                break
            await asyncio.sleep(0.05)
    of = {each["kind"]: os.sched_getaffinity(each["pid"]) for each in children}
    assert of["worker"] == share("worker", 1, available)
    assert of["portal"] == of["admin"] == available - of["worker"]
