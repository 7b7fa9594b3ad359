"""Hundreds of employees in one event loop, through the demo's real pages: they log in, wait for
their seat as politely as they are asked to, work, and leave. What each was answered is kept; who
gets a seat is compared with whoever holds a lower ticket of the same population.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from broker.demo.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.demo.pages import Page
    from tests.support.running_demo import RunningDemo

AT_ONCE = 24  # logins under way
THINK = 3.0  # seconds between two requests of somebody who stays
LOOK_IN = 0.5  # of somebody who does not
PATIENCE = 150.0
ASKED = {"Accept": "application/json", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
TICKET = "__Host-broker-ticket"


@dataclass(eq=False)
class Employee:
    """``number``: of the ticket, None while there was none. ``came``, ``waits``: event loop time of
    the login's beginning, and when its page told to wait. ``statuses``: of every request since
    the seat; ``wrong``: what was not an answer for a seated employee."""

    name: str
    population: str
    session: aiohttp.ClientSession
    state: str = "comes"
    number: int | None = None
    came: float = 0.0
    waits: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Crowd:
    """Everybody of one story. ``tasks`` ends their visits."""

    def __init__(
        self, demo: RunningDemo, shared: aiohttp.ClientSession, tasks: asyncio.TaskGroup
    ) -> None:
        self._demo = demo
        self._shared = shared
        self._tasks = tasks
        self._door = asyncio.Semaphore(AT_ONCE)
        self._visits: list[asyncio.Task[None]] = []
        self.app: str = demo.known["apps"]["feed"]
        self.employees: list[Employee] = []
        self.pending: set[object] = set()
        self.compared = 0
        self.overtaken: list[str] = []

    def arrive(self, population: str, names: Iterable[str], stay: int | None = None) -> None:
        """``stay``: requests until they go home; None: until ``go_home``."""
        for name in names:
            session = aiohttp.ClientSession(connector=self._shared.connector, connector_owner=False)
            employee = Employee(name, population, session)
            self.employees.append(employee)
            self._visits.append(self._tasks.create_task(self._visit(employee, stay)))

    async def go_home(self) -> None:
        """Whoever is still there breaks off, without a word."""
        for visit in self._visits:
            visit.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)

    def count(self, state: str, population: str | None = None) -> int:
        return sum(
            each.state == state and population in (None, each.population) for each in self.employees
        )

    def seated(self) -> list[Employee]:
        return [each for each in self.employees if each.state == "seated"]

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not holds():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            states = Counter((each.population, each.state) for each in self.employees)
            wrong = [wrong for each in self.employees for wrong in each.wrong][:3]
            raise AssertionError(f"not seen: {what}; {dict(states)}; {wrong}") from None

    async def fetch(self, employee: Employee, path: str) -> None:
        """One request of somebody seated, whose answer is kept."""
        request = object()
        self.pending.add(request)
        try:
            async with employee.session.get(self.app + path, headers=ASKED) as answer:
                text = await answer.text()
        finally:
            self.pending.discard(request)
        employee.statuses[answer.status] += 1
        if answer.status != 200:
            employee.wrong.append(f"{employee.name}: {path} answered {answer.status} {text[:200]}")

    async def standing(self, name: str) -> str:
        """As the ledger has it at this moment, not as a worker heard it last."""
        headers = {"Authorization": f"Bearer {self._demo.known['admin_token']}"}
        url = f"{self._demo.known['admin']}/api/v1/waiting/{name}"
        while True:
            async with self._shared.get(url, headers=headers) as answer:
                found: dict[str, Any] = await answer.json()
            if answer.status == 404:
                return "gone"
            if answer.status == 200:
                return str(found["state"])
            assert answer.status == 503, found
            await asyncio.sleep(0.1)

    async def _visit(self, employee: Employee, stay: int | None) -> None:
        async with employee.session:
            browser = Browser(employee.session, self.app)
            async with self._door:
                employee.came = self._now()
                page = await self._log_in(browser, employee)
            if page.outcome == "waiting":
                employee.number = _ticket_number(employee.session)
                employee.waits = self._now()
                employee.state = "waiting"
                while _out_of_breath(page := await browser.wait_for_a_seat()):
                    await asyncio.sleep(page.retry_after or 1.0)
            employee.state = page.outcome
            if page.outcome != "seated":
                employee.wrong.append(f"{employee.name}: {page.status} {page.text[:2000]}")
                return
            await self._compare(employee)
            while stay is None or employee.statuses.total() < stay:
                await self.fetch(employee, "/api/whoami")
                await asyncio.sleep(THINK if stay is None else LOOK_IN)
            employee.state = "left"
            while _out_of_breath(page := await browser.log_out()):
                await asyncio.sleep(page.retry_after or 1.0)

    async def _log_in(self, browser: Browser, employee: Employee) -> Page:
        """To the application. On a crowded machine directory or ledger may be out of breath: their
        pages ask to try again, and a login whose way back was lost lands on "my session", from
        where people go on by themselves."""
        while True:
            page = await browser.log_in(employee.name, self._demo.known["password"])
            if _out_of_breath(page):
                await asyncio.sleep(page.retry_after or 1.0)
            elif page.outcome != "seated" or page.url.startswith(self.app):
                return page

    async def _compare(self, employee: Employee) -> None:
        """Nobody may still be waiting who was there before: with a lower number, or, where the seat
        was free at once, before the login began."""
        mine = employee.number
        before = [
            each
            for each in self.employees
            if each.state == "waiting"
            and each.population == employee.population
            and (each.waits < employee.came if mine is None else _number(each) < mine)
        ]
        if not before:
            return
        first = min(before, key=_number)
        self.compared += 1
        if await self.standing(first.name) == "waiting":
            self.overtaken.append(f"{first.name} ({first.number}) by {employee.name} ({mine})")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _number(employee: Employee) -> int:
    assert employee.number is not None, f"{employee.name} waits without a ticket"
    return employee.number


def _ticket_number(session: aiohttp.ClientSession) -> int:
    """What the browser's ticket says; its signature is the broker's business."""
    (ticket,) = {cookie.value for cookie in session.cookie_jar if cookie.key == TICKET}
    claims = ticket.split(".")[1]
    return int(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["num"])


def _out_of_breath(page: Page) -> bool:
    return page.status in (429, 503) and page.outcome != "waiting"
