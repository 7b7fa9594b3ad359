"""Logging in, on the home host only: the form, the check, the new session.

The password goes to the directory and nowhere else: it is not logged, kept or shown again. Every
failure shows the form once more with one plain sentence; a wrong password and an unknown name are
told alike. The form is bound to the cookie ``__Host-broker-login``: its ``csrf`` field is a hash of
that cookie, which all tabs share.
"""

from __future__ import annotations

import logging
import math
import secrets
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from broker.errors import (
    BrokerError,
    Busy,
    LedgerAway,
    PasswordExpired,
    TooManyGuesses,
    WrongPassword,
)
from broker.ledger.port import Ledger, SessionRecord
from broker.policy.populations import population_of
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
    from broker.portal.guesses import Guesses
    from broker.portal.handover import Handover, Start
    from broker.portal.password import Password
    from broker.portal.plan import PortalPlan

log = logging.getLogger(__name__)

LONGEST_NAME = 256
LONGEST_AGENT = 200
LATER = 10  # seconds until a login that could not be decided is worth another try


class SessionTokens(Protocol):
    """What the login asks of ``site.tokens``."""

    def session_cookie(self, record: SessionRecord, host: str) -> str: ...


class Login:
    """``counted`` is told the outcome of every attempt (``ok`` or that of a failure). ``jitter``:
    0..1, at random."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        directory: Directory,
        tokens: SessionTokens,
        pages: Pages,
        handover: Handover,
        guesses: Guesses,
        password: Password,
        counted: Callable[[str], None],
        jitter: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._directory = directory
        self._tokens = tokens
        self._pages = pages
        self._handover = handover
        self._guesses = guesses
        self._password = password
        self._counted = counted
        self._jitter = jitter

    # --- the form

    async def form(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        return_id = request.query.get("next", "")
        if visit.identity is not None:
            session_id = visit.identity.session_id
            # The gateway may not have heard yet of a logout a moment ago: the record decides.
            if await self._ledger.session(session_id) is not None:
                return redirect(await self._onward(request, return_id, session_id))
        translate = gettext(visit.language)
        note = translate("You are logged out.") if "out" in request.query else ""
        if "changed" in request.query:
            note = translate("Your password has been changed. Please log in with the new one.")
        return await self._show(request, return_id, note=note)

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
            switch="/.broker/login?" + urlencode({"next": return_id} if start else {}),
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
            record = await self._open_session(request, visit, employee)
            address = await self._onward(request, return_id, record.id)
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
        token = self._tokens.session_cookie(record, visit.host)
        cookies.plant(arrived, cookies.SESSION, token)
        self._guesses.remember(request, arrived, employee.name)
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

    async def _open_session(
        self, request: web.Request, visit: Visit, employee: Employee
    ) -> SessionRecord:
        """A new session with a new id, whoever was logged in here before; and a seat asked for."""
        population = population_of(
            employee.groups, employee.attributes, self._plan.populations, employee.filters
        )
        now_ms = (await self._ledger.look(employee.name)).ledger_ms
        record = SessionRecord(
            id=secrets.token_hex(16),  # no secret, the signature is; and never looks like an option
            employee=employee.name,
            display_name=employee.display_name,
            population=population or "",
            groups=employee.groups,
            created_ms=now_ms,
            ends_ms=now_ms + int(self._plan.session_lifetime * 1000),
            last_seen_ms=now_ms,
            address=visit.address,
            agent=_storable(request.headers.get("User-Agent", ""))[:LONGEST_AGENT],
        )
        replaced = visit.identity is not None and visit.identity.employee == employee.name
        if visit.identity is not None and replaced:
            await self._ledger.end_session(visit.identity.session_id)
        evicted = await self._ledger.put_session(
            record,
            most=self._plan.sessions_per_employee,
            refuse=self._plan.refuse_more_sessions,
        )
        if record.id in evicted:
            raise Busy("This employee was logged out everywhere at this very moment.")
        if visit.identity is not None and not replaced:
            await self._ledger.end_session(visit.identity.session_id)
        if population is not None:
            await self._ledger.admit(employee.name, population)
        return record

    # --- onward

    async def _onward(self, request: web.Request, return_id: str, session_id: str) -> str:
        """To the application that was wanted, or to the employee's own page."""
        start = await self._handover.start(return_id)
        if start is None or self._plan.is_home(start.host):
            return f"{self._plan.home}/.broker/me"
        chosen = request.cookies.get(cookies.LANGUAGE, "")
        return await self._handover.landing_address(return_id, start, session_id, chosen)


def _storable(text: str) -> str:
    """Bytes that are no UTF-8 arrive as lone surrogates, which no record can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
