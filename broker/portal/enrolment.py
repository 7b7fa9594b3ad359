"""Setting up a second factor: a secret is offered, and kept once a code proves that it arrived.

The offer lies sealed in the note of the half login. What is kept is the ledger's decision: whoever
has a factor keeps that one, and while enrolment is closed nobody gets one.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote

from broker.errors import BrokerError, FactorMissing
from broker.ledger.port import Factor
from broker.policy.second_factor import read_code, written
from broker.portal import cookies
from broker.portal.codes import Fault
from broker.portal.failures import failure
from broker.portal.qr import qr_image
from broker.portal.visit import VISIT
from broker.site.factors import recovery_digest
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from broker.ledger.port import Ledger
    from broker.portal.half_login import HalfLogin, HalfLogins
    from broker.portal.opening import Opening
    from broker.portal.pages import Pages
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)


class OfferSecrets(Protocol):
    """What is asked of ``site.factors``."""

    def fresh_secret(self) -> str: ...

    def seal(self, secret: str, employee: str, factor_id: str) -> str: ...

    def unseal(self, sealed: str, employee: str, factor_id: str) -> str: ...

    def matching_step(self, secret: str, code: str) -> int | None: ...

    def address(self, secret: str, employee: str, company: str) -> str: ...

    def recovery_codes(self) -> tuple[str, ...]: ...


class Enrolment:
    """``counted`` is told the outcome of every code."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        factors: OfferSecrets,
        pages: Pages,
        opening: Opening,
        halves: HalfLogins,
        counted: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._factors = factors
        self._pages = pages
        self._opening = opening
        self._halves = halves
        self._counted = counted

    async def with_offer(self, request: web.Request, half: HalfLogin) -> HalfLogin:
        """Another tab that is half logged in as the same employee shows a secret already: the same
        one, or the code of one tab would be wrong in the other."""
        name = half.employee.name
        earlier = await self._halves.of(request)
        if earlier is not None and earlier.offered and earlier.employee.name == name:
            return replace(half, offered=earlier.offered, factor_id=earlier.factor_id)
        factor_id = secrets.token_hex(8)
        offered = self._factors.seal(self._factors.fresh_secret(), name, factor_id)
        return replace(half, offered=offered, factor_id=factor_id)

    def page(
        self, request: web.Request, half: HalfLogin, *, status: int, **shown: str
    ) -> web.Response:
        """What is offered, as a QR code and in letters."""
        name = half.employee.name
        secret = self._factors.unseal(half.offered, name, half.factor_id)
        address = self._factors.address(secret, name, self._plan.company)
        return self._pages.page(
            request[VISIT],
            "factor_enrol.html",
            status=status,
            address=address,
            image=qr_image(address),
            key=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
            **shown,
        )

    async def set_up(
        self, request: web.Request, half: HalfLogin, typed: str
    ) -> web.Response | Fault | Literal["exists", "revoked"]:
        """The first code proves that the employee has the secret; then it is kept, with the digests
        of the recovery codes, which are shown this once. ``exists``: one was set up in another
        browser meanwhile; ``revoked``: so were the employee's sessions. Raises FactorMissing when
        none may be."""
        name = half.employee.name
        if not half.offered:
            raise FactorMissing("the second factor was reset while a code was asked for")
        secret = self._factors.unseal(half.offered, name, half.factor_id)
        code = read_code(typed)
        step = None if code is None else self._factors.matching_step(secret, code)
        if step is None:
            self._counted("wrong_code")
            translate = gettext(request[VISIT].language)
            return Fault(
                401,
                translate(
                    "This code is not right. Please type the six digits that the app shows now for "
                    "this account, and check that the phone sets its clock by itself."
                ),
            )
        codes = self._factors.recovery_codes()
        digests = tuple(recovery_digest(each, half.factor_id) for each in codes)
        factor = Factor(half.factor_id, half.offered, step, digests)
        population = self._opening.population(half.employee) or ""
        answer = await self._ledger.enrol(name, factor, population, half.proved_ms)
        if answer == "closed":
            raise FactorMissing("enrolment was closed meanwhile")
        if answer != "enrolled":
            return answer
        log.info("a second factor was set up")
        return await self._enrolled(request, half, codes)

    async def _enrolled(
        self, request: web.Request, half: HalfLogin, codes: Sequence[str]
    ) -> web.Response:
        """Logged in, and the recovery codes. They are shown whatever becomes of the session: it can
        be had again, they cannot."""
        query = f"?next={half.return_id}" if half.return_id else ""
        plain = "".join(f"{written(each)}\r\n" for each in codes)
        response = self._pages.page(
            request[VISIT],
            "factor_recovery.html",
            codes=[written(each) for each in codes],
            download=f"data:text/plain;charset=utf-8,{quote(plain)}",
            onward=f"/.broker/login{query}",
        )
        cookies.clear(response, cookies.HALF)
        try:
            if await self._halves.end(half):
                record = await self._opening.session(
                    request, request[VISIT], half.employee, "totp", half.proved_ms
                )
                self._opening.plant(request, response, record)
                self._counted("ok")
        except BrokerError as error:
            outcome, _, _ = failure(error)
            self._counted(outcome)
            log.warning("no session after a second factor was set up: %s", error.reason)
        return response
