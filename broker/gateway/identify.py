"""Step 2, identify: which cookies are ours, and whether a person is looking at the answer.

Pure functions over bytes; who stands behind a cookie is asked of ``site.doors.Sessions``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broker.site.language import COOKIE

if TYPE_CHECKING:
    from broker.gateway.http1 import RequestHead

SESSION: Final = b"__Host-broker"
TICKET: Final = b"__Host-broker-ticket"
LANGUAGE: Final = COOKIE.encode("ascii")
PREFIX: Final = b"__host-broker"


class Cookies(NamedTuple):
    """``session``: the raw value of ``__Host-broker``, None when absent or there more than once.
    ``others``: the cookies for the application. ``portal``: the broker's own without the session
    and ``ticket``, the raw value of ``__Host-broker-ticket``.
    """

    session: bytes | None
    others: bytes
    portal: bytes
    ticket: bytes | None = None


def split_cookies(value: bytes) -> Cookies:
    """Take a Cookie field apart (RFC 6265 4.2). Browsers treat the prefix ``__Host-`` without
    regard to case (RFC 6265bis 4.1.3.2), so whatever could be read as ours is kept from backends.
    """
    session: bytes | None = None
    ticket: bytes | None = None
    repeated = False
    others: list[bytes] = []
    portal: list[bytes] = []
    for pair in value.split(b";"):
        pair = pair.strip(b" \t")
        if pair[:13].lower() != PREFIX:
            if pair:
                others.append(pair)
            continue
        name, _, content = pair.partition(b"=")
        if name == SESSION:
            repeated = repeated or session is not None
            session = content
        elif name == TICKET:
            ticket = content
        elif name.lower() != PREFIX:
            portal.append(pair)
    return Cookies(None if repeated else session, b"; ".join(others), b"; ".join(portal), ticket)


def language_chosen(cookies: Cookies | None) -> bytes:
    """The language that was switched to on this host, as the browser says it; empty for none."""
    if cookies is None or LANGUAGE not in cookies.portal:
        return b""
    return dict(pair.split(b"=", 1) for pair in cookies.portal.split(b"; ") if b"=" in pair).get(
        LANGUAGE, b""
    )


def is_navigation(head: RequestHead) -> bool:
    """Whether a person is to see the answer as a page (Fetch Metadata; else by Accept)."""
    if head.upgrade is not None:
        return False
    field = head.fields.field
    mode = field(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate"
    if field(b"sec-fetch-dest") is not None or field(b"sec-fetch-site") is not None:
        return False
    accept = field(b"accept")
    return accept is not None and b"text/html" in accept.lower()
