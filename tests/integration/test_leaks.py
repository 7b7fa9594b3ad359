"""Ten thousand exchanges that end in every way and at any moment, through a real worker: afterwards
nothing of them is left, and nobody ever got somebody else's bytes."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import uvloop

from broker.telemetry.control import ControlClient, control_path
from tests.support.nonces import PATIENCE, Server, Visitor
from tests.support.running_broker import RunningBroker, running_broker

if TYPE_CHECKING:
    from collections.abc import Mapping

EXCHANGES = 10_000
AT_ONCE = 48
PEOPLE = 12
BUSY = ("browsers", "exchanges", "tunnels", "held", "streams")


def files_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def at_rest(
    broker: RunningBroker, pid: int, base: Mapping[str, int] | None
) -> dict[str, int]:
    """What the worker has once nothing is in flight and, if a base is given, all else is as it was;
    or what it still has when that does not come."""
    control = ControlClient()
    path = control_path(broker.folder / "run", "worker-0")
    ends = asyncio.get_running_loop().time() + PATIENCE
    while True:
        await asyncio.sleep(0.1)
        files = files_of(pid)  # before asking, which costs the worker one
        state: dict[str, Any] = await control.state(path)
        now: dict[str, int] = {key: state[key] for key in (*BUSY, "tasks")}
        now["in_flight"] = sum(server["in_flight"] for server in state["servers"]["feed"])
        now["files"] = files
        idle = not any(now[key] for key in (*BUSY, "in_flight"))
        if (idle and (base is None or now == base)) or asyncio.get_running_loop().time() > ends:
            return now


async def crowd(visitor: Visitor, until: int, first: int) -> int:
    """Visits, so many at once, until that many exchanges have begun; the number of the next."""
    number = first

    async def stay() -> None:
        nonlocal number
        while visitor.begun < until:
            number += 1
            await visitor.visit(number)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(stay())
    return number


async def scene(broker: RunningBroker, servers: list[Server]) -> Visitor:
    (worker,) = (await broker.api("/workers"))["workers"]
    cookies = [await broker.cookie("feed", f"person-{n}") for n in range(PEOPLE)]
    visitor = Visitor(broker.port, broker.apps["feed"].removeprefix("https://"), cookies, 20)
    # The first few open what stays open: connections to Redis, files.
    number = await crowd(visitor, EXCHANGES // 20, 0)
    for server in servers:
        server.hang_up()
    base = await at_rest(broker, worker["pid"], None)
    assert not any(base[key] for key in (*BUSY, "in_flight")), base
    await crowd(visitor, EXCHANGES + EXCHANGES // 20, number)
    for server in servers:
        server.hang_up()
    assert await at_rest(broker, worker["pid"], base) == base
    (again,) = (await broker.api("/workers"))["workers"]
    assert again["pid"] == worker["pid"], "the worker did not live through it"
    return visitor


async def play() -> None:
    async with AsyncExitStack() as stack:
        servers = [Server(), Server()]
        addresses = [await server.start() for server in servers]
        for server in servers:
            stack.push_async_callback(server.close)
        pool = {
            "servers": addresses,
            "connections": {"limit": 30},  # fewer than visitors: some wait for a grant
            "deadlines": {"first_byte": "1s", "between_bytes": "1s"},
            "ejection": {"failures": 1_000_000},
            "queue_timeout": "1s",
        }
        broker = stack.enter_context(
            running_broker({"feed": pool}, workers=1, door={"head_timeout": "1s"})
        )
        visitor = await scene(broker, servers)
    assert not visitor.wrong
    assert not [wrong for server in servers for wrong in server.wrong]
    ends = visitor.ends
    for status in ("200", "408", "502", "504"):
        assert ends[status] or ends[f"slow: {status}"], f"nothing ended with {status}: {ends}"
    assert ends["tunnel"]
    assert ends["aborted while asking"]
    assert ends["aborted while reading"]
    assert ends["200"] > EXCHANGES // 4


def test_nothing_is_left_of_ten_thousand_exchanges() -> None:
    uvloop.run(play())
