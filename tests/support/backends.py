"""Small backends of the tests, each on a port of its own on loopback."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def serving(app: web.Application, port: int = 0, **how: Any) -> AsyncIterator[str]:
    """The address at which ``app`` answers. ``how``: of ``web.AppRunner``."""
    runner = web.AppRunner(app, access_log=None, **how)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(page: Handler, **further: Handler) -> web.Application:
    """``page`` for everything; ``further``: GET of /NAME."""
    app = web.Application()
    for name, handler in further.items():
        app.router.add_get(f"/{name}", handler)
    app.router.add_route("*", "/{rest:.*}", page)
    return app


async def echoing(request: web.Request) -> web.WebSocketResponse:
    """A WebSocket that says everything back."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(message.data)
    return socket
