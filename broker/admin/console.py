"""``/console/``: one page for people that shows the host and the site as they are at this moment.

A browser cannot send a bearer token by itself: the page asks for it once and then keeps a random
session cookie (HttpOnly, SameSite=Strict, this path only). Sessions are in the memory of this
process; after a restart the page asks again. No script, no foreign resource.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from broker.admin import views
from broker.admin.guard import CONSOLE, bearer, same_token
from broker.admin.health import readiness

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admin.api import Api

_COOKIE = "broker_console"
_MOST_SESSIONS = 64


class Console:
    """``clock``: monotonic seconds; ``lifetime``: seconds of a console session."""

    def __init__(
        self, site: str, token: str, api: Api, clock: Callable[[], float], lifetime: float
    ) -> None:
        self._site = site
        self._token = token.encode()
        self._api = api
        self._clock = clock
        self._lifetime = lifetime
        self._sessions: dict[str, float] = {}
        self._templates = Environment(
            loader=PackageLoader("broker.admin"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def show(self, request: web.Request) -> web.Response:
        if not self._is_known(request):
            return self._page("enter.html", 401, wrong=False)
        host, usage, known = await self._api.snapshot()
        return self._page(
            "status.html",
            200,
            refresh=5,
            readiness=readiness(host, usage, known),
            capacity=views.capacity(usage) if usage else None,
            pools=views.pools(usage, host)["pools"] if usage else {},
            workers=views.workers(host, usage, known)["workers"],
        )

    async def enter(self, request: web.Request) -> web.Response:
        """The token typed into the form. POST; another origin was refused before."""
        form = await request.post()
        given = form.get("token")
        if not isinstance(given, str) or not same_token(given.strip().encode(), self._token):
            return self._page("enter.html", 403, wrong=True)
        now = self._clock()
        self._sessions = {key: ends for key, ends in self._sessions.items() if ends > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        session = secrets.token_urlsafe(24)
        self._sessions[session] = now + self._lifetime
        response = web.Response(status=303, headers={"Location": CONSOLE})
        response.set_cookie(
            _COOKIE, session, path=CONSOLE, httponly=True, samesite="Strict", secure=request.secure
        )
        return response

    async def leave(self, request: web.Request) -> web.Response:
        self._sessions.pop(request.cookies.get(_COOKIE, ""), None)
        response = web.Response(status=303, headers={"Location": CONSOLE})
        response.del_cookie(_COOKIE, path=CONSOLE)
        return response

    def _is_known(self, request: web.Request) -> bool:
        if same_token(bearer(request), self._token):
            return True
        ends = self._sessions.get(request.cookies.get(_COOKIE, ""))
        return ends is not None and self._clock() < ends

    def _page(self, template: str, status: int, **values: object) -> web.Response:
        nonce = secrets.token_urlsafe(12)
        html = self._templates.get_template(template).render(
            site=self._site, nonce=nonce, path=CONSOLE, **values
        )
        return web.Response(
            text=html,
            status=status,
            content_type="text/html",
            headers={
                "Content-Security-Policy": (
                    f"default-src 'none'; style-src 'nonce-{nonce}'; img-src data:;"
                    " form-action 'self';"
                    " frame-ancestors 'none'; base-uri 'none'"
                ),
                # Not no-referrer: a form sent under it says Origin: null, and would be refused.
                "Referrer-Policy": "same-origin",
            },
        )
