"""What the gateway asks of the site, as protocols, so that the data path can be tested alone.

The implementations are ``session_cache.SessionCache`` and ``claims.Claims``; tests of the gateway
use hand-written ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.ledger.port import SeatAnswer
    from broker.site.admission import Session


class Sessions(Protocol):
    """Who is behind a cookie. ``cookie`` is the raw value of ``__Host-broker``; ``host`` the bytes
    of the canonical Host (``feed.localhost:8443``), which must equal the token's audience."""

    def peek(self, cookie: bytes, host: bytes, now: float) -> Session | None:
        """From memory only; None when it must be asked for (unknown, expired, revoked)."""
        ...

    async def resolve(self, cookie: bytes, host: bytes) -> Session | None:
        """Verify, and look up the record if need be. None: not logged in (forged, expired, foreign,
        revoked). Raises LedgerAway only when neither signature nor memory can decide."""
        ...

    def renewal(self, session: Session, cookie: bytes, now: float) -> bytes | None:
        """The value of a ``Set-Cookie`` header that reissues the token, when it is old enough."""
        ...

    def assertion(self, session: Session, pool: str, now: float) -> bytes:
        """The ``X-Broker-Assertion`` for this pool (ES256 JWT, cached for most of its 60 s)."""
        ...

    def portal_assertion(self, session: Session | None, claims: dict[str, str]) -> bytes:
        """A fresh assertion towards the portal, logged in or not, with what the gateway knows
        (``host``, ``address``, ``page``, ``return``)."""
        ...


class SeatClaims(Protocol):
    """Seats for sessions whose seat is not known on this worker."""

    async def claim(self, session: Session) -> SeatAnswer:
        """Take, keep or claim the seat (or take a ticket). On ``seated``, ``person.seat_until`` is
        set. While the ledger is away a token that says so is trusted until its own end."""
        ...

    async def look(self, session: Session) -> SeatAnswer:
        """For ``wait/status``: a poll, which counts as presence and claims nothing."""
        ...


@dataclass(frozen=True, slots=True)
class StatusView:
    """What ``/.broker/wait/status`` says; every field is always present in the JSON."""

    state: str
    position: int | None
    estimate_p50: int | None
    estimate_p90: int | None
    poll_seconds: int | None
