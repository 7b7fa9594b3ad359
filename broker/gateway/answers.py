"""The gateway's own answers: a small page (``page.py``) for people, for programs problem+json (RFC
9457).

Everything is rendered once at the start, per reason and language, so that a refusal costs less than
what it refuses. Texts never say anything of the inside: no host name, no address, no error text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broker.gateway.page import Pages, switch
from broker.gateway.plan import Look
from broker.site import language
from broker.site.language import mark

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the gateway answers itself. ``counted``: the reason under which telemetry counts it.
    ``passes``: waiting helps and nothing else does, so a page that was looked at asks again by
    itself; somebody who waits for a place must not have to know that."""

    status: int
    text: str
    counted: str
    passes: bool = False


BAD_REQUEST: Final = Reason(400, mark("The request was not understood."), "bad_request")
UNKNOWN_HOST: Final = Reason(400, mark("Nothing is served under this name."), "unknown_host")
STRANGER: Final = Reason(
    401,
    mark("You are not logged in. Open this site in a browser window to log in."),
    "not_logged_in",
)
NOT_ADMITTED: Final = Reason(
    403, mark("Remote access is not open to you at present."), "not_admitted"
)
WRONG_ORIGIN: Final = Reason(
    403, mark("Connections from this page are not allowed here."), "bad_request"
)
NOT_FOUND: Final = Reason(404, mark("There is nothing at this address."), "bad_request")
NOT_ALLOWED: Final = Reason(405, mark("This method is not served here."), "bad_request")
TOO_SLOW: Final = Reason(408, mark("The request did not arrive in time."), "too_slow")
TOO_LARGE: Final = Reason(413, mark("What was sent is too large."), "too_large")
LONG_TARGET: Final = Reason(414, mark("The address is too long."), "too_large")
EXPECTATION: Final = Reason(
    417, mark("The request expects something that is not offered here."), "bad_request"
)
TOO_MANY: Final = Reason(
    429,
    mark("You have too many connections open at this moment. Close some and try again."),
    "per_employee",
)
TOO_SOON: Final = Reason(429, mark("Asked again too soon."), "bad_request")
LARGE_HEAD: Final = Reason(431, mark("The request's header fields are too large."), "too_large")
NO_SERVER: Final = Reason(
    502,
    mark("The application does not answer at present. Please try again in a moment."),
    "no_server",
)
BROKEN_ANSWER: Final = Reason(
    502, mark("The application gave an answer that cannot be passed on."), "no_server"
)
NO_SEAT: Final = Reason(
    503,
    mark("All places are taken at this moment. Please try again shortly."),
    "no_seat",
    passes=True,
)
NO_CONNECTION: Final = Reason(
    503,
    mark("The application is busy at this moment. Please try again shortly."),
    "no_connection",
)
LEDGER_AWAY: Final = Reason(
    503,
    mark("Places cannot be checked at this moment. Please try again shortly."),
    "ledger_away",
    passes=True,
)
LEARNING: Final = Reason(
    503,
    mark("Places are being checked after a fault. Please try again shortly."),
    "learning",
    passes=True,
)
FAILED: Final = Reason(500, mark("Something went wrong on our side. Please try again."), "failed")
TOO_LATE: Final = Reason(
    504, mark("The application took too long to answer. Please try again."), "no_server"
)

REASONS: Final = (
    BAD_REQUEST, UNKNOWN_HOST, STRANGER, NOT_ADMITTED, WRONG_ORIGIN, NOT_FOUND, NOT_ALLOWED,
    TOO_SLOW, TOO_LARGE, LONG_TARGET, EXPECTATION, TOO_MANY, TOO_SOON, LARGE_HEAD, NO_SERVER,
    BROKEN_ANSWER, NO_SEAT, NO_CONNECTION, LEDGER_AWAY, LEARNING, FAILED,
    TOO_LATE,
)  # fmt: skip
BY_STATUS: Final = {
    400: BAD_REQUEST, 408: TOO_SLOW, 413: TOO_LARGE, 414: LONG_TARGET, 417: EXPECTATION,
    431: LARGE_HEAD, 502: BROKEN_ANSWER,
}  # fmt: skip


def phrase(status: int) -> str:
    """The standard reason phrase."""
    return HTTPStatus(status).phrase


class Answers:
    """Heads and bodies, ready to be sent."""

    def __init__(self, look: Look | None = None) -> None:
        look = look or Look()
        pages = Pages(look)
        self._language = look.language
        self._policy = b"Content-Security-Policy: %b\r\n" % pages.policy.encode()
        self._pages: dict[tuple[Reason, str], tuple[bytes, bytes]] = {}
        self._problems: dict[tuple[Reason, str], bytes] = {}
        for tag in language.LANGUAGES:
            translate = language.gettext(tag)
            for reason in REASONS:
                text = translate(reason.text)
                self._pages[reason, tag] = pages.render(tag, reason.text)
                problem = {
                    "type": "about:blank",
                    "title": phrase(reason.status),
                    "status": reason.status,
                    "detail": text,
                }
                self._problems[reason, tag] = json.dumps(problem, ensure_ascii=False).encode()

    def answer(
        self,
        reason: Reason,
        *,
        page: bool,
        accept_language: bytes = b"",
        chosen: bytes = b"",
        here: bytes = b"",
        extra: bytes = b"",
        close: bool,
        bodiless: bool = False,
        date: bytes = b"",
        members: Mapping[str, object] | None = None,
    ) -> bytes:
        """The whole response. ``chosen``: the language that the employee has switched to. ``here``:
        path and query that a page offers in other languages. ``extra``: finished header lines.
        ``bodiless``: answer to HEAD. ``members``: what a problem says beyond the usual (RFC 9457,
        3.2)."""
        tag = language.negotiate(
            accept_language.decode("latin-1"), chosen.decode("latin-1"), self._language
        )
        if page:
            before, after = self._pages[reason, tag]
            body = before + switch(tag, here) + after
        else:
            body = self._problems[reason, tag]
            if members is not None:
                body = json.dumps({**json.loads(body), **members}, ensure_ascii=False).encode()
        kind = b"text/html; charset=utf-8" if page else b"application/problem+json"
        lines = extra + b"Content-Language: %b\r\nVary: Accept-Language, Accept\r\n" % tag.encode()
        if page:
            lines += self._policy
        return whole(reason.status, kind, body, lines, close=close, bodiless=bodiless, date=date)


def whole(
    status: int,
    content_type: bytes,
    body: bytes,
    extra: bytes = b"",
    *,
    close: bool,
    bodiless: bool = False,
    date: bytes = b"",
) -> bytes:
    """A complete response with our framing. Never cached."""
    return b"".join(
        (
            b"HTTP/1.1 %d %b\r\n" % (status, phrase(status).encode()),
            b"Date: %b\r\n" % date if date else b"",
            b"Content-Type: %b\r\nContent-Length: %d\r\n" % (content_type, len(body)),
            b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n",
            extra,
            b"Connection: close\r\n\r\n" if close else b"\r\n",
            b"" if bodiless else body,
        )
    )
