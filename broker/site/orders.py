"""What operators order of capacity, carried to the ledger: checked by the pure policy, published
under the version it was decided on, written to the audit trail in the same step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import Refused, Stale
from broker.ledger.port import AuditEntry
from broker.policy.levels import in_force
from broker.policy.orders import in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.ledger.port import Ledger, Usage
    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument


@dataclass(frozen=True, slots=True)
class Outcome:
    """``before`` and ``after`` as limits documents; ``published`` is false for a dry run."""

    usage: Usage
    before: LimitsDocument
    after: LimitsDocument
    published: bool


class Orders:
    """``civil``: civil time in seconds."""

    def __init__(self, ledger: Ledger, civil: Callable[[], float]) -> None:
        self._ledger = ledger
        self._civil = civil

    async def carry_out(
        self,
        decide: Callable[[Capacity, int, int], Capacity],
        *,
        author: str,
        action: str,
        subject: str,
        reason: str,
        if_match: int | None,
        dry_run: bool = False,
    ) -> Outcome:
        """``decide(capacity, ledger time, civil time)`` makes the capacity that should follow, and
        raises what the caller is told. ``if_match`` None: only for a dry run.

        Raises Stale, LedgerAway, and Refused while the ledger is learning or has no base."""
        usage = await self._ledger.usage()
        present = usage.limits
        if present.capacity is None:
            raise Refused(
                "the limits in the ledger have no base to multiply: "
                "publish the configuration with `broker reload --publish`"
            )
        if if_match is not None and if_match != present.number:
            raise Stale(f"the limits are at version {present.number}, not {if_match}")
        if usage.learning and not dry_run:
            raise Refused(
                "the ledger lost its memory and is learning who holds what; order again when "
                "`broker status` shows that it has ended"
            )
        wanted = decide(present.capacity, usage.ledger_ms, round(self._civil() * 1000))
        after = in_force(wanted, present)
        if dry_run or if_match is None:
            return Outcome(usage, present, after, published=False)
        entry = AuditEntry(
            author, action, subject, reason, in_words(present.capacity), in_words(wanted)
        )
        published = await self._ledger.publish(after, if_match=if_match, entry=entry)
        return Outcome(usage, present, published, published=True)
