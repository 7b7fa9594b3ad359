"""What what-if asks of Redis beside the usage: one script, which changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.book_seats import text
from broker.ledger.port import Measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.scripts import Scripts


class BookMeasures:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def measures(self, idle_ms: Sequence[int]) -> Measures:
        notes, rows, calls, microseconds = await self._scripts.run("measures", *idle_ms)
        width = 1 + len(idle_ms)
        return Measures(
            idle={
                text(rows[at]): tuple(rows[at + 1 : at + width])
                for at in range(0, len(rows), width)
            },
            notes=notes,
            script_seconds=microseconds / calls / 1e6 if calls > 0 else None,
        )
