"""Who may ask the admin listener, and how it says no: the middlewares around every operation.

In this order: errors become problem+json (RFC 9457); the Host must be one of ours (a page of the
internet can point a name of its own at 127.0.0.1); a browser's request must come from our own
origin; then the token, except for what is public. No CORS header is ever sent.
"""

from __future__ import annotations

import hmac
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import web

from broker.errors import BrokerError

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler, Middleware

_log = logging.getLogger(__name__)
PUBLIC = frozenset({"/metrics", "/healthz", "/readyz"})
CONSOLE = "/console/"
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


def token_needed(token: str) -> Middleware:
    """Everything but what is public, and the console (which asks for it itself)."""
    expected = token.encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in PUBLIC or request.path.startswith(CONSOLE):
            return await handler(request)
        if not same_token(bearer(request), expected):
            return problem(
                401,
                "this needs the header Authorization: Bearer TOKEN",
                **{"WWW-Authenticate": 'Bearer realm="broker"'},
            )
        return await handler(request)

    return check


def author(_request: web.Request) -> str:
    """Who asks, for the audit trail."""
    return "admin token"


def bearer(request: web.Request) -> bytes:
    """The token of the request, empty when there is none (RFC 6750 section 2.1)."""
    given = request.headers.getall("Authorization", [])
    if len(given) != 1:
        return b""
    scheme, _, token = given[0].partition(" ")
    return token.strip().encode("utf-8", "surrogateescape") if scheme.lower() == "bearer" else b""


def same_token(given: bytes, expected: bytes) -> bool:
    """Compared in constant time; an empty one is never right."""
    return bool(expected) and hmac.compare_digest(given, expected)


def _kept(error: web.HTTPException) -> dict[str, str]:
    return {name: error.headers[name] for name in ("Allow",) if name in error.headers}


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
