"""A ``PortalSite`` on a real TLS socket, for a real browser."""

from __future__ import annotations

import socket
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trustme
from aiohttp import web
from multidict import CIMultiDict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.portal_site import PortalSite

NOT_FORWARDED = {"content-length", "transfer-encoding", "date", "server", "connection"}


def free_socket() -> socket.socket:
    """Bound on loopback; its port is known before anything is built for it."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.bind(("127.0.0.1", 0))
    return bound


@asynccontextmanager
async def on_tls(site: PortalSite, bound: socket.socket) -> AsyncIterator[None]:
    """Serve the site's hosts on ``bound`` while the context lasts."""

    async def forward(request: web.Request) -> web.StreamResponse:
        url = f"https://{request.host}{request.raw_path}"
        body = await request.read()
        answer = await site.exchange(url, request.method, CIMultiDict(request.headers), body)
        headers = CIMultiDict(
            (name, value)
            for name, value in answer.headers.items()
            if name.lower() not in NOT_FORWARDED
        )
        return web.Response(status=answer.status, headers=headers, body=answer.text.encode())

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("localhost", "feed.localhost", "wiki.localhost").configure_cert(tls)
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", forward)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.SockSite(runner, bound, ssl_context=tls).start()
        yield
    finally:
        await runner.cleanup()
