"""Who asks: the tokens that the admin listener lets in, and what each may do.

The configured ``admin.token`` is the first operator and needs nobody else. All others are in the
ledger, so that one list holds for every host of the site and a revoked token is let in nowhere.
Only their SHA-256 is there, which is enough for 256 random bits. When the ledger does not answer,
the list last read goes on: operators must see most while something is broken, and a revocation
needs the ledger anyway. A ledger that lost its memory lets in the configured token alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import LedgerAway

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.ledger.port import AdminRole, AdminToken, Ledger

FIRST = "admin token"
_PREFIX = "broker_"  # so that a scanner of repositories finds one that was left behind
_FRESH = 1.0  # seconds for which the list is believed


@dataclass(frozen=True, slots=True)
class Caller:
    """``name`` as in the audit trail. ``key``: the digest of the token that stands for the caller,
    empty for somebody of the directory."""

    name: str
    role: AdminRole
    key: str = ""

    @property
    def may_change(self) -> bool:
        return self.role == "operator"


class Callers:
    """``token``: the configured one. ``clock``: monotonic, ``civil``: civil time, in seconds."""

    def __init__(
        self, token: str, ledger: Ledger, clock: Callable[[], float], civil: Callable[[], float]
    ) -> None:
        self._first = Caller(FIRST, "operator", digest(token))
        self._ledger = ledger
        self._clock = clock
        self._civil = civil
        self._known: Mapping[str, AdminToken] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def with_token(self, given: bytes) -> Caller | None:
        """Whom this token stands for; None for a wrong one."""
        return await self.with_key(digest(given)) if given else None

    async def with_key(self, key: str) -> Caller | None:
        """Whom the token with this digest stands for at this moment."""
        if hmac.compare_digest(key, self._first.key):
            return self._first
        token = (await self._tokens()).get(key)
        if token is None or 0 < token.ends_ms <= self._civil() * 1000:
            return None
        return Caller(token.name, token.role, key)

    def changed(self) -> None:
        """The list was changed here: the next question reads it again."""
        self._read_at = None

    async def _tokens(self) -> Mapping[str, AdminToken]:
        async with self._reading:
            if self._read_at is None or self._clock() - self._read_at > _FRESH:
                try:
                    self._known = {each.digest: each for each in await self._ledger.tokens()}
                except LedgerAway:
                    return self._known
                self._read_at = self._clock()
            return self._known


def digest(token: bytes | str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).hexdigest()


def new_token() -> str:
    """256 random bits, written for a header."""
    return _PREFIX + secrets.token_urlsafe(32)
