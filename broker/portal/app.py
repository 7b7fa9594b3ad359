"""The portal as one aiohttp application: which address leads to which page.

It runs in a process of its own on a private Unix socket and is reached through the gateway alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from broker.portal.admitted import Admitted
from broker.portal.front import Front, Verifier, internal, on_applications, on_home
from broker.portal.handover import Handover, HandoverTokens
from broker.portal.login import Login
from broker.portal.logout import Logout
from broker.portal.me import Me
from broker.portal.pages import Pages
from broker.portal.style import Style
from broker.portal.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.directory.port import Directory
    from broker.ledger.port import Ledger
    from broker.portal.plan import PortalPlan

LARGEST_FORM = 16 * 1024  # bytes


class PortalTokens(Verifier, HandoverTokens, Protocol):
    """What the portal asks of ``site.tokens``."""

    def jwks(self) -> dict[str, Any]: ...


def make_app(
    plan: PortalPlan,
    ledger: Ledger,
    directory: Directory,
    tokens: PortalTokens,
    counted: Callable[[str], None] = lambda outcome: None,
) -> web.Application:
    """``counted`` is told the outcome of every login attempt, for the metrics."""
    style = Style(plan)
    pages = Pages(plan, style.path)
    handover = Handover(plan, ledger, tokens, pages)
    admitted = Admitted(ledger)
    login = Login(plan, ledger, directory, tokens, pages, handover, counted)
    logout = Logout(plan, ledger, pages)
    me = Me(plan, ledger, pages, admitted)
    waiting = Waiting(plan, ledger, pages, handover, admitted)

    async def jwks(request: web.Request) -> web.StreamResponse:
        response = web.json_response(tokens.jwks())
        response.headers["Cache-Control"] = "public, max-age=300"
        return response

    app = web.Application(
        middlewares=[Front(plan, tokens, pages).middleware()], client_max_size=LARGEST_FORM
    )
    app.add_routes(
        [
            web.get("/", on_home(me.start)),
            web.get("/.broker/login", on_home(login.form)),
            web.post("/.broker/login", on_home(login.submit)),
            web.get("/.broker/me", on_home(me.show)),
            web.get("/.broker/logout", logout.ask),
            web.post("/.broker/logout", logout.end),
            web.get("/.broker/landing", on_applications(handover.landing)),
            web.get("/.broker/wait", on_applications(waiting.room)),
            web.get("/.broker/jwks.json", jwks),
            web.get("/.broker/static/{name}", style.serve),
            web.route("*", "/.broker/page/enter", internal("enter", handover.enter)),
            web.route("*", "/.broker/page/wait", internal("wait", waiting.wanted)),
            web.route(
                "*", "/.broker/page/not-admitted", internal("not-admitted", waiting.not_admitted)
            ),
            web.route("*", "/.broker/page/body-lost", internal("body-lost", waiting.body_lost)),
        ]
    )
    return app
