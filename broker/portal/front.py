"""What every request of the portal passes: the gateway's assertion, the language, the errors.

A request without a valid assertion did not come through the gateway: 403 and nothing else. Expected
failures (``BrokerError``) become a page with their status; an unexpected one is logged and becomes
a page that says nothing of the inside.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from broker.errors import BrokerError
from broker.portal import cookies
from broker.portal.visit import VISIT, Visit
from broker.site.language import LANGUAGES, negotiate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.portal.pages import Pages
    from broker.portal.plan import PortalPlan

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ASSERTION = "X-Broker-Assertion"
log = logging.getLogger(__name__)


class Verifier(Protocol):
    def verify_portal(self, value: str) -> dict[str, Any] | None:
        """The claims of a valid assertion for the portal, or None."""
        ...


class Front:
    """What the one middleware of the portal does."""

    def __init__(self, plan: PortalPlan, tokens: Verifier, pages: Pages) -> None:
        self._plan = plan
        self._tokens = tokens
        self._pages = pages

    async def pass_on(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        visit = self._visit(request)
        if visit is None:
            return web.Response(status=403, text="Only through the broker.\n")
        chosen = request.query.get("lang", "") if not visit.page else ""
        if chosen in LANGUAGES:
            visit = replace(visit, language=chosen)
        request[VISIT] = visit
        response = await self._answer(request, handler, visit)
        if chosen in LANGUAGES:
            cookies.plant(response, cookies.LANGUAGE, chosen, cookies.LANGUAGE_SECONDS)
        self._pages.secure(response)
        return response

    def _visit(self, request: web.Request) -> Visit | None:
        claims = self._tokens.verify_portal(request.headers.get(ASSERTION, ""))
        if claims is None or claims.get("host") not in self._plan.origins:
            return None
        language = negotiate(
            request.headers.get("Accept-Language", ""),
            request.cookies.get(cookies.LANGUAGE, ""),
            self._plan.language,
        )
        return Visit.from_claims(
            claims, origins=self._plan.origins, home=self._plan.home, language=language
        )

    async def _answer(
        self, request: web.Request, handler: Handler, visit: Visit
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except BrokerError as error:
            if error.status >= 500:
                log.warning("%s: %s", request.path, error.reason)
            return self._pages.error(visit, error.status)
        except web.HTTPException as error:
            response = self._pages.error(visit, error.status)
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except Exception as error:
            if isinstance(error, ConnectionError) and request.transport is None:
                # The browser has left in the middle of its form, which is no failure: nobody reads
                # this answer, and everybody who closes a tab would leave a traceback.
                log.debug("%s: the browser has left", request.path)
                return web.Response(status=400)
            # the page must not show it; the log must
            log.exception("a page of the portal failed", extra={"path": request.path})
            return self._pages.error(visit, 500)


def on_home(handler: Handler) -> Handler:
    """The page exists on the home host only."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not request[VISIT].home:
            raise web.HTTPNotFound
        return await handler(request)

    return guarded


def on_applications(handler: Handler) -> Handler:
    """The page exists on application hosts only."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request[VISIT].home:
            raise web.HTTPNotFound
        return await handler(request)

    return guarded


def internal(page: str, handler: Handler) -> Handler:
    """The gateway asks for this page by name; a browser that types its address gets 404."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request[VISIT].page != page:
            raise web.HTTPNotFound
        return await handler(request)

    return guarded
