"""What the gateway asks of the site, as protocols, so that the data path can be tested alone.

The implementations are ``session_cache.SessionCache`` and ``claims.Claims``; tests of the gateway
use hand-written ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def portal_assertion(self, session: Session | None, claims: Mapping[str, Any]) -> bytes:
        """A fresh assertion towards the portal, logged in or not, with what the gateway knows
        (``host``, ``address``, ``page``, ``return``, ``wait``)."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an employee stands: what ``/.broker/wait/status`` and the pages say. ``position`` is
    that within ``population``; ``p50`` and ``p90`` are seconds, None when it cannot be said;
    ``claim_seconds`` is for how long a called one's seat is, or would be, kept. ``cookie``: the
    value of a ``Set-Cookie`` for the ticket cookie that the answer has to carry.
    """

    state: str
    population: str
    position: int | None = None
    p50: int | None = None
    p90: int | None = None
    poll_seconds: int | None = None
    claim_seconds: int | None = None
    cookie: bytes | None = None


class SeatClaims(Protocol):
    """Seats for sessions whose seat is not known on this worker. ``ticket``: the value of the
    ticket cookie that the browser showed."""

    async def claim(self, session: Session, ticket: bytes | None = None) -> Standing:
        """Take, keep or claim the seat (or take a ticket). On ``seated``, ``person.seat_until`` is
        set. While the ledger is away a token that says so is trusted until its own end."""
        ...

    def standing(self, session: Session, ticket: bytes | None, now: float) -> Standing | None:
        """A poll, from memory only, which counts as presence; None when it must be asked for."""
        ...

    async def look(self, session: Session, ticket: bytes | None = None) -> Standing:
        """A poll that asks the ledger: it counts as presence and claims nothing."""
        ...
