"""``/.broker/wait/status``: where a waiting employee stands, answered without leaving the gateway.

A poll is presence and claims nothing. Who polls sooner than half of ``poll_seconds`` is told 429
and changes nothing. The estimate is null until the waiting room can compute one truthfully.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.site.admission import Session
    from broker.site.doors import SeatClaims

POLL_SECONDS: Final = 5
WAITING: Final = frozenset(("waiting", "called", "learning"))


class WaitStatus:
    """Polls of all sessions on this worker."""

    def __init__(self, claims: SeatClaims, clock: Callable[[], float]) -> None:
        self._claims = claims
        self._clock = clock
        self._polled: dict[str, float] = {}

    def too_soon(self, session: Session) -> int:
        """Seconds to wait before the next poll, 0 when one is due."""
        due = self._polled.get(session.id, 0.0) + POLL_SECONDS / 2
        return max(0, int(due - self._clock()) + 1) if self._clock() < due else 0

    async def poll(self, session: Session) -> bytes:
        """The JSON. Raises LedgerAway."""
        self._polled[session.id] = self._clock()
        answer = await self._claims.look(session)
        document = {
            "state": answer.state,
            "position": answer.position if answer.state == "waiting" else None,
            "estimate_seconds": {"p50": None, "p90": None},
            "poll_seconds": POLL_SECONDS if answer.state in WAITING else None,
        }
        return json.dumps(document).encode()

    def sweep(self, now: float) -> None:
        """Forget polls that no longer matter."""
        old = now - POLL_SECONDS
        for session_id in [key for key, at in self._polled.items() if at < old]:
            del self._polled[session_id]
