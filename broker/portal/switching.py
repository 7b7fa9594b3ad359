"""Another language for a page that stands in place of an application's: there ``?lang=`` would be
the application's own. The front plants the cookie; here one goes back to where one was, on this
host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.portal.handover import safe_path
from broker.portal.pages import redirect
from broker.portal.visit import VISIT

if TYPE_CHECKING:
    from aiohttp import web


class Switching:
    async def choose(self, request: web.Request) -> web.StreamResponse:
        return redirect(request[VISIT].origin + safe_path(request.query.get("to", "/")))
