"""My session: who I am here, my place, this browser, the time left, the way to the applications."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.portal.browsers import describe
from broker.portal.pages import Pages, redirect
from broker.portal.visit import VISIT

if TYPE_CHECKING:
    from aiohttp import web

    from broker.ledger.port import Ledger, SessionRecord
    from broker.portal.admitted import Admitted
    from broker.portal.plan import PortalPlan
    from broker.portal.visit import Visit


class Me:
    def __init__(self, plan: PortalPlan, ledger: Ledger, pages: Pages, admitted: Admitted) -> None:
        self._plan = plan
        self._ledger = ledger
        self._pages = pages
        self._admitted = admitted

    async def start(self, request: web.Request) -> web.StreamResponse:
        """``/`` of the home host."""
        known = await self._record(request[VISIT]) is not None
        return redirect(f"{self._plan.home}/.broker/{'me' if known else 'login'}")

    async def show(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        record = await self._record(visit)
        if record is None:
            return redirect(f"{self._plan.home}/.broker/login")
        answer = await self._ledger.look(record.employee)
        admitted = await self._admitted.populations()
        left_minutes = max(0, record.ends_ms - answer.ledger_ms) // 60_000
        return self._pages.page(
            visit,
            "me.html",
            record=record,
            answer=answer,
            admitted=admitted,
            may_enter=record.population in admitted or answer.state in ("seated", "called"),
            hours=left_minutes // 60,
            minutes=left_minutes % 60,
            browser=describe(record.agent),
            switch="/.broker/me?",
        )

    async def _record(self, visit: Visit) -> SessionRecord | None:
        if visit.identity is None:
            return None
        return await self._ledger.session(visit.identity.session_id)
