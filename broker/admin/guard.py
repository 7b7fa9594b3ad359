"""Who may ask the admin listener, and how it says no: the middlewares around every operation.

In this order: errors become problem+json (RFC 9457); the Host must be one of ours (a page of the
internet can point a name of its own at 127.0.0.1); a browser's request must come from our own
origin; then who asks (a token, or a session of the console), except for what is public, and whether
it may: a viewer changes nothing. No CORS header is ever sent.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin.callers import Caller
from broker.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Collection

    from aiohttp.typedefs import Handler, Middleware

    from broker.admin.callers import Callers
    from broker.admin.console_sessions import ConsoleSessions

_log = logging.getLogger(__name__)
PUBLIC = frozenset({"/metrics", "/healthz", "/readyz"})
CONSOLE = "/console/"
COOKIE = "broker_console"
VIEWERS_MAY_NOT = "this token may look and change nothing; it takes one with the role operator"
_CALLER = web.RequestKey("caller", Caller)
_SAFE = frozenset({"GET", "HEAD"})


def problem(status: int, reason: str, **headers: str) -> web.Response:
    """An RFC 9457 problem. ``reason`` may be shown to people."""
    return web.json_response(
        {"type": "about:blank", "title": _title(status), "status": status, "detail": reason},
        status=status,
        content_type="application/problem+json",
        headers=headers,
    )


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as a problem; what was not expected is logged and told without detail."""
    try:
        response = await handler(request)
    except BrokerError as error:
        response = problem(error.status, error.reason)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem(error.status, error.reason, **_kept(error))
    except Exception:  # noqa: BLE001  the caller gets a problem, the log the trace
        _log.exception("%s %s failed", request.method, request.path)
        response = problem(500, "this failed in a way nobody expected; the log says more")
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    return response


def own_name_only(hosts: frozenset[str]) -> Middleware:
    """Refuses other names (421) and other origins (403)."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = request.headers.getall("Host", [])
        if len(named) != 1 or named[0].lower() not in hosts:
            return problem(421, "this listener does not answer under that name")
        origin = request.headers.get("Origin")
        own = {f"http://{named[0].lower()}", f"https://{named[0].lower()}"}
        if origin is not None and origin.lower() not in own:
            return problem(403, "requests of other origins are refused")
        site = request.headers.get("Sec-Fetch-Site", "none")
        if request.method not in _SAFE and site not in ("same-origin", "none"):
            return problem(403, "requests of other sites are refused")
        return await handler(request)

    return check


def known_callers_only(
    callers: Callers, sessions: ConsoleSessions, *, open_: Collection[str], viewers: Collection[str]
) -> Middleware:
    """``open_``: paths below the console that need nobody known (they let somebody in, or look the
    same to all). ``viewers``: paths where a viewer may ask too although they are no GET; what is
    there looks at ``may_change`` itself."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path in PUBLIC:
            return await handler(request)
        caller = await callers.with_token(bearer(request))
        if caller is None and path.startswith(CONSOLE):
            caller = await sessions.caller(request.cookies.get(COOKIE, ""))
            if caller is not None and request.method not in _SAFE and not _own_page(request):
                return problem(403, "requests of other sites are refused")
        if caller is not None:
            request[_CALLER] = caller
        if path in open_:
            return await handler(request)
        if caller is None:
            return problem(
                401,
                "this needs the header Authorization: Bearer TOKEN",
                **{"WWW-Authenticate": 'Bearer realm="broker"'},
            )
        if request.method not in _SAFE and path not in viewers and not caller.may_change:
            return problem(403, VIEWERS_MAY_NOT)
        return await handler(request)

    return check


def _own_page(request: web.Request) -> bool:
    """Whether a browser says that a page of ours asks; a cookie alone proves nothing. An Origin was
    compared before."""
    return "Origin" in request.headers or request.headers.get("Sec-Fetch-Site") == "same-origin"


def caller(request: web.Request) -> Caller | None:
    """Who asks; None only where nobody needs to be known."""
    return request.get(_CALLER)


def may_change(request: web.Request) -> bool:
    """Whether who asks may change something."""
    who = caller(request)
    return who is not None and who.may_change


def author(request: web.Request) -> str:
    """Who asks, for the audit trail."""
    who = caller(request)
    assert who is not None, "an operation that nobody is known to ask for"
    return who.name


def bearer(request: web.Request) -> bytes:
    """The token of the request, empty when there is none (RFC 6750 section 2.1)."""
    given = request.headers.getall("Authorization", [])
    if len(given) != 1:
        return b""
    scheme, _, token = given[0].partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow",) if name in error.headers}


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
