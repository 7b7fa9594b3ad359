"""The second factor at the login, on the home host: whether one is asked for, and which page.

After the right password ``ask`` says whether more is needed; the session is opened behind this
page then, and nowhere else. Which page is shown follows from what the ledger says at that moment,
never from what the browser asks for: whoever has a factor is asked for it (``codes``) and is never
offered another one; who has none may be let set one up (``enrolment``). While the ledger is away or
learning nobody is let in: what it has forgotten must not look like a factor that never was.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from broker.errors import BrokerError, FactorMissing
from broker.policy.second_factor import asked, excepted, needs_factor
from broker.portal import cookies
from broker.portal.codes import Codes, CodeSecrets, Fault
from broker.portal.enrolment import Enrolment, OfferSecrets
from broker.portal.failures import failure
from broker.portal.forms import belongs, form_token, read_form
from broker.portal.half_login import HalfLogin, HalfLogins
from broker.portal.pages import redirect
from broker.portal.visit import VISIT, same_origin
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiohttp import web

    from broker.directory.port import Employee
    from broker.ledger.port import Factor, Ledger
    from broker.portal.guesses import Guesses
    from broker.portal.opening import Opening
    from broker.portal.pages import Pages
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)

PATH = "/.broker/factor"


class FactorSecrets(CodeSecrets, OfferSecrets, Protocol):
    """What is asked of ``site.factors``."""


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
        self._pages = pages
        self._opening = opening
        self._halves = halves
        self._counted = counted
        self._codes = Codes(plan, ledger, factors, guesses, counted)
        self._enrolment = Enrolment(plan, ledger, factors, pages, opening, halves, counted)

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
        if not self._needed(request, employee):
            return None
        view = await self._ledger.factor(employee.name)
        proved_ms = (await self._ledger.look(employee.name)).ledger_ms
        kept = return_id if cookies.well_formed(return_id) else ""
        half = HalfLogin(employee, kept, proved_ms)
        match asked(enrolled=view.factor is not None, may_enrol=view.may_enrol_ms > 0):
            case "closed":
                raise FactorMissing("no second factor, and none may be set up at present")
            case "enrol":
                half = await self._enrolment.with_offer(request, half)
        response = redirect(self._plan.home + PATH, 303)
        await self._halves.begin(request, response, half)
        return response

    def _needed(self, request: web.Request, employee: Employee) -> bool:
        population = self._opening.population(employee)
        address = request[VISIT].address
        return needs_factor(self._plan.factor, population, employee.groups, address)

    # --- before a password that has expired is changed

    def may_ask(self, request: web.Request) -> bool:
        """Whether anybody who comes from there needs one."""
        rules = self._plan.factor
        return rules.on and not excepted(request[VISIT].address, rules.except_from)

    async def prove(self, request: web.Request, employee: Employee, typed: str) -> None:
        """A code, or a recovery code, of who would be asked for one at the login: or the password
        alone would take the account from its owner. Who may set one up is let pass, as whoever has
        the password is there. Raises CodeRefused, FactorMissing, LedgerAway, FactorUnreadable."""
        if not self._needed(request, employee):
            return
        view = await self._ledger.factor(employee.name)
        if view.factor is not None:
            await self._codes.either(request, employee.name, view.factor, typed)
        elif asked(enrolled=False, may_enrol=view.may_enrol_ms > 0) == "closed":
            raise FactorMissing("no second factor, and none may be set up at present")

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
            return await self._enter(request, half, factor, form)
        except BrokerError as error:
            return self._failed(request, error)

    async def _page(
        self, request: web.Request, half: HalfLogin, fault: Fault | None = None
    ) -> web.Response:
        """``fault``: of what was typed before."""
        view = await self._ledger.factor(half.employee.name)
        cookie = cookies.kept(request, cookies.LOGIN)
        assert cookie is not None, "the half login is bound to it"
        status = 200 if fault is None else fault.status
        shown = {
            "csrf": form_token(cookie),
            "fault": "" if fault is None else fault.sentence,
            "switch": f"{PATH}?",
        }
        if view.factor is not None:
            recovering = fault is not None and fault.recovering
            response = self._pages.page(
                request[VISIT], "factor_code.html", status=status, recovering=recovering, **shown
            )
        elif half.offered and view.may_enrol_ms:
            response = self._enrolment.page(request, half, status=status, **shown)
        else:
            raise FactorMissing("no second factor, and none may be set up any more")
        if fault is not None and fault.retry_after:
            response.headers["Retry-After"] = str(fault.retry_after)
        return response

    # --- what was typed

    async def _enrol(self, request: web.Request, half: HalfLogin, typed: str) -> web.Response:
        done = await self._enrolment.set_up(request, half, typed)
        if done == "exists":  # in another browser, meanwhile: its code is asked for
            return redirect(self._plan.home + PATH, 303)
        if done == "revoked":
            await self._halves.end(half)
            return self._late(half.return_id)
        return await self._page(request, half, done) if isinstance(done, Fault) else done

    async def _enter(
        self, request: web.Request, half: HalfLogin, factor: Factor, form: Mapping[str, str]
    ) -> web.Response:
        """With a recovery code where one was typed, else with a code."""
        name = half.employee.name
        used: Literal["totp", "recovery"] = "recovery" if "recovery" in form else "totp"
        if used == "recovery":
            fault = await self._codes.recover(request, name, factor, form["recovery"])
        else:
            fault = await self._codes.use(request, name, factor, form.get("code", ""))
        if fault is not None:
            return await self._page(request, half, fault)
        return await self._arrive(request, half, used)

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
