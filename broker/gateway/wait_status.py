"""``/.broker/wait/status``: where a waiting employee stands, answered without leaving the gateway.

A poll is presence and claims nothing. Nearly every one is answered by arithmetic, in the callback
that delivered it; the ledger is asked only where the worker cannot know (``site.waiting_room``).
Who polls sooner than half of the ``poll_seconds`` it was told is answered 429, which changes
nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from broker.gateway.answers import phrase

if TYPE_CHECKING:
    from broker.site.admission import Session
    from broker.site.doors import Standing

_HEAD: Final = (
    b"HTTP/1.1 200 %b\r\nDate: %%b\r\nContent-Type: application/json\r\n"
    b"Content-Length: %%d\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
    % phrase(200).encode()
)


def too_soon(session: Session, now: float) -> int:
    """Seconds to wait before the next poll, 0 when one is due."""
    return math.ceil(session.poll_after - now) if now < session.poll_after else 0


def told(session: Session, standing: Standing, now: float) -> None:
    """This session has been answered: when its next poll is not too soon."""
    session.poll_after = now + (standing.poll_seconds or 0) / 2


def document(standing: Standing) -> bytes:
    """The JSON: every key always present."""
    estimate = f'{{"p50":{_number(standing.p50)},"p90":{_number(standing.p90)}}}'
    return (
        f'{{"state":"{standing.state}","position":{_number(standing.position)},'
        f'"estimate_seconds":{estimate},"poll_seconds":{_number(standing.poll_seconds)}}}'
    ).encode("ascii")


def members(standing: Standing) -> dict[str, object]:
    """What a problem tells of it to a program that found no seat (RFC 9457, 3.2)."""
    return {
        "state": standing.state,
        "position": standing.position,
        "estimate_seconds": {"p50": standing.p50, "p90": standing.p90},
    }


def response(standing: Standing, date: bytes, *, close: bool, bodiless: bool) -> bytes:
    """The whole answer to a poll, with the ticket cookie if it is due."""
    body = document(standing)
    return b"".join(
        (
            _HEAD % (date, len(body)),
            b"Set-Cookie: %b\r\n" % standing.cookie if standing.cookie is not None else b"",
            b"Connection: close\r\n\r\n" if close else b"\r\n",
            b"" if bodiless else body,
        )
    )


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)
