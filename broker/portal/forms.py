"""Forms: reading one strictly, and the token that binds the login form to its browser.

The token is a hash keyed with the login cookie, which all tabs of a browser share: whoever does not
know the cookie cannot make it, and nothing has to be stored.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from aiohttp import web

FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 10


def form_token(cookie: str) -> str:
    """The ``csrf`` field that belongs to a login cookie."""
    return hmac.new(cookie.encode("ascii"), b"login form", sha256).hexdigest()


def belongs(token: str, cookie: str) -> bool:
    return hmac.compare_digest(form_token(cookie).encode(), token.encode())


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form as browsers send one without files; of a repeated field the last.

    Anything else has no fields: what it was meant for fails like a form left empty.
    """
    body = await request.read()
    if request.content_type != FORM:
        return {}
    try:
        return dict(parse_qsl(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS))
    except ValueError:  # more fields than any form of ours has
        return {}
