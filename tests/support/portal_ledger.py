"""The twin of the ledger with switches for the portal's tests: few seats, a queue, bad days."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from broker.ledger.memory import MemoryLedger
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import SessionRecord

POPULATIONS = ("managers", "sales", "everyone")


class PortalLedger(MemoryLedger):
    """``away`` makes every call fail. Its clock is ``wall_ms``, which tests move."""

    def __init__(self) -> None:
        self.wall_ms = 1_000_000
        self._numbers = count(1)
        super().__init__(lambda: self.wall_ms)
        self.limit(100)
        self.state.grants.start_first()

    def limit(self, seats: int, admitted: Sequence[str] = ("managers", "sales")) -> None:
        """So many seats, for these populations, from now on."""
        populations = {
            name: PopulationLimits(admitted=name in admitted, seats_maximum=seats)
            for name in POPULATIONS
        }
        number = next(self._numbers)
        pools = {"feed": PoolLimits(Share(100), dict.fromkeys(POPULATIONS, Share(100)))}
        document = LimitsDocument(number, "d", 1.0, seats, 100, populations, pools)
        self.state.grants.put_limits(document)
        self.seats.run_calls()

    def learn(self, learning: bool = True) -> None:
        self.state.grants.learning = learning

    async def wait_first(self, others: int) -> None:
        """No seat is free, and so many others wait already."""
        self.limit(0)
        for number in range(others):
            await self.admit(f"other{number}", "sales")

    def session_records(self) -> list[SessionRecord]:
        return list(self.seat_sessions._records.values())

    def seated(self) -> list[str]:
        return list(self.seats._seats)
