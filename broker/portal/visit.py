"""One request as the gateway vouches for it: the verified assertion, and who is asking.

The portal believes nothing about host, address or identity but what stands in the assertion; the
request's own Host header and session cookie are never read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from multidict import CIMultiDictProxy


class Identity(NamedTuple):
    """The employee behind the session cookie, as the gateway has verified it. ``left_seconds``:
    until the session ends whatever happens (None: not told)."""

    employee: str
    session_id: str
    population: str
    display_name: str
    left_seconds: int | None = None


class Place(NamedTuple):
    """Where the employee stands, as the gateway has just asked for it: the ``state`` of the seat,
    the ``position`` within ``population``, seconds of the estimate (None: it cannot be said), of
    the interval between polls, and for which a called one's seat is kept."""

    state: str
    population: str
    position: int | None = None
    p50: int | None = None
    p90: int | None = None
    poll: int | None = None
    claim: int | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """``page`` names the internal page the gateway asks for ("" when the browser asked by itself),
    ``method`` is the browser's, ``return_path`` the raw path and query it wanted on ``host``.
    ``place`` is there where the gateway has just asked for a seat. ``language`` is the one to
    answer in.
    """

    host: str
    origin: str
    home: bool
    address: str
    method: str
    page: str
    return_path: str
    place: Place | None
    language: str
    identity: Identity | None

    @classmethod
    def from_claims(
        cls, claims: Mapping[str, Any], *, origins: Mapping[str, str], home: str, language: str
    ) -> Visit:
        """Raises KeyError for a host that the plan does not know."""

        def text(name: str) -> str:
            value = claims.get(name, "")
            return value if isinstance(value, str) else ""

        origin = origins[text("host")]
        identity = None
        if text("sub") and text("sid"):
            name = text("name") or text("sub")
            left = claims.get("left")
            identity = Identity(
                text("sub"), text("sid"), text("pop"), name, left if isinstance(left, int) else None
            )
        return cls(
            host=text("host"),
            origin=origin,
            home=origin == home,
            address=text("address"),
            method=text("method"),
            page=text("page"),
            return_path=text("return"),
            place=Place(**claims["wait"]) if claims.get("wait") else None,
            language=language,
            identity=identity,
        )


def same_origin(headers: CIMultiDictProxy[str], origin: str) -> bool:
    """Whether a state-changing request comes from a page of this very origin.

    Fetch metadata or the Origin header must say so, and neither may say otherwise. Browsers send
    ``Origin: null`` where the referrer policy hides it: then fetch metadata has to vouch.
    """
    site = headers.get("Sec-Fetch-Site")
    source = headers.get("Origin")
    if site is not None and site != "same-origin":
        return False
    if source is not None and source not in (origin, "null"):
        return False
    return site == "same-origin" or source == origin


VISIT: web.RequestKey[Visit] = web.RequestKey("visit", Visit)
