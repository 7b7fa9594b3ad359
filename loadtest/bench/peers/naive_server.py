"""The yardstick: the proxy one would write in an afternoon with aiohttp's server and client."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import ClientSession, TCPConnector, web
from multidict import CIMultiDict

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


def make_app(backend_port: int) -> web.Application:
    session = web.AppKey("session", ClientSession)

    async def client(app: web.Application):  # type: ignore[no-untyped-def]
        app[session] = ClientSession(connector=TCPConnector(limit=0), auto_decompress=False)
        yield
        await app[session].close()

    async def relay(request: web.Request) -> web.StreamResponse:
        headers = CIMultiDict(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in HOP_BY_HOP
        )
        url = f"http://127.0.0.1:{backend_port}{request.raw_path}"
        body = await request.read()
        async with request.app[session].request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as answer:
            kept = CIMultiDict(
                (name, value)
                for name, value in answer.headers.items()
                if name.lower() not in HOP_BY_HOP
            )
            return web.Response(status=answer.status, headers=kept, body=await answer.read())

    app = web.Application()
    app.cleanup_ctx.append(client)
    app.router.add_route("*", "/{path:.*}", relay)
    return app


if __name__ == "__main__":
    uvloop.install()
    web.run_app(
        make_app(int(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=None,
        print=None,
    )
