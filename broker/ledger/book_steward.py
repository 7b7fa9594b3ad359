"""Who drives ramps, and what the guard reads: one call per worker and second."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broker.ledger.book_seats import text
from broker.ledger.port import Stewardship
from broker.policy.guard import Figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.ledger.scripts import Scripts


class BookSteward:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def steward(
        self,
        incarnation: str,
        figures: Mapping[str, Figures],
        *,
        lease_ms: int,
        notes: bytes | None = None,
    ) -> Stewardship:
        told = msgspec.json.encode(figures)
        steward, now, wall, *more = await self._scripts.run(
            "steward", incarnation, told, lease_ms, notes or b""
        )
        if not more:
            return Stewardship(text(steward), now, wall)
        kept, rows = more
        readings = {
            text(rows[at]): (
                rows[at + 1],
                msgspec.json.decode(rows[at + 2], type=dict[str, Figures]),
            )
            for at in range(0, len(rows), 3)
        }
        return Stewardship(text(steward), now, wall, readings, kept)
