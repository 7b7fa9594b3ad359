"""Which populations are admitted at present, as the ledger's document says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.ledger.port import Ledger


class Admitted:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def populations(self) -> tuple[str, ...]:
        """Their names, in the order of configuration. Raises LedgerAway."""
        document = await self._ledger.limits()
        if document is None:
            return ()
        return tuple(name for name, limits in document.populations.items() if limits.admitted)
