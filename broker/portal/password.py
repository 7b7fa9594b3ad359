"""Changing a password that has expired, on the home host only, where the directory allows it.

Like a login: the old password can be guessed here too, so tries are counted and banned together
with those of the login form, and who has a second factor is asked for a code in the same form,
which is looked at only when the old password was right. Afterwards the employee logs in with the
new password; no session is opened here. Nothing typed is kept or shown again but the name.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from aiohttp import web

from broker.errors import BrokerError, TooManyGuesses, WrongPassword
from broker.portal import cookies
from broker.portal.codes import CodeRefused
from broker.portal.failures import failure
from broker.portal.forms import belongs, form_token, read_form
from broker.portal.pages import redirect
from broker.portal.visit import VISIT, same_origin
from broker.site.language import gettext

if TYPE_CHECKING:
    from broker.directory.port import Directory, Employee
    from broker.portal.guesses import Guesses
    from broker.portal.pages import Pages
    from broker.portal.plan import PortalPlan
    from broker.portal.second_factor import SecondFactor

log = logging.getLogger(__name__)

LONGEST_NAME = 256


class Password:
    def __init__(
        self,
        plan: PortalPlan,
        directory: Directory,
        pages: Pages,
        guesses: Guesses,
        second: SecondFactor,
    ) -> None:
        self._plan = plan
        self._directory = directory
        self._pages = pages
        self._guesses = guesses
        self._second = second

    async def form(self, request: web.Request) -> web.StreamResponse:
        self._require()
        return self.show(request, request.query.get("next", ""))

    def show(
        self,
        request: web.Request,
        return_id: str,
        *,
        status: int = 200,
        fault: str = "",
        username: str = "",
        expired: bool = False,
    ) -> web.Response:
        """``expired``: says why one is here. ``return_id`` is passed on to the login as it came."""
        cookie = cookies.kept(request, cookies.LOGIN) or cookies.fresh()
        response = self._pages.page(
            request[VISIT],
            "password.html",
            status=status,
            csrf=form_token(cookie),
            next=return_id,
            fault=fault,
            expired=expired,
            code=self._second.may_ask(request),
            username=username[:LONGEST_NAME],
            switch="/.broker/password?" + urlencode({"next": return_id} if return_id else {}),
        )
        cookies.plant(response, cookies.LOGIN, cookie)
        return response

    async def submit(self, request: web.Request) -> web.StreamResponse:
        self._require()
        visit = request[VISIT]
        translate = gettext(visit.language)
        if not same_origin(request.headers, visit.origin):
            return self._pages.error(visit, 403)
        form = await read_form(request)
        username, old, new, again, csrf, return_id = (
            form.get(name, "") for name in ("username", "password", "new", "again", "csrf", "next")
        )
        cookie = cookies.kept(request, cookies.LOGIN)
        fault, status = "", 422
        if cookie is None or not belongs(csrf, cookie):
            status = 403
            fault = translate(
                "This form was no longer valid, or your browser keeps no cookies for this site. "
                "Please try again."
            )
        elif new != again:
            fault = translate("The two new passwords are not the same.")
        elif new == old:
            fault = translate("The new password is the old one.")
        if fault:
            return self.show(request, return_id, status=status, fault=fault, username=username)
        try:
            await self._change(request, username, old, new, form.get("code", ""))
        except CodeRefused as error:
            refused = error.fault
            response = self.show(
                request,
                return_id,
                status=refused.status,
                fault=refused.sentence,
                username=username,
            )
            if refused.retry_after:
                response.headers["Retry-After"] = str(refused.retry_after)
            return response
        except BrokerError as error:
            outcome, status, sentence = failure(error)
            if status >= 500:
                log.warning("a password could not be changed: %s (%s)", error.reason, outcome)
            seconds = error.seconds if isinstance(error, TooManyGuesses) else 0.0
            fault = translate(sentence) % {
                "contact": self._plan.contact,
                "minutes": max(1, math.ceil(seconds / 60)),
            }
            return self.show(request, return_id, status=status, fault=fault, username=username)
        log.info("a password was changed from home")
        query = {"changed": "1", **({"next": return_id} if return_id else {})}
        return redirect(f"{self._plan.home}/.broker/login?{urlencode(query)}", 303)

    async def _change(
        self, request: web.Request, username: str, old: str, new: str, code: str
    ) -> None:
        async def permit(employee: Employee) -> None:
            await self._second.prove(request, employee, code)

        if len(username) > LONGEST_NAME:
            raise WrongPassword("longer than any name")
        attempt = await self._guesses.attempt(request, request[VISIT].address)
        async with attempt.judged():
            await self._directory.change_password(
                username,
                old,
                new,
                attempt.gate,
                preferred=attempt.preferred,
                permit=permit if self._second.may_ask(request) else None,
            )

    def _require(self) -> None:
        if not self._plan.password_change:
            raise web.HTTPNotFound
