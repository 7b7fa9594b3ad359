"""The pages of somebody who is logged in and has no place: wait, not admitted, what was typed.

``wanted`` stands in for the page that was asked for, at its own address, so that a plain reload
enters; the waiting room itself, ``/.broker/wait``, goes on to where it was told when there is a
seat. Both reload by themselves without JavaScript, at an interval that grows with the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.ledger.port import Ledger, SeatAnswer
from broker.portal.pages import Pages, redirect
from broker.portal.visit import VISIT, Identity, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from broker.portal.admitted import Admitted
    from broker.portal.handover import Handover
    from broker.portal.plan import PortalPlan

PLACES_PER_SECOND = 20  # the further back, the rarer the reload


def refresh_seconds(position: int | None, bounds: tuple[int, int], jitter: float) -> int:
    """Seconds until the page reloads: by place, within ``bounds``, spread by up to a quarter so
    that those who came together do not come back together. ``jitter`` is 0..1."""
    least, most = bounds
    seconds = min(most, least + (position or 0) / PLACES_PER_SECOND)
    return round(seconds * (1 + jitter / 4))


class Waiting:
    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        pages: Pages,
        handover: Handover,
        admitted: Admitted,
        jitter: Callable[[], float],
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._pages = pages
        self._handover = handover
        self._admitted = admitted
        self._jitter = jitter

    # --- in place of the wanted page

    async def wanted(self, request: web.Request) -> web.StreamResponse:
        """The gateway has just asked for a seat and got none: only the place is looked up."""
        visit = request[VISIT]
        if visit.identity is None:
            return self._pages.error(visit, 403)
        try:
            answer = await self._ledger.look(visit.identity.employee)
        except LedgerAway:
            if visit.state not in ("waiting", "learning"):
                raise
            # Away only now: what the gateway heard a moment ago is still true, without the place.
            answer = SeatAnswer("learning" if visit.state == "learning" else "waiting")
        if answer.state == "not_admitted":
            return await self._not_admitted(visit, visit.identity)
        return self._wait_page(visit, answer, status=503)

    async def not_admitted(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if visit.identity is None:
            return self._pages.error(visit, 403)
        return await self._not_admitted(visit, visit.identity)

    async def body_lost(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        response = self._pages.page(
            visit, "body_lost.html", status=503, stranger=visit.identity is None
        )
        response.headers["Retry-After"] = str(self._seconds(None))
        return response

    # --- the waiting room

    async def room(self, request: web.Request) -> web.StreamResponse:
        """Being here is presence: it takes the ticket, and the seat when it is this one's turn."""
        visit = request[VISIT]
        if visit.identity is None:
            return redirect(f"{visit.origin}/")
        if not visit.identity.population:
            return await self._not_admitted(visit, visit.identity)
        answer = await self._ledger.admit(visit.identity.employee, visit.identity.population)
        if answer.state == "not_admitted":
            return await self._not_admitted(visit, visit.identity)
        keep = "keep" in request.query
        if answer.state == "seated":
            if keep:
                return self._pages.page(visit, "seat_ready.html")
            start = await self._handover.start(request.query.get("next"))
            there = start.path if start is not None and start.host == visit.host else "/"
            return redirect(visit.origin + ("/" if there == "/.broker/wait" else there))
        return self._wait_page(visit, answer, switch="/.broker/wait?" + ("keep=1" if keep else ""))

    # --- shared

    def _wait_page(
        self, visit: Visit, answer: SeatAnswer, *, status: int = 200, switch: str | None = None
    ) -> web.Response:
        # The seat may have come between the gateway's question and ours: in at once.
        ready = answer.state in ("called", "seated")
        seconds = 1 if ready else self._seconds(answer.position)
        response = self._pages.page(
            visit,
            "wait.html",
            status=status,
            answer=answer,
            learning=answer.state == "learning",
            ready=ready,
            refresh=seconds,
            switch=switch,
        )
        if status == 503:
            response.headers["Retry-After"] = str(seconds)
        return response

    async def _not_admitted(self, visit: Visit, identity: Identity) -> web.Response:
        return self._pages.page(
            visit,
            "not_admitted.html",
            status=403,
            identity=identity,
            admitted=await self._admitted.populations(),
        )

    def _seconds(self, position: int | None) -> int:
        return refresh_seconds(position, self._plan.poll_seconds, self._jitter())
