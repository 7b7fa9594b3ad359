"""Logging out: the session ends everywhere at once, not only on the host that was asked.

GET shows a button and changes nothing. POST ends the session in the ledger (all its cookies on all
hosts become worthless within a second), clears this host's cookies and goes to the login page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.portal import cookies
from broker.portal.pages import Pages, redirect
from broker.portal.visit import VISIT, same_origin

if TYPE_CHECKING:
    from aiohttp import web

    from broker.ledger.port import Ledger
    from broker.portal.plan import PortalPlan


class Logout:
    def __init__(self, plan: PortalPlan, ledger: Ledger, pages: Pages) -> None:
        self._plan = plan
        self._ledger = ledger
        self._pages = pages

    async def ask(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        return self._pages.page(
            visit, "logout.html", identity=visit.identity, switch="/.broker/logout?"
        )

    async def end(self, request: web.Request) -> web.StreamResponse:
        """While the ledger is away this fails with 503 and keeps the cookie: without it, trying
        again could not name the session, which would live on on the other hosts."""
        visit = request[VISIT]
        if not same_origin(request.headers, visit.origin):
            return self._pages.error(visit, 403)
        if visit.identity is not None:
            await self._ledger.end_session(visit.identity.session_id)
        response = redirect(f"{self._plan.home}/.broker/login?out=1", 303)
        cookies.clear(response, cookies.SESSION, cookies.TICKET, cookies.LOGIN, cookies.HANDOVER)
        return response
