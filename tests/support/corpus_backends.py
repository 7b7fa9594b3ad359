"""The servers behind the corpus: aiohttp and nginx, which log what they receive, and a backend that
says what a case tells it to.

Each logged request is a ``Received``. nginx names only the fields it was configured to log: those
that occur in the corpus and whose names it has a variable for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.support.running_demo import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tests.support.corpus import Answer

PATIENCE: Final = 10.0
CONDITIONAL: Final = (412, 416)  # what nginx answers to conditions, by itself
FILE: Final = bytes(range(32, 127)) * 11  # what both servers have under /file

_NGINX: Final = """
{user}worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  log_format received escape=json '{{"method":"$request_method","target":"$request_uri",'
    '"version":"$server_protocol","status":$status,"body":"$request_body","fields":{{'
    {fields} '}}}}';
  access_log {log} received;
  client_max_body_size 0; client_body_buffer_size 2m; large_client_header_buffers 8 64k;
  # A body is read, and known to the log, when it is passed on.
  upstream echo {{ server unix:{folder}/echo.sock; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://echo; proxy_request_buffering on; proxy_set_header Accept ""; }}
    location = /204 {{ return 204; }}
    location = /file {{ root {folder}; }}
    location = /304 {{ root {folder}; if_modified_since off; }}
  }}
  server {{
    listen unix:{folder}/echo.sock; access_log off;
    location / {{ return 200 "$request_method $request_uri\\n"; }}
  }}
}}
"""
_VARIABLE: Final = re.compile(r"[a-z0-9-]+")


@dataclass(frozen=True)
class Received:
    """One request as a server logged it. ``fields`` are all in their order; ``named``, where that
    is not known, the values by lower-case name. ``whole``: its body came to its end, and the server
    did not refuse it."""

    address: str
    request_id: str
    method: str
    target: str
    version: str
    body: str
    whole: bool
    fields: tuple[tuple[str, str], ...] = ()
    named: dict[str, str] | None = None


def nginx_names(heads: Iterable[bytes]) -> list[str]:
    """Lower-case names of all fields in these heads that nginx can log."""
    found = set()
    for head in heads:
        for line in head.split(b"\r\n")[1:]:
            found.add(line.partition(b":")[0].decode("latin-1").lower())
    return sorted(name for name in found if _VARIABLE.fullmatch(name))


@contextlib.contextmanager
def aiohttp_backend(port: int, folder: Path) -> Iterator[Callable[[], list[Received]]]:
    """Runs it; yields a function that reads its log."""
    log, file = folder / "aiohttp.log", folder / "file"
    file.write_bytes(FILE)
    log.touch()

    def received() -> list[Received]:
        found = []
        for text in log.read_text("utf-8").splitlines():
            line = json.loads(text)
            if "refused" in line:  # by its parser, so nobody knows whose it was
                refused = f"refused by aiohttp with {line['refused']}"
                found.append(Received("", refused, "", "", "", "", whole=False))
                continue
            line["fields"] = tuple((name, value) for name, value in line["fields"])
            named = {name.lower(): value for name, value in line["fields"]}
            ids = named.get("x-forwarded-for", ""), named.get("x-request-id", "")
            found.append(Received(*ids, **line))
        return found

    command = [sys.executable, "-m", "tests.support.logging_backend", str(port), str(log)]
    with _running([*command, str(file)], folder / "aiohttp.out", port):
        yield received


@contextlib.contextmanager
def nginx_backend(
    port: int, folder: Path, names: list[str]
) -> Iterator[Callable[[], list[Received]]]:
    """The same with nginx."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        missing = "nginx is not installed (Debian: apt-get install nginx)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    for name in ("file", "304"):
        (folder / name).write_bytes(FILE)
    log = folder / "nginx.log"
    # One parameter for each: nginx takes none of more than 4 KiB.
    fields = " ',' ".join(f"""'"{name}":"$http_{name.replace("-", "_")}"'""" for name in names)
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _NGINX.format(
            # Started by root its worker would be nobody, who may not read a test's folder.
            user="" if os.geteuid() else "user root; ",
            folder=folder, port=port, log=log, fields=fields,
        ),
        "utf-8",
    )  # fmt: skip

    def received() -> list[Received]:
        found = []
        for text in log.read_text("latin-1").splitlines():
            line = json.loads(text)
            named = {name: value for name, value in line["fields"].items() if value}
            found.append(
                Received(
                    named.pop("x-forwarded-for", ""), named.pop("x-request-id", ""),
                    line["method"], line["target"], line["version"], line["body"],
                    line["status"] < 400 or line["status"] in CONDITIONAL, named=named,
                )
            )  # fmt: skip
        return found

    with _running([nginx, "-p", str(folder), "-c", str(configuration)], folder / "nginx.out", port):
        yield received


@contextlib.contextmanager
def _running(command: list[str], output: Path, port: int) -> Iterator[None]:
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=CHECKOUT)
        try:
            ends = time.monotonic() + PATIENCE
            while time.monotonic() < ends:
                assert process.poll() is None, output.read_text()
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            else:
                raise AssertionError(f"{command[0]} does not listen: {output.read_text()}")
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            finally:
                process.kill()
                process.wait()


class Scripted:
    """A backend of one lane: it gives the answer it was told, then plain ones. ``seen`` are the
    requests of this case with the number of the connection each came on."""

    def __init__(self) -> None:
        self.answer: Answer | None = None
        self.seen: list[tuple[int, bytes]] = []
        self.ended: dict[int, asyncio.Event] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def begin(self, answer: Answer | None) -> None:
        """A new case: connections of the one before are over."""
        for writer in self._writers:
            writer.transport.abort()
        self.answer = answer
        self.seen = []
        self.ended = {}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.ended)
        ended = self.ended[number] = asyncio.Event()
        self._writers.add(writer)
        seen = self.seen
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n"))[:-4]
                length = re.search(rb"(?im)^content-length: (\d+)", head)
                if length:
                    await reader.readexactly(int(length[1]))
                seen.append((number, head))
                answer, self.answer = self.answer, None
                if answer is None:
                    said = b"%b %b\n" % tuple(head.split(b" ")[:2])
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(said))
                    writer.write(said)
                    continue
                for piece in answer.said:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.002)  # so that pieces arrive apart, mostly
                if answer.then == "close":
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            ended.set()
            self._writers.discard(writer)
            writer.close()
