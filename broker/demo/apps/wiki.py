"""The wiki: an application that trusts nobody's header. It verifies the broker's signed assertion
against the published keys and shows what it says; without a valid one there is nothing to read.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web

from broker.demo.apps.assertion import HEADER, NotVerified, Verified, Verifier
from broker.demo.apps.identity import Visitor
from broker.demo.apps.pictures import landscape
from broker.demo.apps.serving import HERE, environment

if TYPE_CHECKING:
    from broker.demo.apps.oracle import Oracle

PAGES = {
    "start": "Working from home",
    "assertion": "How this wiki knows you",
    "meetings": "Meetings that end on time",
    "devices": "Your own device",
}
NO_STORE = {"Cache-Control": "no-store"}
KEPT = {"Cache-Control": "private, max-age=600"}


class Wiki:
    """One server of the wiki."""

    def __init__(self, oracle: Oracle, verifier: Verifier) -> None:
        self._oracle = oracle
        self._verifier = verifier
        self._pages = environment()
        self._pages.filters["civil"] = _civil

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self.page)
        app.router.add_get("/pages/{name}", self.page)
        app.router.add_get("/api/claims", self.claims)
        app.router.add_get("/photos/{name}.png", self.photo)
        app.router.add_static("/static/", HERE / "static", append_version=False)
        return app

    async def page(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "start")
        if name not in PAGES:
            raise web.HTTPNotFound(text="There is no such page.\n")
        verified: Verified | None = None
        reason = ""
        try:
            verified = await self._verifier.verify(request.headers.get(HEADER, ""))
        except NotVerified as error:
            reason = str(error)
        text = self._pages.get_template("wiki.html").render(
            verified=verified,
            reason=reason,
            visitor=Visitor.of(request),
            server=self._oracle.name,
            pages=PAGES,
            name=name,
        )
        status = 200 if verified else 401
        return web.Response(text=text, status=status, content_type="text/html", headers=NO_STORE)

    async def claims(self, request: web.Request) -> web.Response:
        try:
            verified = await self._verifier.verify(request.headers.get(HEADER, ""))
        except NotVerified as error:
            return web.json_response({"verified": False, "reason": str(error)}, status=401)
        return web.json_response(
            {"verified": True, "claims": verified.claims, "kid": verified.key_id},
            headers=NO_STORE,
        )

    async def photo(self, request: web.Request) -> web.Response:
        picture = await asyncio.to_thread(landscape, request.match_info["name"])
        return web.Response(body=picture, content_type="image/png", headers=KEPT)


def _civil(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S UTC")
