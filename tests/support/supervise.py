"""Runs the real ``Supervisor`` as a process of its own, with children that answer by name.

Reads one JSON object from its argument: the plan, ``mode`` of the children and how many times the
ledger refuses a tombstone first. Prints events as JSON lines: ready, tombstone, reload, refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.errors import BrokerError, LedgerAway
from broker.supervisor.plan import ChildFds, Opened, SupervisorPlan
from broker.supervisor.process import serve
from broker.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from broker.supervisor.plan import Kind

CHILD = Path(__file__).with_name("supervised_child.py")


def say(event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), flush=True)  # noqa: T201


async def main(given: dict[str, Any]) -> int:
    run_dir = Path(given["run_dir"])
    refusals = given.get("refuse_tombstones", 0)
    modes = given.get("modes", {})
    plan = SupervisorPlan(
        host="testhost",
        workers=given.get("workers", 2),
        public=tuple(given["public"]),
        portal=f"unix:{run_dir}/portal.sock",
        admin=given.get("admin", "127.0.0.1:0"),
        run_dir=run_dir,
        stop_timeout=given.get("stop_timeout", 5.0),
        backoff=0.05,
    )

    def command(kind: Kind, slot: int, incarnation: str, fds: ChildFds) -> list[str]:
        name = f"worker-{slot}" if kind == "worker" else kind
        mode = modes.get(name, "echo")
        return [sys.executable, str(CHILD), kind, str(slot), incarnation, fds.encode(), mode]

    async def tombstone(incarnation: str) -> bool:
        nonlocal refusals
        if refusals:
            refusals -= 1
            say("refused", incarnation=incarnation)
            raise LedgerAway("away, for a test")
        say("tombstone", incarnation=incarnation)
        return True

    async def reload() -> tuple[str, ...]:
        say("reload")
        return ("workers",)

    async def tell(name: str, action: str) -> None:
        say("tell", name=name, action=action)

    def ready(opened: Opened) -> None:
        say("ready", public=opened.public, admin=opened.admin)

    supervisor = Supervisor(
        plan,
        command=command,
        tombstone=tombstone,
        reload=reload,
        tell=tell,
        on_ready=ready,
        clock=time.monotonic,
        civil=time.time,
    )
    try:
        return await serve(supervisor, run_dir)
    except BrokerError as error:
        say("error", reason=error.reason)
        return 1


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.INFO)
    sys.exit(asyncio.run(main(json.loads(sys.argv[1]))))
