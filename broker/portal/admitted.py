"""Which populations are admitted at present, as the ledger's document says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from broker.policy.limits import LimitsDocument


def admitted_in(limits: LimitsDocument | None) -> tuple[str, ...]:
    """Their names, in the order of configuration."""
    if limits is None:
        return ()
    return tuple(name for name, each in limits.populations.items() if each.admitted)


class Admitted:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def populations(self) -> tuple[str, ...]:
        """Raises LedgerAway."""
        return admitted_in(await self._ledger.limits())
