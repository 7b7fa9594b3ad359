"""The supervisor as a process: its lock, its control socket, and its way to the children's.

Joins ``Supervisor`` (which knows no HTTP) with ``telemetry.control``; ``wiring`` calls ``serve``.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from broker.supervisor.sockets import claim_run_dir
from broker.telemetry.control import ControlClient, ControlServer, control_path
from broker.telemetry.exposition import Exposition

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broker.supervisor.supervisor import Supervisor


async def serve(supervisor: Supervisor, run_dir: Path) -> int:
    """Run it with its control socket in ``run_dir``; returns the exit code.

    Raises ConfigurationError when another broker uses ``run_dir``, or a port is in use.
    """
    lock = claim_run_dir(run_dir)
    try:
        exposition = Exposition()
        supervisor.export(exposition)
        async with ControlServer(
            control_path(run_dir, "supervisor"),
            exposition.render,
            supervisor.state,
            {
                "reload": supervisor.reload,
                "reopen": supervisor.reopen,
                "drain": supervisor.drain,
            },
        ):
            return await supervisor.run()
    finally:
        os.close(lock)


def teller(run_dir: Path) -> Callable[[str, str], Awaitable[None]]:
    """The supervisor's ``tell``: an action for the child of that name, over its control socket."""
    client = ControlClient()

    async def tell(name: str, action: str) -> None:
        await client.act(control_path(run_dir, name), action)

    return tell
