"""The pages of somebody who is logged in and has no place: wait, not admitted, what was typed.

The gateway has asked for a seat before it asks for one of these pages, and says what it heard
(``Visit.place``): nothing here speaks to the ledger about seats, so a page can be shown whenever a
place is known. ``wanted`` stands in for the page that was asked for, at its own address, so that a
plain reload enters; the waiting room itself, ``/.broker/wait``, goes on to where it was told when
there is a seat. ``static/wait.js`` polls; without JavaScript both reload by themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.policy.standing import JITTER
from broker.portal.durations import span
from broker.portal.pages import Pages, redirect, switch_here
from broker.portal.visit import VISIT, Identity, Place, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from broker.portal.admitted import Admitted
    from broker.portal.handover import Handover

POLL = 9  # seconds, where the gateway told none


class Waiting:
    def __init__(
        self, pages: Pages, handover: Handover, admitted: Admitted, jitter: Callable[[], float]
    ) -> None:
        self._pages = pages
        self._handover = handover
        self._admitted = admitted
        self._jitter = jitter

    # --- in place of the wanted page

    async def wanted(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if visit.identity is None or visit.place is None:
            return self._pages.error(visit, 403)
        return self._wait_page(visit, visit.place, status=503, switch=switch_here(visit))

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
        response.headers["Retry-After"] = str(self._seconds(visit.place))
        return response

    # --- the waiting room

    async def room(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if visit.identity is None or visit.place is None:
            return redirect(f"{visit.origin}/")
        state = visit.place.state
        if state == "not_admitted":
            return await self._not_admitted(visit, visit.identity)
        keep = "keep" in request.query
        if state == "seated":
            if keep:
                return self._pages.page(visit, "seat_ready.html", switch="/.broker/wait?keep=1")
            start = await self._handover.start(request.query.get("next"))
            there = start.path if start is not None and start.host == visit.host else "/"
            return redirect(visit.origin + ("/" if there == "/.broker/wait" else there))
        switch = "/.broker/wait?" + ("keep=1" if keep else "")
        return self._wait_page(visit, visit.place, switch=switch)

    # --- shared

    def _wait_page(
        self, visit: Visit, place: Place, *, status: int = 200, switch: str | None = None
    ) -> web.Response:
        seconds = self._seconds(place)
        response = self._pages.page(
            visit,
            "wait.html",
            status=status,
            place=place,
            learning=place.state == "learning",
            span=span(place.p50, place.p90),
            poll=place.poll or POLL,
            reload=seconds,
            switch=switch,
        )
        self._pages.allow_script(response)
        if status == 503:
            response.headers["Retry-After"] = str(seconds)
        return response

    async def _not_admitted(self, visit: Visit, identity: Identity) -> web.Response:
        return self._pages.page(
            visit,
            "not_admitted.html",
            status=403,
            identity=identity,
            switch=switch_here(visit),
            admitted=await self._admitted.populations(),
        )

    def _seconds(self, place: Place | None) -> int:
        """Seconds until a page without JavaScript reloads: spread, so that those who came together
        do not come back together."""
        poll = (place.poll if place is not None else None) or POLL
        return round(poll * (1 + JITTER * self._jitter()))
