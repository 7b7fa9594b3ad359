"""One sample application as one process: listen on loopback, say READY, stop on a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from aiohttp import web

if TYPE_CHECKING:
    from broker.demo.apps.oracle import Oracle

HERE = Path(__file__).parent
HOST = "127.0.0.1"


def environment() -> jinja2.Environment:
    """Templates of the sample applications, escaping everything."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Running:
    """A started application; ``port`` is the real one. Close it to end it."""

    def __init__(self, runner: web.AppRunner, server: asyncio.Server) -> None:
        self._runner = runner
        self._server = server
        self.port: int = server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def close(self) -> None:
        self._server.close()
        await self._runner.cleanup()


async def start(app: web.Application, oracle: Oracle, port: int = 0) -> Running:
    """Listen on loopback (port 0: any free one) with the oracle's tap on every connection.

    Keep-alive is long, so that an idle connection is never closed under the broker's hands; a
    handler is cancelled when its connection ends. Raises OSError when the port is taken.
    """
    oracle.install(app)
    runner = web.AppRunner(
        app,
        handle_signals=False,
        handler_cancellation=True,
        access_log=None,
        keepalive_timeout=3600.0,
        shutdown_timeout=1.0,
        max_line_size=32 * 1024,
        max_field_size=64 * 1024,
    )
    await runner.setup()
    inner = runner.server
    if inner is None:
        raise RuntimeError("the runner was set up, so it has a server")
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: oracle.tap(inner), HOST, port, backlog=1024)
    except OSError:
        await runner.cleanup()
        raise
    return Running(runner, server)


async def serve_until_stopped(app: web.Application, oracle: Oracle, port: int) -> None:
    """The whole life of the process: READY on standard output, then until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    running = await start(app, oracle, port)
    sys.stdout.write(f"READY {running.port}\n")
    sys.stdout.flush()
    try:
        await stopped.wait()
    finally:
        await running.close()
