"""The entry of a child process: read the configuration, find out which part it is, run that part.

``command`` writes the command line and ``run_process`` reads it back: ``broker _process KIND SLOT
INCARNATION FDS CONFIGURATION``. Configuration and secrets are read again
by each child, so that nothing secret is ever seen in a process list.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker.configuration import load
from broker.errors import BrokerError
from broker.supervisor.plan import ChildFds
from broker.wiring import compiled
from broker.wiring.processors import keep_to_share

if TYPE_CHECKING:
    from broker.settings import Settings
    from broker.supervisor.plan import Kind


@dataclass(frozen=True, slots=True)
class Birth:
    """What a child is told when it starts. ``incarnation`` names this life of a worker."""

    slot: int
    incarnation: str
    fds: ChildFds
    configuration: Path


Part = Callable[["Settings", Birth], Awaitable[None]]


def command(
    kind: Kind, slot: int, incarnation: str, fds: ChildFds, configuration: Path
) -> Sequence[str]:
    """The argument list that starts a child."""
    return [
        sys.executable,
        "-m",
        "broker",
        "_process",
        kind,
        str(slot),
        incarnation,
        fds.encode(),
        str(configuration),
    ]


def run_process(arguments: Sequence[str]) -> int:
    """Run one child until it is told to stop. Returns its exit code."""
    kind, slot, incarnation, fds, configuration = arguments
    name = f"worker-{slot}" if kind == "worker" else kind
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
    )
    try:
        if kind == "worker":
            how = "compiled" if compiled.use() else "as Python: make compiled makes it cheaper"
            logging.getLogger(__name__).info("the data path runs %s", how)
        part = _part(kind)
        birth = Birth(int(slot), incarnation, ChildFds.decode(fds), Path(configuration))
        settings = load(birth.configuration)
        keep_to_share(kind, settings.workers)
        _run(part, settings, birth)
    except BrokerError as error:
        logging.getLogger(__name__).error("%s", error.reason)
        return 1
    return 0


def _part(kind: str) -> Part:
    """Only the part that runs is imported: a worker never loads aiohttp's server or ldap3."""
    if kind == "worker":
        from broker.wiring.worker import worker

        return worker
    if kind == "portal":
        from broker.wiring.portal import portal

        return portal
    from broker.wiring.admin import admin

    return admin


def _run(part: Part, settings: Settings, birth: Birth) -> None:
    import asyncio

    import uvloop

    async def main() -> None:
        await part(settings, birth)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
