"""An aiohttp server that writes down what it received: ``python -m`` this, PORT LOG FILE.

One line of JSON per request: target, version, fields in their order and spelling, body (latin-1, so
that every byte has a character) and whether it came whole. What the server refuses to parse is
written down too: nothing the broker sends may be refused.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger


class Backend:
    """Answers what was asked, ``METHOD TARGET``; some paths have answers of their own."""

    def __init__(self, log: Path, file: Path) -> None:
        self._log = log.open("a", buffering=1)
        self._file = file

    def write(self, **line: Any) -> None:
        self._log.write(json.dumps(line) + "\n")

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        whole = False
        body = b""
        try:
            body = await request.read()
            whole = True
        finally:
            self.write(
                target=request.raw_path,
                method=request.method,
                version=f"HTTP/{request.version.major}.{request.version.minor}",
                fields=[
                    [name.decode("latin-1"), value.decode("latin-1")]
                    for name, value in request.raw_headers
                ],
                body=body.decode("latin-1"),
                whole=whole,
            )
        if request.path == "/204":
            return web.Response(status=204)
        if request.path == "/304":
            return web.Response(status=304, headers={"ETag": '"1"'})
        if request.path == "/file":
            return web.FileResponse(self._file)
        return web.Response(text=f"{request.method} {request.raw_path}\n")


class Refusals(AbstractAccessLogger):
    """Told of every request; the application refuses none, so the parser did."""

    backend: Backend

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        if 400 <= response.status < 500:  # 500: the body it was reading never ended
            self.backend.write(refused=response.status)


async def main(port: int, log: Path, file: Path) -> None:
    Refusals.backend = backend = Backend(log, file)
    server = web.Server(backend.answer, access_log_class=Refusals, auto_decompress=False)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])))
