"""A child for tests of the supervisor: answers each connection with its name, incarnation, pid and
the line it read, and obeys ``Child``. Arguments: KIND SLOT INCARNATION FDS MODE.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from broker.supervisor.child import Child
from broker.supervisor.plan import ChildFds


async def main(kind: str, slot: str, incarnation: str, fds: str, mode: str) -> int:
    if mode == "broken":
        return 3
    log = Path(os.environ["CHILD_LOG"])
    while mode == "late" and not log.with_name("now").exists():
        await asyncio.sleep(0.02)  # still importing, so to say: no signal is handled yet
    reopened = 0

    def note(event: str) -> None:
        with log.open("a", encoding="utf-8") as out:
            out.write(f"{event} {kind}-{slot} {incarnation} {os.getpid()}\n")

    def reopen() -> None:
        nonlocal reopened
        reopened += 1
        note("reopened")

    child = Child(ChildFds.decode(fds), reopen)
    if mode == "deaf":  # neither accepts nor reacts to SIGTERM
        child.ready()
        note("ready")
        await asyncio.Event().wait()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        writer.write(f"{kind}-{slot} {incarnation} {os.getpid()} ".encode() + line)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    servers = [
        await asyncio.start_server(answer, sock=one)
        for group in child.sockets.values()
        for one in group
    ]
    child.ready()
    note("ready")
    await child.stop.wait()
    note(f"stop[{child.why}]")
    for server in servers:
        server.close()
    child.stop_accepting()
    if mode == "slow":  # something is still in flight
        await asyncio.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
