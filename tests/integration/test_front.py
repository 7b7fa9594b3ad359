"""The committed HTTP/2 fronts: a real nginx, a real Caddy before a whole broker, as browsers speak
to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.typing import Origin

from tests.support.running_broker import running_broker
from tests.support.running_demo import free_ports
from tests.support.tls_backend import Pki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

FRONT = Path(__file__).parents[2] / "config" / "front"
STREAMS = 12
CLIENT = "127.0.0.9"  # the front reaches the broker from another address


def needed(program: str) -> str:
    found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        missing = f"{program} is missing: apt-get install {program}"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


class App:
    """An application: what it was sent, streams that go on until they are released, an echo."""

    def __init__(self) -> None:
        self.open = 0
        self.all_open = asyncio.Event()
        self.released = asyncio.Event()
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        app = web.Application(client_max_size=16 << 20)
        app.router.add_get("/events", self._events)
        app.router.add_get("/live", self._live)
        app.router.add_get("/healthz", self._page)
        app.router.add_route("*", "/{rest:.*}", self._page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        body = await request.read()
        names = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Remote-User")
        said = [f"{name}: {request.headers.get(name, '-')}" for name in names]
        said.append(f"Forwarded: {request.headers.get('Forwarded', '-')}")
        return web.Response(text="\n".join((request.raw_path, str(len(body)), *said, "")))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        self.open += 1
        if self.open == STREAMS:
            self.all_open.set()
        await self.released.wait()
        await response.write(b"data: last\n\n")
        return response

    async def _live(self, request: web.Request) -> web.WebSocketResponse:
        live = web.WebSocketResponse()
        await live.prepare(request)
        async for message in live:
            await live.send_str(f"echo {message.data}")
        return live


@contextlib.contextmanager
def nginx(folder: Path, pki: Pki, broker: int) -> Iterator[int]:
    """The committed file with other ports and certificates; nothing else of it is changed."""
    program = needed("nginx")
    port, redirecting = free_ports()
    certificate, key = pki.issue("localhost", "one.test")
    text = (FRONT / "nginx.conf").read_text("utf-8")
    for old, new in (
        ("server 127.0.0.1:8080;", f"server 127.0.0.1:{broker};"),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("listen [::]:443 ssl", f"listen [::1]:{port} ssl"),
        ("listen 80;", f"listen 127.0.0.1:{redirecting};"),
        ("listen [::]:80;", f"listen [::1]:{redirecting};"),
        ("/etc/nginx/tls/example.com.pem", str(certificate)),
        ("/etc/nginx/tls/example.com.key", str(key)),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "broker.conf").write_text(text)
    temporary = "\n".join(
        f"{kind}_temp_path {folder};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = folder / "main.conf"
    main.write_text(
        f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary}\ninclude {folder}/broker.conf; }}\n"
    )
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(main)]
    with running(command, folder / "error.log", port):
        yield port


@contextlib.contextmanager
def caddy(folder: Path, pki: Pki, broker: int) -> Iterator[int]:
    """As nginx. Its own files stay in the folder."""
    program = needed("caddy")
    port, redirecting = free_ports()
    certificate, key = pki.issue("localhost", "one.test")
    text = (FRONT / "Caddyfile").read_text("utf-8")
    for old, new in (
        ("reverse_proxy 127.0.0.1:8080 {", f"reverse_proxy 127.0.0.1:{broker} {{"),
        ("https://:443 {", f"https://:{port} {{"),
        ("http://:80 {", f"http://:{redirecting} {{"),
        ("tls /etc/caddy/tls/example.com.pem /etc/caddy/tls/example.com.key",
         f"bind 127.0.0.1 ::1\n\ttls {certificate} {key}"),
    ):  # fmt: skip
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "Caddyfile").write_text(text)
    command = [program, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    with running(command, folder / "error.log", port, HOME=str(folder)):
        yield port


@contextlib.contextmanager
def running(command: list[str], log: Path, port: int, **environment: str) -> Iterator[None]:
    """Until it listens, and from then on."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stderr=out)
    try:
        ends = time.monotonic() + 20
        while True:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert time.monotonic() < ends
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("front_of", [nginx, caddy])
async def test_http2_streams_uploads_and_websockets(
    tmp_path: Path, front_of: Callable[[Path, Pki, int], AbstractContextManager[int]]
) -> None:
    curl = needed("curl")
    pki = Pki(tmp_path / "pki")
    folder = tmp_path / "front"
    folder.mkdir()
    app = App()
    port, _ = free_ports()
    listeners = [{"address": f"127.0.0.1:{port}", "trusted_proxies": ["127.0.0.1"]}]
    async with app.serving():
        pools = {
            "one": {"servers": [f"http://127.0.0.1:{app.port}"], "connections": {"limit": 100}}
        }
        with (
            running_broker(
                pools, listeners=listeners, door={"connections_per_address": 60000}
            ) as broker,
            front_of(folder, pki, port) as front,
        ):
            cookie = await broker.cookie("one", "ada")
            address = f"https://one.test:{front}"

            def command(*words: str) -> list[str]:
                return [
                    curl, "--silent", "--show-error", "--no-buffer", "--http2",
                    "--cacert", str(pki.ca), "--resolve", f"one.test:{front}:127.0.0.1",
                    "--interface", CLIENT, "--max-time", "60",
                    "--header", "Host: one.test", "--header", f"Cookie: __Host-broker={cookie}",
                    "--write-out", "%{http_version} %{num_connects} %{http_code}\n",
                    *words,
                ]  # fmt: skip

            async def fetch(*words: str) -> str:
                process = await asyncio.create_subprocess_exec(
                    *command(*words), stdout=subprocess.PIPE
                )
                out, _ = await process.communicate()
                assert process.returncode == 0
                return out.decode()

            # What the browser says of its own address is not believed, whatever it says.
            said = await fetch(
                "--header", "X-Forwarded-For: 192.0.2.1", "--header", "Forwarded: for=192.0.2.1",
                "--include", f"{address}/a//b?c=%20d",
            )  # fmt: skip
            assert "strict-transport-security: max-age=31536000" in said
            for line in (
                "/a//b?c=%20d", f"X-Forwarded-For: {CLIENT}", "X-Forwarded-Proto: https",
                "X-Forwarded-Host: one.test", "X-Remote-User: ada", "Forwarded: -", "2 1 200",
            ):  # fmt: skip
                assert line in said.splitlines(), said

            upload = tmp_path / "upload"
            upload.write_bytes(b"u" * 3_000_000)
            said = await fetch("--data-binary", f"@{upload}", f"{address}/upload")
            assert "3000000" in said.splitlines()

            # Twelve streams and a page that is not kept waiting by them, on one connection.
            streams = await asyncio.create_subprocess_exec(
                *command(
                    "--parallel", "--parallel-max", "50",
                    *[f"{address}/events?{number}" for number in range(STREAMS)],
                    f"{address}/page",
                ),
                stdout=subprocess.PIPE,
            )  # fmt: skip
            assert streams.stdout is not None
            got = b""
            async with asyncio.timeout(60):
                await app.all_open.wait()
                while got.count(b"data: first") < STREAMS or b"/page\n" not in got:
                    got += await streams.stdout.read(65536)
                assert b"data: last" not in got
                app.released.set()
                got += await streams.stdout.read()
                await streams.wait()
            assert got.count(b"data: last") == STREAMS
            ends = [line for line in got.decode().splitlines() if line.endswith(" 200")]
            assert len(ends) == STREAMS + 1
            assert {line.split()[0] for line in ends} == {"2"}
            assert sum(int(line.split()[1]) for line in ends) == 1, "one connection for all"

            async with connect(
                "wss://one.test/live", host="127.0.0.1", port=front,
                ssl=pki.trusting(), server_hostname="one.test", origin=Origin("https://one.test"),
                additional_headers={"Cookie": f"__Host-broker={cookie}"},
            ) as live:  # fmt: skip
                await live.send("hello")
                assert await live.recv() == "echo hello"
            assert broker.stop() == 0, broker.log()
