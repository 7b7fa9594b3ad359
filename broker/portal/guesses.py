"""Around a login: what earlier wrong passwords lead to, and which browsers are known.

A try is counted before the password goes to the directory, on the canonical name, so that many at
once count as many; it is taken back when the directory could not tell, and forgotten when the
password was right. The rules are ``policy/guessing.py``'s, the counts the ledger's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from broker.errors import (
    AccountRefused,
    BrokerError,
    Busy,
    PasswordExpired,
    TooManyGuesses,
    WrongPassword,
)
from broker.policy.guessing import CODES, bannable, one_spelling
from broker.portal import cookies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from aiohttp import web

    from broker.ledger.port import Ledger
    from broker.policy.guessing import GuessRules
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)

DELAYED_PER_NAME = 16
DELAYED = 1024
"""Tries that may wait at a time, for one name and in all; more are told Busy."""
KNOWN_SECONDS = 180 * 86_400


class KnownBrowsers(Protocol):
    """What is asked of ``site.tokens``."""

    def known_browser(
        self, employee: str, browser: str, seconds: int, *, by_factor: bool
    ) -> str: ...

    def read_known_browser(self, cookie: str) -> tuple[str, str, bool] | None:
        """Employee, browser id and whether it is known by a second factor, or None."""
        ...


class Guesses:
    """``counted``: told the kind of each ban that a try has brought, and ``delayed`` for each try
    that had to wait."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        tokens: KnownBrowsers,
        counted: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._tokens = tokens
        self._counted = counted
        self._waiting: Counter[str] = Counter()

    async def attempt(self, request: web.Request, address: str) -> Attempt:
        """One try that begins. Raises TooManyGuesses when its address is banned."""
        counted = bannable(address, self._plan.trusted_addresses)
        known = self._tokens.read_known_browser(request.cookies.get(cookies.KNOWN, ""))
        if counted and known is None and (left := await self._ledger.banned(counted)):
            raise TooManyGuesses("banned by address", left / 1000)
        return Attempt(self, counted, known)

    async def count(self, employee: str, address: str, browser: str) -> tuple[str, ...]:
        """Count a try and wait as long as it must. Raises TooManyGuesses, Busy."""
        answer = await self._ledger.guess(employee, address, browser, self._plan.guesses)
        for kind, many in (("pair", answer.pairs_banned), ("address", answer.addresses_banned)):
            if many:
                self._counted(kind)
        if answer.verdict != "allowed":
            raise TooManyGuesses(f"banned by {answer.verdict}", answer.wait_ms / 1000)
        if answer.wait_ms:
            self._counted("delayed")
            with self._room(employee):
                await asyncio.sleep(answer.wait_ms / 1000)
        return answer.tallies

    async def count_code(
        self, request: web.Request, employee: str, rules: GuessRules
    ) -> tuple[str, ...]:
        """Count a code of a second factor before it is looked at; for ``settle`` when it was right.
        Whoever enters one knows the password, and may come from anywhere: all browsers that are not
        known count together, a known one by itself. Known by a password alone is not enough here:
        a thief of it may have made any number of such browsers known, before a second factor was
        asked for or where it is not. Raises TooManyGuesses."""
        known = self._tokens.read_known_browser(request.cookies.get(cookies.KNOWN, ""))
        browser = f"{CODES}/{known[1]}" if known and known[0] == employee and known[2] else ""
        answer = await self._ledger.guess(employee, CODES, browser, rules)
        if answer.pairs_banned:
            self._counted("codes")
            log.warning("wrong codes after a right password, see broker bans list: is it stolen?")
        if answer.verdict != "allowed":
            raise TooManyGuesses("too many wrong codes", answer.wait_ms / 1000)
        return answer.tallies

    async def settle(self, tallies: tuple[str, ...], *, right: bool) -> None:
        if tallies:
            await self._ledger.settle_guess(tallies, right=right)

    def remember(
        self,
        request: web.Request,
        response: web.StreamResponse,
        employee: str,
        *,
        by_factor: bool,
    ) -> None:
        """From now on this browser is known to be the employee's. ``by_factor``: a second factor
        was used just now."""
        known = self._tokens.read_known_browser(request.cookies.get(cookies.KNOWN, ""))
        browser = secrets.token_hex(16)
        if known and known[0] == employee:
            browser, by_factor = known[1], by_factor or known[2]
        token = self._tokens.known_browser(employee, browser, KNOWN_SECONDS, by_factor=by_factor)
        cookies.plant(response, cookies.KNOWN, token, KNOWN_SECONDS)

    @contextlib.contextmanager
    def _room(self, employee: str) -> Iterator[None]:
        """Who waits holds a connection and some memory: not without bound."""
        if self._waiting[employee] >= DELAYED_PER_NAME or self._waiting.total() >= DELAYED:
            raise Busy("too many delayed logins wait already")
        self._waiting[employee] += 1
        try:
            yield
        finally:
            self._waiting[employee] -= 1
            if not self._waiting[employee]:
                del self._waiting[employee]


class Attempt:
    """One try: ``gate`` is passed before the password is tried, inside ``judged``."""

    def __init__(self, guesses: Guesses, address: str, known: tuple[str, str, bool] | None) -> None:
        self._guesses = guesses
        self._address = address
        self._known = known
        self._tallies: tuple[str, ...] = ()

    @property
    def preferred(self) -> bool:
        """Whether somebody logged in with this browser before: strangers do not crowd it out."""
        return self._known is not None

    async def gate(self, employee: str) -> None:
        """``employee``: the canonical name; of one that was not found, the one spelling of it."""
        known = self._known
        mine = known is not None and employee in (known[0], one_spelling(known[0]))
        browser = known[1] if known is not None and mine else ""
        self._tallies = await self._guesses.count(employee, self._address, browser)

    @contextlib.asynccontextmanager
    async def judged(self) -> AsyncIterator[None]:
        """Around what tries the password: what it raises, or that it raises nothing, settles the
        try. Of a new password that is refused nothing is said about the old one."""
        try:
            yield
        except (WrongPassword, TooManyGuesses):
            raise
        except PasswordExpired:
            await self._settle(right=True)
            raise
        except AccountRefused as error:
            if error.proven:
                await self._settle(right=True)
            raise
        except BrokerError:
            await self._settle(right=False)
            raise
        await self._settle(right=True)

    async def _settle(self, *, right: bool) -> None:
        tallies, self._tallies = self._tallies, ()
        await self._guesses.settle(tallies, right=right)
