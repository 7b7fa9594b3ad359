"""``broker demo arrive N``: employees who log in to the running demo and work in it.

Each has a browser of their own (cookies and cache; the TCP connections are shared), comes at the
given rate, logs in through the real pages, waits if there is no seat, then reads pages with pauses
to think, some with the live WebSocket open. At the end all of them log out. The running demo is
found through its state folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import aiohttp

from broker.demo.browser import Browser, Outcome, Page
from broker.demo.loopback import client

if TYPE_CHECKING:
    from collections.abc import Sequence

THINK_SECONDS = 6.0
LISTENERS = 0.4
TRY_AGAIN = 4
PATHS = ("/", "/", "/communities/network", "/communities/dakar", "/communities/sales")
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError)
PATIENCE = aiohttp.ClientTimeout(total=30.0)
LEAVING_SECONDS = 15.0


def main(
    count: int,
    populations: Sequence[str] = ("managers", "sales"),
    rate: float = 5.0,
    state: Path = Path(".demo"),
    seconds: float | None = None,
) -> int:
    """Let ``count`` employees arrive, ``rate`` a second. They stay ``seconds`` after the last one
    came, or until Ctrl-C. Returns the exit code: 1 when any met an error, 2 when the order made no
    sense."""
    try:
        known = json.loads((state / "ready.json").read_text("utf-8"))
    except (OSError, ValueError):
        return _refuse(f"No demo runs in {state}: start it with `make demo` or `broker demo`.")
    accounts: dict[str, list[str]] = known["accounts"]
    unknown = [name for name in populations if name not in accounts]
    if unknown:
        return _refuse(
            f"There is no population {', '.join(unknown)}: choose from {', '.join(accounts)}."
        )
    people = sorted({person for name in populations for person in accounts[name]})
    if count > len(people):
        return _refuse(f"Only {len(people)} employees are in {', '.join(populations)}.")
    dice = random.Random()
    return asyncio.run(_run(Crowd(known, dice.sample(people, count), dice), rate, seconds))


def _refuse(sentence: str) -> int:
    sys.stderr.write(sentence + "\n")
    return 2


async def _run(crowd: Crowd, rate: float, seconds: float | None) -> int:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    showing = asyncio.create_task(_show(crowd, sys.stderr))
    try:
        await crowd.visit(rate, seconds, stopped)
    finally:
        showing.cancel()
    sys.stdout.write(crowd.summary() + "\n")
    return 1 if crowd.errors else 0


async def _show(crowd: Crowd, aside: TextIO) -> None:
    """Once a second on a terminal, every five elsewhere."""
    live = aside.isatty()
    while True:
        await asyncio.sleep(1.0 if live else 5.0)
        with contextlib.suppress(OSError):
            aside.write(f"\r{crowd.line()}   " if live else crowd.line() + "\n")
            aside.flush()


class Crowd:
    """All employees of one run, and what became of them."""

    def __init__(self, known: dict[str, Any], people: Sequence[str], dice: random.Random) -> None:
        self._known = known
        self._people = people
        self._dice = dice
        self._began = time.monotonic()
        self._leaving = False
        self.now: Counter[Outcome] = Counter()
        self.arrived = self.pages = self.messages = self.most_seated = 0
        self.errors: Counter[str] = Counter()

    async def visit(self, rate: float, seconds: float | None, stopped: asyncio.Event) -> None:
        """Everybody's whole visit, ended by ``stopped`` or ``seconds`` after the last arrival."""
        async with client(Path(self._known["ca"])) as shared, asyncio.TaskGroup() as tasks:
            visits = []
            for name in self._people:
                if stopped.is_set():
                    break
                visits.append(tasks.create_task(self._visit(shared, name, stopped)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._dice.expovariate(rate)):
                        await stopped.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await stopped.wait()
            self._leaving = True
            stopped.set()

    async def _visit(
        self, shared: aiohttp.ClientSession, name: str, stopped: asyncio.Event
    ) -> None:
        self.arrived += 1
        session = aiohttp.ClientSession(
            connector=shared.connector, connector_owner=False, timeout=PATIENCE
        )
        async with session:
            browser = Browser(session, self._known["apps"]["feed"])
            working = asyncio.create_task(self._work(browser, name))
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            with contextlib.suppress(*TROUBLE):
                async with asyncio.timeout(LEAVING_SECONDS):
                    await browser.log_out()

    async def _work(self, browser: Browser, name: str) -> None:
        try:
            page = await self._enter(browser, name)
            if page.outcome == "waiting":
                with self._counted("waiting"):
                    page = await browser.wait_for_a_seat()
            if page.outcome == "seated":
                await self._browse(browser)
            elif page.outcome == "refused":
                self.now["refused"] += 1
            else:
                self.now["failed"] += 1
                self.errors[f"login answered {page.status}"] += 1
        except TROUBLE as error:
            self.now["failed"] += 1
            self.errors[type(error).__name__] += 1

    async def _enter(self, browser: Browser, name: str) -> Page:
        """Log in; a directory that is busy says so on the form, and is asked again later."""
        for attempt in range(TRY_AGAIN):
            page = await browser.log_in(name, self._known["password"])
            if not (page.status in (429, 503) and 'name="password"' in page.text):
                break
            await asyncio.sleep((page.retry_after or 2.0) * (attempt + self._dice.random()))
        return page

    async def _browse(self, browser: Browser) -> None:
        with self._counted("seated"):
            self.most_seated = max(self.most_seated, self.now["seated"])
            async with asyncio.TaskGroup() as tasks:
                if self._dice.random() < LISTENERS:
                    tasks.create_task(self._listen(browser))
                while True:
                    try:
                        page, failed = await browser.view(self._dice.choice(PATHS))
                        self.pages += page.outcome == "seated"
                        if failed:
                            self.errors[f"page or asset failed ({page.status})"] += failed
                    except TROUBLE as error:
                        self.errors[type(error).__name__] += 1
                    await asyncio.sleep(self._dice.expovariate(1 / THINK_SECONDS))

    async def _listen(self, browser: Browser) -> None:
        while True:
            try:
                async with contextlib.aclosing(browser.listen()) as messages:
                    async for _ in messages:
                        self.messages += 1
            except TROUBLE as error:
                self.errors[f"WebSocket: {type(error).__name__}"] += 1
            await asyncio.sleep(2.0 + self._dice.random())

    @contextlib.contextmanager
    def _counted(self, outcome: Outcome) -> Any:
        self.now[outcome] += 1
        try:
            yield
        finally:
            self.now[outcome] -= 1

    def line(self) -> str:
        """How it stands now."""
        if self._leaving:
            return f"{time.monotonic() - self._began:5.0f} s  all go home"
        entering = self.arrived - sum(self.now.values())
        return (
            f"{time.monotonic() - self._began:5.0f} s  arrived {self.arrived}/{len(self._people)}: "
            f"{self.now['seated']} seated, {self.now['waiting']} waiting, "
            f"{self.now['refused']} refused, {entering} on their way; "
            f"{self.pages} pages, {sum(self.errors.values())} errors"
        )

    def summary(self) -> str:
        lines = [
            f"\n{self.arrived} employees arrived. Seated at the same time: {self.most_seated}. "
            f"Refused: {self.now['refused']}. Failed: {self.now['failed']}.",
            f"{self.pages} pages read, {self.messages} live messages.",
        ]
        lines += [f"{count} x {what}" for what, count in self.errors.most_common()]
        return "\n".join(lines)
