"""My session: who I am here, my place, my browsers, the time left, the way to the applications.

A form with ``log_out`` says which browsers to log out: the id of one of mine, ``others``, ``all``.
Whose they are is asked of the ledger, never of the form: nobody can end a session of somebody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broker.errors import LedgerLearning
from broker.policy.second_factor import needs_factor
from broker.portal import cookies
from broker.portal.admitted import admitted_in
from broker.portal.browsers import describe
from broker.portal.durations import duration
from broker.portal.forms import belongs, form_token, read_form
from broker.portal.pages import Pages, redirect
from broker.portal.visit import VISIT, same_origin
from broker.site.language import gettext

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiohttp import web

    from broker.ledger.port import Ledger, SeatAnswer, SessionRecord
    from broker.policy.limits import LimitsDocument
    from broker.portal.plan import PortalPlan
    from broker.portal.second_factor import FactorOf
    from broker.portal.visit import Visit


JUST_NOW = 90  # seconds


class MyBrowser(NamedTuple):
    """One of the employee's sessions as the page shows it. ``used`` and ``since`` (the login)
    are times ago; "" for just now, or for so lately that the ledger may not know better."""

    id: str
    name: str
    address: str
    here: bool
    used: str
    since: str


class Me:
    """``factor_of`` tells of an employee's second factor; it may raise LedgerLearning."""

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        pages: Pages,
        factor_of: Callable[[str], Awaitable[FactorOf | None]],
    ) -> None:
        self._factor_of = factor_of
        self._plan = plan
        self._ledger = ledger
        self._pages = pages

    async def start(self, request: web.Request) -> web.StreamResponse:
        """``/`` of the home host."""
        known = await self._record(request[VISIT]) is not None
        return redirect(f"{self._plan.home}/.broker/{'me' if known else 'login'}")

    async def show(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        record = await self._record(visit)
        if record is None:
            return redirect(f"{self._plan.home}/.broker/login")
        return await self._page(request, record)

    async def _page(
        self, request: web.Request, record: SessionRecord, *, status: int = 200, fault: str = ""
    ) -> web.Response:
        visit = request[VISIT]
        answer = await self._ledger.look(record.employee)
        limits = await self._ledger.limits()
        mine = await self._ledger.sessions(record.employee)
        admitted = admitted_in(limits)
        factor = await self._factor(record.employee)
        cookie = cookies.kept(request, cookies.LOGIN) or cookies.fresh()
        response = self._pages.page(
            visit,
            "me.html",
            status=status,
            record=record,
            answer=answer,
            admitted=admitted,
            may_enter=record.population in admitted or answer.state in ("seated", "called"),
            left=duration(max(0, record.ends_ms - answer.ledger_ms) // 1000),
            browsers=self._browsers(mine, record.id, answer.ledger_ms),
            lately=duration(round(self._plan.last_use_within)),
            idle=_idle(answer, limits),
            factor=factor,
            factor_shown=factor is not None
            or needs_factor(self._plan.factor, record.population, record.groups, visit.address),
            csrf=form_token(cookie),
            note=_note(request.query.get("out", ""), visit),
            fault=fault,
            switch="/.broker/me?",
        )
        cookies.plant(response, cookies.LOGIN, cookie)
        return response

    def _browsers(self, mine: Sequence[SessionRecord], here: str, now_ms: int) -> list[MyBrowser]:
        """This one first, then the one used last."""

        def shown(record: SessionRecord) -> MyBrowser:
            age = max(0, now_ms - record.created_ms) // 1000
            silent = max(0, now_ms - max(record.last_seen_ms, record.created_ms)) // 1000
            return MyBrowser(
                record.id,
                describe(record.agent),
                record.address,
                record.id == here,
                "" if silent <= self._plan.last_use_within else duration(silent),
                "" if age < JUST_NOW else duration(age),
            )

        order = sorted(mine, key=lambda each: (each.id != here, -each.last_seen_ms, each.id))
        return [shown(record) for record in order]

    async def _factor(self, employee: str) -> FactorOf | None:
        try:
            return await self._factor_of(employee)
        except LedgerLearning:
            return None

    # --- logging browsers out

    async def log_out(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if not same_origin(request.headers, visit.origin):
            return self._pages.error(visit, 403)
        record = await self._record(visit)
        if record is None:
            return redirect(f"{self._plan.home}/.broker/login", 303)
        form = await read_form(request)
        cookie = cookies.kept(request, cookies.LOGIN)
        if cookie is None or not belongs(form.get("csrf", ""), cookie):
            translate = gettext(visit.language)
            fault = translate("This page was too old. Nothing was changed; please try again.")
            return await self._page(request, record, status=403, fault=fault)
        which = form.get("log_out", "")
        if which == "all":
            await self._ledger.revoke("employee", record.employee)
            response = redirect(f"{self._plan.home}/.broker/login?out=all", 303)
            cookies.clear(response, cookies.SESSION, cookies.TICKET, cookies.LOGIN)
            return response
        for other in await self._ledger.sessions(record.employee):
            if other.id != record.id and which in ("others", other.id):
                await self._ledger.end_session(other.id)
        told = "others" if which == "others" else "one"
        return redirect(f"{self._plan.home}/.broker/me?out={told}", 303)

    async def _record(self, visit: Visit) -> SessionRecord | None:
        if visit.identity is None:
            return None
        return await self._ledger.session(visit.identity.session_id)


def _idle(answer: SeatAnswer, limits: LimitsDocument | None) -> tuple[str, str] | None:
    """Of a seat: the idle time after which somebody who waits may get it, and what is left of it
    ("": nothing)."""
    if answer.idle_ms is None or limits is None:
        return None
    left = limits.idle_ms - answer.idle_ms
    return duration(limits.idle_ms // 1000), duration(left // 1000) if left > 0 else ""


def _note(out: str, visit: Visit) -> str:
    translate = gettext(visit.language)
    return {
        "one": translate("That browser is logged out."),
        "others": translate("All your other browsers are logged out."),
    }.get(out, "")
