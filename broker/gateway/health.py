"""Active checks: each server is asked for its health path; its answers decide whether it is used.

One coroutine per server, with its own short connection, so that a server whose accept queue is full
is found out too. Nothing of the answer is read but its status line. Servers that speak TLS are
asked over TLS, and have to prove themselves as for any request.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final

from broker.gateway.addresses import NameUnknown
from broker.gateway.doorstep import EXHAUSTED
from broker.gateway.upstream import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.gateway.plan import HealthPlan, ServerPlan
    from broker.gateway.upstream import Server

STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")

_log = logging.getLogger(__name__)


class Unwell(Exception):
    """The server answered, and not well."""


async def watch(server: Server, plan: HealthPlan) -> None:
    """Check ``server`` until cancelled. It starts as healthy: a broker that has just come up does
    not refuse what it has not tried."""
    good = bad = 0
    while True:
        why = ""
        try:
            addresses = await server.where(plan.timeout)
        except NameUnknown as error:
            # Nothing is held against it, but there is nowhere to send a request to.
            addresses, good, bad, why = [], 0, plan.unhealthy_after, str(error)
        else:
            try:
                await ask(server.plan, plan, addresses)
            except OSError as error:
                # Without a descriptor left the check could not be made: that says nothing of it.
                if error.errno not in EXHAUSTED:
                    good, bad, why = 0, bad + 1, told(error)
            except Unwell as error:
                good, bad, why = 0, bad + 1, str(error)
            else:
                good, bad = good + 1, 0
        if server.healthy and bad >= plan.unhealthy_after:
            server.healthy = False
            server.close_idle()
            _log.warning("server %s is left alone by its health check: %s", server.name, why)
        elif not server.healthy and good >= plan.healthy_after:
            server.recovered()
            _log.info("server %s answers its health check again", server.name)
        await asyncio.sleep(plan.every)


async def ask(server: ServerPlan, plan: HealthPlan, addresses: Sequence[str]) -> None:
    """One check: GET, 2xx or 3xx within the timeout, from the first of ``addresses`` that can be
    reached. Raises Unwell for another answer, OSError (TimeoutError is one) for none."""
    request = (
        f"GET {plan.path} HTTP/1.1\r\nHost: {server.authority}\r\nUser-Agent: broker-health\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    )
    async with asyncio.timeout(plan.timeout):
        reader, writer = await _open(server, addresses, plan.timeout)
        try:
            writer.write(request.encode("ascii"))
            line = await reader.readuntil(b"\r\n")
        except (EOFError, asyncio.LimitOverrunError):
            raise Unwell("no HTTP in its answer") from None
        finally:
            writer.transport.abort()
    status = STATUS.match(line)
    if status is None:
        raise Unwell("no HTTP in its answer")
    if status[1][:1] not in b"23":
        raise Unwell(f"{plan.path} answers {status[1].decode()}")


async def _open(
    server: ServerPlan, addresses: Sequence[str], seconds: float
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if server.path:
        return await asyncio.open_unix_connection(server.path)
    name = None if server.tls is None else server.server_name or server.host
    for address in addresses[:-1]:
        try:
            async with asyncio.timeout(seconds / len(addresses)):
                return await asyncio.open_connection(
                    address, server.port, ssl=server.tls, server_hostname=name
                )
        except OSError as error:
            if error.errno in EXHAUSTED:
                raise
    return await asyncio.open_connection(
        addresses[-1], server.port, ssl=server.tls, server_hostname=name
    )
