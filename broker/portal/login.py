"""Logging in, on the home host only: the form, the check, the new session.

The password goes to the directory and nowhere else: it is not logged, kept or shown again. Every
failure shows the form once more with one plain sentence; a wrong password and an unknown name are
told alike. The form is bound to the cookie ``__Host-broker-login``: its ``csrf`` field is a hash of
that cookie, which all tabs share.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from broker.errors import (
    BrokerError,
    LedgerAway,
    PasswordExpired,
    TooManyGuesses,
    WrongPassword,
)
from broker.portal import cookies
from broker.portal.failures import failure
from broker.portal.forms import belongs, form_token, read_form
from broker.portal.pages import Pages, redirect, retry_seconds
from broker.portal.visit import VISIT, Visit, same_origin
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from broker.directory.port import Directory, Employee
    from broker.ledger.port import Ledger
    from broker.portal.guesses import Guesses
    from broker.portal.handover import Handover, Start
    from broker.portal.opening import Opening
    from broker.portal.password import Password
    from broker.portal.plan import PortalPlan
    from broker.portal.second_factor import SecondFactor

log = logging.getLogger(__name__)

LONGEST_NAME = 256
LATER = 10  # seconds until a login that could not be decided is worth another try


class Login:
    """``counted`` is told the outcome of every attempt (``ok`` or that of a failure). ``jitter``:
    0..1, at random."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        directory: Directory,
        pages: Pages,
        handover: Handover,
        guesses: Guesses,
        opening: Opening,
        password: Password,
        second: SecondFactor,
        counted: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._directory = directory
        self._pages = pages
        self._handover = handover
        self._guesses = guesses
        self._opening = opening
        self._password = password
        self._second = second
        self._counted = counted
        self._jitter = jitter

    # --- the form

    async def form(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        return_id = request.query.get("next", "")
        if visit.identity is not None and "again" not in request.query:
            session_id = visit.identity.session_id
            # The gateway may not have heard yet of a logout a moment ago: the record decides.
            if await self._ledger.session(session_id) is not None:
                return redirect(await self._opening.onward(request, return_id, session_id))
        translate = gettext(visit.language)
        note = translate("You are logged out.") if "out" in request.query else ""
        if request.query.get("out") == "all":
            note = translate("You are logged out of all your browsers.")
        username = ""
        if visit.identity is not None and "again" in request.query:
            username = visit.identity.employee
            note = translate(
                "A new session begins when you log in again, with its whole time before it. What "
                "is open keeps its place; save what you typed elsewhere first."
            )
        if "changed" in request.query:
            note = translate("Your password has been changed. Please log in with the new one.")
        if "late" in request.query:
            note = translate("That took too long, or was done already. Please log in again.")
        return await self._show(request, return_id, note=note, username=username)

    async def _show(
        self,
        request: web.Request,
        return_id: str,
        *,
        status: int = 200,
        fault: str = "",
        note: str = "",
        username: str = "",
    ) -> web.Response:
        visit = request[VISIT]
        start = await self._start_if_known(return_id)
        kept = {"next": return_id} if start else {}
        if "again" in request.query:
            kept["again"] = "1"
        cookie = cookies.kept(request, cookies.LOGIN) or cookies.fresh()
        response = self._pages.page(
            visit,
            "login.html",
            status=status,
            csrf=form_token(cookie),
            next=return_id if start else "",
            wanted=start.host.rpartition(":")[0] if start else "",
            fault=fault,
            note=note,
            username=username,
            ending="",  # whoever is here to log in need not be told to
            switch="/.broker/login?" + urlencode(kept),
        )
        if status == 503:
            response.headers["Retry-After"] = str(retry_seconds(LATER, self._jitter()))
        cookies.plant(response, cookies.LOGIN, cookie)
        return response

    async def _start_if_known(self, return_id: str) -> Start | None:
        """The form is shown even when the ledger is away: the sentence on it says so."""
        try:
            return await self._handover.start(return_id)
        except LedgerAway:
            return None

    # --- the check

    async def submit(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        translate = gettext(visit.language)
        if not same_origin(request.headers, visit.origin):
            self._counted("bad_form")
            return self._pages.error(visit, 403)
        form = await read_form(request)
        username, password, csrf, return_id = (
            form.get(name, "") for name in ("username", "password", "csrf", "next")
        )
        cookie = cookies.kept(request, cookies.LOGIN)
        if cookie is None or not belongs(csrf, cookie):
            self._counted("bad_form")
            fault = translate(
                "This form was no longer valid, or your browser keeps no cookies for this site. "
                "Please log in again."
            )
            return await self._show(
                request, return_id, status=403, fault=fault, username=username[:LONGEST_NAME]
            )
        try:
            if len(username) > LONGEST_NAME:
                raise WrongPassword("longer than any name")
            employee = await self._checked(request, visit, username, password)
            asked = await self._second.ask(request, employee, return_id)
            if asked is not None:  # no session yet: the password alone opens nothing
                self._counted("factor_asked")
                return asked
            record = await self._opening.session(request, visit, employee)
            address = await self._opening.onward(request, return_id, record.id)
        except BrokerError as error:
            outcome, status, sentence = failure(error)
            self._counted(outcome)
            if isinstance(error, PasswordExpired) and error.may_change:
                return self._password.show(
                    request, return_id, status=status, username=username, expired=True
                )
            if status >= 500:  # operations must hear of it; a person's own mistake is theirs
                log.warning("a login could not be decided: %s", error.reason)
            seconds = error.seconds if isinstance(error, TooManyGuesses) else 0.0
            fault = translate(sentence) % {
                "contact": self._plan.contact,
                "minutes": max(1, math.ceil(seconds / 60)),
            }
            response = await self._show(
                request, return_id, status=status, fault=fault, username=username[:LONGEST_NAME]
            )
            if seconds:
                response.headers["Retry-After"] = str(math.ceil(seconds))
            return response
        self._counted("ok")
        arrived = redirect(address, 303)
        self._opening.plant(request, arrived, record)
        return arrived

    async def _checked(
        self, request: web.Request, visit: Visit, username: str, password: str
    ) -> Employee:
        """Who it is, if the password is right."""
        attempt = await self._guesses.attempt(request, visit.address)
        async with attempt.judged():
            return await self._directory.login(
                username, password, attempt.gate, preferred=attempt.preferred
            )
