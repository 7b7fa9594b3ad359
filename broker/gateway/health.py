"""Active checks: each server is asked for its health path; its answers decide whether it is used.

One coroutine per server, with its own short connection, so that a server whose accept queue is full
is found out too. Nothing of the answer is read but its status line.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final

from broker.gateway.doorstep import EXHAUSTED

if TYPE_CHECKING:
    from broker.gateway.plan import HealthPlan, ServerPlan
    from broker.gateway.upstream import Server

HEALTHY: Final = re.compile(rb"HTTP/1\.[01] [23][0-9]{2}[ \r]")

_log = logging.getLogger(__name__)


async def watch(server: Server, plan: HealthPlan) -> None:
    """Check ``server`` until cancelled. It starts as healthy: a broker that has just come up does
    not refuse what it has not tried."""
    good = bad = 0
    while True:
        answer = await answers_well(server.plan, plan)
        if answer:
            good, bad = good + 1, 0
        elif answer is not None:
            good, bad = 0, bad + 1
        if server.healthy and bad >= plan.unhealthy_after:
            server.healthy = False
            server.close_idle()
            _log.warning("server %s does not answer its health check any more", server.name)
        elif not server.healthy and good >= plan.healthy_after:
            server.recovered()
            _log.info("server %s answers its health check again", server.name)
        await asyncio.sleep(plan.every)


async def answers_well(server: ServerPlan, plan: HealthPlan) -> bool | None:
    """One check: GET, 2xx or 3xx within the timeout. None when it could not be made: this process
    has no descriptor left, which says nothing of the server."""
    host = server.host if ":" not in server.host else f"[{server.host}]"
    authority = f"{host}:{server.port}" if server.host else "localhost"
    request = (
        f"GET {plan.path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: broker-health\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(plan.timeout):
            if server.path:
                reader, writer = await asyncio.open_unix_connection(server.path)
            else:
                reader, writer = await asyncio.open_connection(server.host, server.port)
            try:
                writer.write(request.encode("ascii"))
                line = await reader.readuntil(b"\r\n")
            finally:
                writer.transport.abort()
    except OSError as error:  # TimeoutError is one
        return None if error.errno in EXHAUSTED else False
    except (EOFError, asyncio.LimitOverrunError):
        return False
    return HEALTHY.match(line) is not None
