"""A demo of one's own for a test: free ports, its own folder, stopped with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from broker.demo.browser import Browser
from broker.demo.loopback import client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from broker.demo.pages import Page

LONGEST_START = 90.0
_RANDOM = random.SystemRandom()  # not the same in every worker
CHECKOUT = Path(__file__).resolve().parents[2]


def free_ports(count: int = 2) -> list[int]:
    """Ports that were free just now, below those that outgoing connections are given: whoever binds
    them a moment later finds no connection of another test on them."""
    found: set[int] = set()
    while len(found) < count:
        port = _RANDOM.randrange(10_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.add(port)
    return sorted(found)


def command(*words: object) -> list[str]:
    """``broker WORDS`` as this interpreter runs it."""
    return [sys.executable, "-m", "broker", *(str(word) for word in words)]


@dataclass
class RunningDemo:
    """What READY said, and the process. ``text`` is all that it printed so far."""

    state: Path
    process: subprocess.Popen[str]
    known: dict[str, Any] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)

    @property
    def ca(self) -> Path:
        return Path(self.known["ca"])

    def person(self, population: str, number: int = 0) -> str:
        return str(self.known["accounts"][population][number])

    @contextlib.asynccontextmanager
    async def browser(
        self, app: str = "feed"
    ) -> AsyncIterator[tuple[Browser, aiohttp.ClientSession]]:
        async with client(self.ca) as session:
            yield Browser(session, self.known["apps"][app]), session

    async def enter(self, browser: Browser, person: str) -> Page:
        """Log in and, should the broker be out of breath on a busy machine, wait for the seat as
        its page asks."""
        while (page := await browser.log_in(person, self.known["password"])).status == 503:
            if page.outcome == "waiting":
                break
            await asyncio.sleep(page.retry_after or 1.0)
        return await browser.wait_for_a_seat() if page.outcome == "waiting" else page

    async def oracle(
        self, server: int = 0, pool: str = "feed", change: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        url = self.known["backends"][pool][server] + "/oracle"
        method = "GET" if change is None else "POST"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=change) as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    def processes(self) -> dict[int, str]:
        """Everything that runs on behalf of this demo: pid and command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if str(self.state) in line:
                    found[int(folder.name)] = line
        return found

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(40)


@contextlib.contextmanager
def running_demo(state: Path, **options: int) -> Iterator[RunningDemo]:
    """Start one, wait for READY, stop it. ``options`` as of ``broker demo`` (``seats=20``)."""
    public, admin = free_ports()
    chosen = {"public_port": public, "admin_port": admin, **options}
    words = [w for key, value in chosen.items() for w in (f"--{key.replace('_', '-')}", value)]
    process = subprocess.Popen(
        command("demo", *words, "--state", state),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    demo = RunningDemo(state, process)
    ready = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            demo.text.append(line)
            if line.startswith("READY "):
                demo.known = json.loads(line.removeprefix("READY "))
                ready.set()
        ready.set()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    try:
        ready.wait(LONGEST_START)
        assert demo.known, "the demo did not get ready:\n" + "".join(demo.text)
        yield demo
    finally:
        try:
            demo.stop()
        finally:
            process.kill()
            reading.join(10)
            if process.stdout is not None:
                process.stdout.close()
