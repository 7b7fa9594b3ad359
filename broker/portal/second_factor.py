"""The second factor at the login, on the home host: the code, a recovery code, setting one up.

After the right password ``ask`` says whether more is needed; the session is opened here then, and
nowhere else. Which page is shown follows from what the ledger says at that moment, never from what
the browser asks for: whoever has a factor is asked for it and is never offered another one. A code
is counted before it is looked at, and used in one step in the ledger, so that of two who bring the
same one exactly one gets in. While the ledger is away or learning nobody is let in: what it has
forgotten must not look like a factor that never was.
"""

from __future__ import annotations

import logging
import math
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import quote

from broker.errors import BrokerError, FactorMissing, TooManyGuesses
from broker.ledger.port import Factor
from broker.policy.guessing import code_rules
from broker.policy.second_factor import asked, needs_factor, read_code, read_recovery, written
from broker.portal import cookies
from broker.portal.failures import failure
from broker.portal.forms import belongs, form_token, read_form
from broker.portal.half_login import HalfLogin, HalfLogins
from broker.portal.pages import redirect
from broker.portal.qr import qr_image
from broker.portal.visit import VISIT, same_origin
from broker.site.factors import recovery_digest
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from broker.directory.port import Employee
    from broker.ledger.port import Ledger
    from broker.portal.guesses import Guesses
    from broker.portal.opening import Opening
    from broker.portal.pages import Pages
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)

PATH = "/.broker/factor"


class FactorSecrets(Protocol):
    """What is asked of ``site.factors``."""

    def fresh_secret(self) -> str: ...

    def seal(self, secret: str, employee: str, factor_id: str) -> str: ...

    def unseal(self, sealed: str, employee: str, factor_id: str) -> str: ...

    def is_current(self, sealed: str) -> bool: ...

    def matching_step(self, secret: str, code: str) -> int | None: ...

    def address(self, secret: str, employee: str, company: str) -> str: ...

    def recovery_codes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class FactorOf:
    """What an employee may be told of their factor. ``since_ms``: civil time in milliseconds."""

    since_ms: int
    recovery_left: int


class SecondFactor:
    """``counted`` is told the outcome of every code, as that of a login."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        factors: FactorSecrets,
        pages: Pages,
        guesses: Guesses,
        opening: Opening,
        halves: HalfLogins,
        counted: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._factors = factors
        self._pages = pages
        self._guesses = guesses
        self._opening = opening
        self._halves = halves
        self._counted = counted

    async def factor_of(self, employee: str) -> FactorOf | None:
        """For the employee's own page; None for who has none. Raises LedgerAway, LedgerLearning."""
        factor = (await self._ledger.factor(employee)).factor
        return None if factor is None else FactorOf(factor.since_ms, len(factor.recovery))

    # --- after the password

    async def ask(
        self, request: web.Request, employee: Employee, return_id: str
    ) -> web.Response | None:
        """The way to the second factor, or None when none is needed. Raises FactorMissing when it
        is and cannot be had."""
        population = self._opening.population(employee)
        address = request[VISIT].address
        if not needs_factor(self._plan.factor, population, employee.groups, address):
            return None
        view = await self._ledger.factor(employee.name)
        proved_ms = (await self._ledger.look(employee.name)).ledger_ms
        kept = return_id if cookies.well_formed(return_id) else ""
        half = HalfLogin(employee, kept, proved_ms)
        match asked(enrolled=view.factor is not None, may_enrol=view.may_enrol_ms > 0):
            case "closed":
                raise FactorMissing("no second factor, and none may be set up at present")
            case "enrol":
                half = await self._with_offer(request, half)
        response = redirect(self._plan.home + PATH, 303)
        await self._halves.begin(request, response, half)
        return response

    async def _with_offer(self, request: web.Request, half: HalfLogin) -> HalfLogin:
        """Another tab that is half logged in as the same employee shows a secret already: the same
        one, or the code of one tab would be wrong in the other."""
        name = half.employee.name
        earlier = await self._halves.of(request)
        if earlier is not None and earlier.offered and earlier.employee.name == name:
            return replace(half, offered=earlier.offered, factor_id=earlier.factor_id)
        factor_id = secrets.token_hex(8)
        offered = self._factors.seal(self._factors.fresh_secret(), name, factor_id)
        return replace(half, offered=offered, factor_id=factor_id)

    # --- the pages

    async def form(self, request: web.Request) -> web.StreamResponse:
        half = await self._halves.of(request)
        if half is None:
            return redirect(f"{self._plan.home}/.broker/login")
        try:
            return await self._page(request, half)
        except BrokerError as error:
            return self._failed(request, error)

    async def submit(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if not same_origin(request.headers, visit.origin):
            self._counted("bad_form")
            return self._pages.error(visit, 403)
        form = await read_form(request)
        cookie = cookies.kept(request, cookies.LOGIN)
        if cookie is None or not belongs(form.get("csrf", ""), cookie):
            self._counted("bad_form")
            return self._pages.error(visit, 403)
        half = await self._halves.of(request)
        if half is None:
            return self._late("")
        try:
            factor = (await self._ledger.factor(half.employee.name)).factor
            if factor is None:
                return await self._enrol(request, half, form.get("code", ""))
            if "recovery" in form:
                return await self._recover(request, half, factor, form["recovery"])
            return await self._use(request, half, factor, form.get("code", ""))
        except BrokerError as error:
            return self._failed(request, error)

    async def _page(
        self,
        request: web.Request,
        half: HalfLogin,
        *,
        status: int = 200,
        fault: str = "",
        recovering: bool = False,
    ) -> web.Response:
        view = await self._ledger.factor(half.employee.name)
        cookie = cookies.kept(request, cookies.LOGIN)
        assert cookie is not None, "the half login is bound to it"
        shown = {"csrf": form_token(cookie), "fault": fault, "switch": f"{PATH}?"}
        if view.factor is not None:
            return self._pages.page(
                request[VISIT], "factor_code.html", status=status, recovering=recovering, **shown
            )
        if not half.offered or not view.may_enrol_ms:
            raise FactorMissing("no second factor, and none may be set up any more")
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

    # --- a code, a recovery code

    async def _use(
        self, request: web.Request, half: HalfLogin, factor: Factor, typed: str
    ) -> web.Response:
        translate, name = gettext(request[VISIT].language), half.employee.name
        code = read_code(typed)
        if code is None:
            fault = translate("A code has six digits.")
            return await self._page(request, half, status=422, fault=fault)
        secret = self._factors.unseal(factor.sealed, name, factor.id)
        try:
            rules = code_rules(self._plan.factor.tries, self._plan.factor.window_ms)
            tallies = await self._guesses.count_code(request, name, rules)
        except TooManyGuesses as error:
            self._counted("banned")
            fault = translate(
                "Too many wrong codes were entered. Please try again in %(minutes)s min, use a "
                "recovery code, or ask %(contact)s."
            ) % {
                "minutes": max(1, math.ceil(error.seconds / 60)),
                "contact": self._plan.contact,
            }
            response = await self._page(request, half, status=429, fault=fault, recovering=True)
            response.headers["Retry-After"] = str(math.ceil(error.seconds))
            return response
        step = self._factors.matching_step(secret, code)
        if step is None:
            self._counted("wrong_code")
            fault = translate(
                "This code is not right. Codes change every 30 seconds: please type the one that "
                "is shown now, and check that the phone sets its clock by itself."
            )
            return await self._page(request, half, status=401, fault=fault)
        if not await self._ledger.spend_step(name, factor.id, step):
            self._counted("wrong_code")
            fault = translate("This code has been used already. Please wait for the next one.")
            return await self._page(request, half, status=401, fault=fault)
        await self._guesses.settle(tallies, right=True)
        if not self._factors.is_current(factor.sealed):
            fresh = self._factors.seal(secret, name, factor.id)
            await self._ledger.reseal_factor(name, factor.id, fresh)
        return await self._arrive(request, half, "totp")

    async def _recover(
        self, request: web.Request, half: HalfLogin, factor: Factor, typed: str
    ) -> web.Response:
        """Tries are not counted: nobody guesses 80 bits, and so who is kept from entering codes
        because somebody else guesses them still gets in."""
        code = read_recovery(typed)
        name = half.employee.name
        if code is None or not await self._ledger.spend_recovery(
            name, factor.id, recovery_digest(code, factor.id)
        ):
            self._counted("wrong_code")
            translate = gettext(request[VISIT].language)
            fault = translate("This recovery code is not right, or has been used already.")
            return await self._page(request, half, status=401, fault=fault, recovering=True)
        log.warning("a recovery code was used, %d are left", len(factor.recovery) - 1)
        return await self._arrive(request, half, "recovery")

    async def _arrive(
        self, request: web.Request, half: HalfLogin, used: Literal["totp", "recovery"]
    ) -> web.Response:
        if not await self._halves.end(half):
            return self._late(half.return_id)
        record = await self._opening.session(
            request, request[VISIT], half.employee, used, half.proved_ms
        )
        response = redirect(await self._opening.onward(request, half.return_id, record.id), 303)
        self._opening.plant(request, response, record)
        cookies.clear(response, cookies.HALF)
        self._counted("ok")
        return response

    # --- setting one up

    async def _enrol(self, request: web.Request, half: HalfLogin, typed: str) -> web.Response:
        """Its first code proves that the employee has the secret; then it is kept, with the digests
        of the recovery codes, which are shown this once."""
        visit, name = request[VISIT], half.employee.name
        if not half.offered:
            raise FactorMissing("the second factor was reset while a code was asked for")
        secret = self._factors.unseal(half.offered, name, half.factor_id)
        code = read_code(typed)
        step = None if code is None else self._factors.matching_step(secret, code)
        if step is None:
            self._counted("wrong_code")
            translate = gettext(visit.language)
            fault = translate(
                "This code is not right. Please type the six digits that the app shows now for "
                "this account, and check that the phone sets its clock by itself."
            )
            return await self._page(request, half, status=401, fault=fault)
        codes = self._factors.recovery_codes()
        digests = tuple(recovery_digest(each, half.factor_id) for each in codes)
        factor = Factor(half.factor_id, half.offered, step, digests)
        answer = await self._ledger.enrol(name, factor)
        if answer == "closed":
            raise FactorMissing("enrolment was closed meanwhile")
        if answer == "exists":  # in another browser, meanwhile: its code is asked for
            return redirect(self._plan.home + PATH, 303)
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

    # --- what ends it

    def _late(self, return_id: str) -> web.Response:
        query = f"&next={return_id}" if return_id else ""
        return redirect(f"{self._plan.home}/.broker/login?late=1{query}", 303)

    def _failed(self, request: web.Request, error: BrokerError) -> web.Response:
        """Nothing is said about the code: it may be tried again, or the login begun anew."""
        outcome, status, sentence = failure(error)
        self._counted(outcome)
        if status >= 500:
            log.warning("a second factor could not be checked: %s", error.reason)
        translate = gettext(request[VISIT].language)
        return self._pages.message(
            request[VISIT],
            status,
            translate("You are not logged in"),
            translate(sentence) % {"contact": self._plan.contact},
            link=(PATH if status >= 500 else "/.broker/login", translate("Try again")),
        )
