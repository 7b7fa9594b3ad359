"""The portal's cookies: names, how they are set, which values are taken back.

All carry the ``__Host-`` prefix (Secure, Path=/, no Domain; RFC 6265bis, 4.1.3.2), so that no
neighbouring host can plant one. Random values are 256 bits in base64url; anything else in such a
cookie is treated as absent.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING

from broker.site.language import COOKIE as LANGUAGE

if TYPE_CHECKING:
    from aiohttp import web

SESSION = "__Host-broker"
TICKET = "__Host-broker-ticket"
LOGIN = "__Host-broker-login"
HANDOVER = "__Host-broker-handover"
KNOWN = "__Host-broker-known"
HALF = "__Host-broker-half"

HANDOVER_SECONDS = 60
LANGUAGE_SECONDS = 365 * 86_400
RANDOM = re.compile(r"[A-Za-z0-9_-]{43}\Z")


def fresh() -> str:
    """A new unguessable value, 256 bits."""
    return secrets.token_urlsafe(32)


def well_formed(value: str | None) -> bool:
    """Whether it could be one of ours; tested before it becomes part of a ledger key."""
    return value is not None and RANDOM.match(value) is not None


def kept(request: web.Request, name: str) -> str | None:
    """The random value the browser brought, if it is well formed."""
    value = request.cookies.get(name)
    return value if well_formed(value) else None


def plant(response: web.StreamResponse, name: str, value: str, seconds: int | None = None) -> None:
    """Set a cookie; without ``seconds`` it lasts as long as the browser runs."""
    response.set_cookie(
        name, value, max_age=seconds, path="/", secure=True, httponly=True, samesite="Lax"
    )


def clear(response: web.StreamResponse, *names: str) -> None:
    for name in names:
        response.del_cookie(name, path="/", secure=True, httponly=True, samesite="Lax")


def digest(value: str) -> str:
    """What is stored or signed instead of a cookie's value."""
    return sha256(value.encode("ascii")).hexdigest()


__all__ = [
    "HALF",
    "HANDOVER",
    "HANDOVER_SECONDS",
    "KNOWN",
    "LANGUAGE",
    "LANGUAGE_SECONDS",
    "LOGIN",
    "SESSION",
    "TICKET",
    "clear",
    "digest",
    "fresh",
    "kept",
    "plant",
    "well_formed",
]
