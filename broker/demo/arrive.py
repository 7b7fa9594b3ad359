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
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import aiohttp

from broker.demo.browser import Browser
from broker.demo.loopback import client

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broker.demo.pages import Outcome, Page

T = TypeVar("T")
THINK_SECONDS = 6.0
LISTENERS = 0.4
LONGEST_PAUSE = 10.0
"""Seconds until somebody presses reload again, however often it failed before."""
PATHS = ("/", "/", "/communities/network", "/communities/dakar", "/communities/sales")
TROUBLE = (aiohttp.ClientError, OSError, TimeoutError)
PATIENCE = aiohttp.ClientTimeout(total=30.0)
LEAVING_SECONDS = 15.0


def main(
    count: int,
    populations: Sequence[str] = ("managers", "sales"),
    rate: float = 5.0,
    state: Path = Path(".demo"),
    seconds: float = 900.0,
) -> int:
    """Let ``count`` employees arrive, ``rate`` a second. They stay ``seconds`` after the last one
    came, or until Ctrl-C. Returns the exit code: 1 when any met an error, 2 when the order made no
    sense. A server that fails is asked again, as people do, until then."""
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


async def _run(crowd: Crowd, rate: float, seconds: float) -> int:
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

    async def visit(self, rate: float, seconds: float, stopped: asyncio.Event) -> None:
        """Everybody's whole visit, ended by ``stopped``, or ``seconds`` after the last one learned
        whether there is a seat."""
        async with client(Path(self._known["ca"])) as shared, asyncio.TaskGroup() as tasks:
            answered = []
            for name in self._people:
                if stopped.is_set():
                    break
                answered.append(asyncio.Event())
                tasks.create_task(self._visit(shared, name, answered[-1], stopped))
                await _unless(stopped, self._dice.expovariate(rate))
            for one in answered:
                await one.wait()
            await _unless(stopped, seconds)
            self._leaving = True
            stopped.set()

    async def _visit(
        self,
        shared: aiohttp.ClientSession,
        name: str,
        answered: asyncio.Event,
        stopped: asyncio.Event,
    ) -> None:
        self.arrived += 1
        session = aiohttp.ClientSession(
            connector=shared.connector, connector_owner=False, timeout=PATIENCE
        )
        async with session:
            browser = Browser(session, self._known["apps"]["feed"])
            working = asyncio.create_task(self._work(browser, name, answered))
            stopping = asyncio.create_task(stopped.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            answered.set()
            with contextlib.suppress(*TROUBLE):
                async with asyncio.timeout(LEAVING_SECONDS):
                    await browser.log_out()

    async def _work(self, browser: Browser, name: str, answered: asyncio.Event) -> None:
        """Until the employee is refused; the seat may be lost and found on the way."""
        page = await self._enter(browser, name)
        failures = 0
        while True:
            answered.set()
            failures = failures + 1 if _is_trouble(page) else 0
            if page.outcome == "seated":
                with self._counted("seated"):
                    page = await self._browse(browser)
            elif page.outcome == "waiting":
                with self._counted("waiting"):
                    page = await self._persist(browser.wait_for_a_seat)
            elif failures:
                self.errors[f"{page.url} answered {page.status}"] += 1
                await self._pause(page, failures)
                page = await self._enter(browser, name)
            elif page.outcome == "login":
                self.errors["had to log in again"] += 1
                page = await self._enter(browser, name)
            else:
                self.now[page.outcome] += 1
                if page.outcome == "failed":
                    self.errors[f"{page.url} answered {page.status}"] += 1
                return

    async def _enter(self, browser: Browser, name: str) -> Page:
        """Log in, unless the session still stands; a directory that is busy says so on the form,
        and is asked again later."""
        failures = 0
        while True:
            page = await self._persist(lambda: browser.log_in(name, self._known["password"]))
            if not (page.status in (429, 503) and page.asks_for_login):
                return replace(page, status=401) if page.asks_for_login else page
            failures += 1
            await self._pause(page, failures)

    async def _pause(self, page: Page, failures: int) -> None:
        """As long as the page asks, else longer each time."""
        pause = (page.retry_after or 2.0) * (failures + self._dice.random())
        await asyncio.sleep(min(LONGEST_PAUSE, pause))

    async def _browse(self, browser: Browser) -> Page:
        """Pages with pauses, until one is not what an employee with a seat gets: that one."""
        self.most_seated = max(self.most_seated, self.now["seated"])
        listens = self._dice.random() < LISTENERS
        listening = asyncio.create_task(self._listen(browser)) if listens else None
        try:
            while True:
                path = self._dice.choice(PATHS)
                page, failed = await self._persist(partial(browser.view, path))
                if page.outcome != "seated":
                    return page
                self.pages += 1
                if failed:
                    self.errors["asset failed"] += failed
                await asyncio.sleep(self._dice.expovariate(1 / THINK_SECONDS))
        finally:
            if listening is not None:
                listening.cancel()
                await asyncio.wait({listening})

    async def _persist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do it, and again after a pause when the line breaks: people press reload."""
        while True:
            try:
                return await attempt()
            except TROUBLE as error:
                self.errors[type(error).__name__] += 1
            await asyncio.sleep(1.0 + 2.0 * self._dice.random())

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


def _is_trouble(page: Page) -> bool:
    """What goes away by itself: a server, or the broker before it, that fails."""
    return page.outcome == "failed" and page.status >= 500


async def _unless(stopped: asyncio.Event, seconds: float) -> None:
    """Sleep so long, or until ``stopped``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopped.wait()
