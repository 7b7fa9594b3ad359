"""The portal as one aiohttp application: which address leads to which page.

It runs in a process of its own on a private Unix socket and is reached through the gateway alone.
A new plan replaces the one in force without a restart: an application cannot change its routes once
it runs, so the routes stay and each request takes the parts of the plan it began under.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from aiohttp import web

from broker.portal.front import internal, on_applications, on_home
from broker.portal.parts import PARTS, Parts, PortalTokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.directory.port import Directory
    from broker.ledger.port import Ledger
    from broker.portal.plan import PortalPlan
    from broker.portal.second_factor import FactorSecrets

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LARGEST_FORM = 16 * 1024  # bytes


class Portal:
    """``app`` is served; ``replace`` gives it another plan.

    ``counted`` is told the outcome of every login attempt, ``guarded`` of each ban it brought
    (``pair``, ``address``) and each delay (``delayed``), for the metrics. ``jitter``: 0..1, at
    random, so that those who are told to come back do not come together.
    """

    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        directory: Directory,
        tokens: PortalTokens,
        factors: FactorSecrets,
        counted: Callable[[str], None] = lambda outcome: None,
        guarded: Callable[[str], None] = lambda kind: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._tokens = tokens
        self._factors = factors
        self._counted = counted
        self._guarded = guarded
        self._jitter = jitter
        self._parts = self._made(plan, directory)
        self.app = self._app()

    def replace(self, plan: PortalPlan, directory: Directory) -> Awaitable[None]:
        """From the next request on. What is returned ends when the last request under the old plan
        is answered: the old directory can then be closed."""
        before, self._parts = self._parts, self._made(plan, directory)
        return before.idle()

    def _made(self, plan: PortalPlan, directory: Directory) -> Parts:
        return Parts(
            plan,
            self._ledger,
            directory,
            self._tokens,
            self._factors,
            self._counted,
            self._guarded,
            self._jitter,
        )

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._middleware()], client_max_size=LARGEST_FORM)
        app.add_routes(
            [
                web.get("/", on_home(_to(lambda parts: parts.me.start))),
                web.get("/.broker/login", on_home(_to(lambda parts: parts.login.form))),
                web.post("/.broker/login", on_home(_to(lambda parts: parts.login.submit))),
                web.get("/.broker/password", on_home(_to(lambda parts: parts.password.form))),
                web.post("/.broker/password", on_home(_to(lambda parts: parts.password.submit))),
                web.get("/.broker/factor", on_home(_to(lambda parts: parts.second_factor.form))),
                web.post("/.broker/factor", on_home(_to(lambda parts: parts.second_factor.submit))),
                web.get("/.broker/me", on_home(_to(lambda parts: parts.me.show))),
                web.post("/.broker/me", on_home(_to(lambda parts: parts.me.log_out))),
                web.get("/.broker/logout", _to(lambda parts: parts.logout.ask)),
                web.post("/.broker/logout", _to(lambda parts: parts.logout.end)),
                web.get(
                    "/.broker/landing", on_applications(_to(lambda parts: parts.handover.landing))
                ),
                web.get("/.broker/wait", on_applications(_to(lambda parts: parts.waiting.room))),
                web.get("/.broker/jwks.json", self._jwks),
                web.get("/.broker/static/{name}", _to(lambda parts: parts.style.serve)),
                web.get("/.broker/language", _to(lambda parts: parts.language.choose)),
                _page("enter", lambda parts: parts.handover.enter),
                _page("wait", lambda parts: parts.waiting.wanted),
                _page("not-admitted", lambda parts: parts.waiting.not_admitted),
                _page("body-lost", lambda parts: parts.waiting.body_lost),
            ]
        )
        return app

    def _middleware(self) -> Any:
        @web.middleware
        async def take_parts(request: web.Request, handler: Handler) -> web.StreamResponse:
            parts = request[PARTS] = self._parts
            with parts.in_use():
                return await parts.front.pass_on(request, handler)

        return take_parts

    async def _jwks(self, _: web.Request) -> web.StreamResponse:
        response = web.json_response(self._tokens.jwks())
        response.headers["Cache-Control"] = "public, max-age=300"
        return response


def _to(choose: Callable[[Parts], Handler]) -> Handler:
    """The handler of the plan that the request began under."""

    async def handle(request: web.Request) -> web.StreamResponse:
        return await choose(request[PARTS])(request)

    return handle


def _page(name: str, choose: Callable[[Parts], Handler]) -> web.RouteDef:
    return web.route("*", f"/.broker/page/{name}", internal(name, _to(choose)))
