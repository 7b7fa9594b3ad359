"""The pages of one plan, joined, and how many requests are among them at this moment.

After a reload there are two of these for a while: requests that began under the old plan end under
it. Nothing here knows of reloads; ``app.py`` chooses.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from broker.portal.admitted import Admitted
from broker.portal.front import Front, Verifier
from broker.portal.guesses import Guesses, KnownBrowsers
from broker.portal.half_login import HalfLogins, HalfLoginTokens
from broker.portal.handover import Handover, HandoverTokens
from broker.portal.login import Login
from broker.portal.logout import Logout
from broker.portal.me import Me
from broker.portal.opening import Opening
from broker.portal.pages import Pages
from broker.portal.password import Password
from broker.portal.second_factor import FactorSecrets, SecondFactor
from broker.portal.style import Style
from broker.portal.switching import Switching
from broker.portal.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.directory.port import Directory
    from broker.ledger.port import Ledger
    from broker.portal.plan import PortalPlan


class PortalTokens(Verifier, HandoverTokens, KnownBrowsers, HalfLoginTokens, Protocol):
    """What the portal asks of ``site.tokens``."""

    def jwks(self) -> dict[str, Any]: ...


class Parts:
    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        directory: Directory,
        tokens: PortalTokens,
        factors: FactorSecrets,
        counted: Callable[[str], None],
        guarded: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self.style = Style(plan)
        pages = Pages(plan, self.style, jitter)
        admitted = Admitted(ledger)
        self.front = Front(plan, tokens, pages)
        self.handover = Handover(plan, ledger, tokens, pages)
        guesses = Guesses(plan, ledger, tokens, guarded)
        opening = Opening(plan, ledger, tokens, self.handover, guesses)
        halves = HalfLogins(ledger, tokens)
        self.second_factor = SecondFactor(
            plan, ledger, factors, pages, guesses, opening, halves, counted
        )
        self.password = Password(plan, directory, pages, guesses, self.second_factor)
        self.login = Login(
            plan,
            ledger,
            directory,
            pages,
            self.handover,
            guesses,
            opening,
            self.password,
            self.second_factor,
            counted,
            jitter,
        )
        self.logout = Logout(plan, ledger, pages)
        self.me = Me(plan, ledger, pages, self.second_factor.factor_of)
        self.waiting = Waiting(pages, self.handover, admitted, jitter)
        self.language = Switching()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Around each request."""
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    async def idle(self) -> None:
        """Returns when no request is under way."""
        await self._idle.wait()


PARTS: web.RequestKey[Parts] = web.RequestKey("parts", Parts)
