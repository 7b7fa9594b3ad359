"""Codes of a second factor that is set up, and recovery codes: right, wrong, or used already.

A code is counted before it is looked at, and used in one step in the ledger, so that of two who
bring the same one exactly one gets in. Opens nothing: whoever asks here lets them in.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broker.errors import BrokerError, TooManyGuesses
from broker.policy.guessing import code_rules
from broker.policy.second_factor import read_code, read_recovery
from broker.portal.visit import VISIT
from broker.site.factors import recovery_digest
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from broker.ledger.port import Factor, Ledger
    from broker.portal.guesses import Guesses
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)


class CodeSecrets(Protocol):
    """What is asked of ``site.factors``."""

    def seal(self, secret: str, employee: str, factor_id: str) -> str: ...

    def unseal(self, sealed: str, employee: str, factor_id: str) -> str: ...

    def is_current(self, sealed: str) -> bool: ...

    def matching_step(self, secret: str, code: str) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with what was typed, for the page that is shown again. ``recovering``: with the
    field for a recovery code; ``retry_after``: seconds, 0: at once."""

    status: int
    sentence: str
    recovering: bool = False
    retry_after: int = 0


class CodeRefused(BrokerError):
    """No code of a second factor, or a wrong one, where one is asked for in another form."""

    status = 401

    def __init__(self, fault: Fault) -> None:
        super().__init__("no right code of a second factor")
        self.fault = fault


class Codes:
    """``counted`` is told the outcome of every code that is refused."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        factors: CodeSecrets,
        guesses: Guesses,
        counted: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._factors = factors
        self._guesses = guesses
        self._counted = counted

    async def use(
        self, request: web.Request, name: str, factor: Factor, typed: str
    ) -> Fault | None:
        """None: it is right, and used up. Raises LedgerAway, FactorUnreadable."""
        translate = gettext(request[VISIT].language)
        code = read_code(typed)
        if code is None:
            return Fault(422, translate("A code has six digits."))
        secret = self._factors.unseal(factor.sealed, name, factor.id)
        try:
            rules = code_rules(self._plan.factor.tries, self._plan.factor.window_ms)
            tallies = await self._guesses.count_code(request, name, rules)
        except TooManyGuesses as error:
            self._counted("banned")
            sentence = translate(
                "Too many wrong codes were entered. Please try again in %(minutes)s min, use a "
                "recovery code, or ask %(contact)s."
            ) % {
                "minutes": max(1, math.ceil(error.seconds / 60)),
                "contact": self._plan.contact,
            }
            return Fault(429, sentence, recovering=True, retry_after=math.ceil(error.seconds))
        step = self._factors.matching_step(secret, code)
        if step is None:
            self._counted("wrong_code")
            return Fault(
                401,
                translate(
                    "This code is not right. Codes change every 30 seconds: please type the one "
                    "that is shown now, and check that the phone sets its clock by itself."
                ),
            )
        if not await self._ledger.spend_step(name, factor.id, step):
            self._counted("wrong_code")
            return Fault(
                401, translate("This code has been used already. Please wait for the next one.")
            )
        await self._guesses.settle(tallies, right=True)
        if not self._factors.is_current(factor.sealed):
            fresh = self._factors.seal(secret, name, factor.id)
            await self._ledger.reseal_factor(name, factor.id, fresh)
        return None

    async def either(self, request: web.Request, name: str, factor: Factor, typed: str) -> None:
        """A code or a recovery code, from one field. Raises CodeRefused, LedgerAway,
        FactorUnreadable."""
        fault: Fault | None
        if not typed.strip():
            translate = gettext(request[VISIT].language)
            sentence = translate(
                "Your account has a second factor: please type your passwords once more, and a "
                "code of it too."
            )
            fault = Fault(422, sentence)
        elif read_recovery(typed) is not None:
            fault = await self.recover(request, name, factor, typed)
        else:
            fault = await self.use(request, name, factor, typed)
        if fault is not None:
            raise CodeRefused(fault)

    async def recover(
        self, request: web.Request, name: str, factor: Factor, typed: str
    ) -> Fault | None:
        """None: it is right, and used up. Tries are not counted: nobody guesses 80 bits, and so who
        is kept from entering codes because somebody else guesses them still gets in."""
        code = read_recovery(typed)
        if code is None or not await self._ledger.spend_recovery(
            name, factor.id, recovery_digest(code, factor.id)
        ):
            self._counted("wrong_code")
            translate = gettext(request[VISIT].language)
            sentence = translate("This recovery code is not right, or has been used already.")
            return Fault(401, sentence, recovering=True)
        log.warning("a recovery code was used, %d are left", len(factor.recovery) - 1)
        return None
