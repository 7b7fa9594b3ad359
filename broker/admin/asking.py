"""What requests to the admin API have in common: their version, their body."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from broker.errors import Refused

if TYPE_CHECKING:
    from aiohttp import web

_VERSION = re.compile(r'(?P<quote>"?)(?P<number>[0-9]{1,15})(?P=quote)')


def version(request: web.Request) -> int | None:
    """What If-Match says, None when it is absent. Raises Refused when it is no version of ours."""
    given = request.headers.getall("If-Match", [])
    if not given:
        return None
    if len(given) != 1 or not (match := _VERSION.fullmatch(given[0].strip())):
        raise Refused('If-Match is one version as seen in /api/v1/capacity, such as "7"')
    return int(match["number"])


async def body(request: web.Request) -> dict[str, Any]:
    sent = await request.read()
    try:
        # As UTF-8 whatever charset is claimed (RFC 8259 section 8.1).
        value = json.loads(sent.decode("utf-8")) if sent.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused("the body is not a JSON object")
    return value
