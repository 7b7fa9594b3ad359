"""The steward: the worker that drives ramps and ends at this moment, elected by a short lease.

Every worker asks once a second and says at the same time what its servers answered, so that the
guard needs nothing from outside. Each change is published under the number it was decided on: two
stewards, or a steward and an operator, do no harm to each other.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import msgspec

from broker.errors import LedgerAway, Stale
from broker.ledger.port import AuditEntry
from broker.policy.levels import in_force
from broker.policy.orders import in_words
from broker.policy.stewardship import Notes, take_round

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.ledger.port import Ledger, Stewardship
    from broker.policy.guard import Figures
    from broker.policy.limits import LimitsDocument
    from broker.policy.ramp import Move
    from broker.site.sync import Sync

_log = logging.getLogger(__name__)

EVERY = 1.0  # seconds between two rounds
LEASE_MS = 5_000
MOST_SKEW_MS = 5_000
"""Redis and this host may differ by so much; beyond it nothing ends by itself, and an alert says
so (``broker_clock_skew_seconds``)."""
NAME = "steward"
"""As the author in the audit trail."""


class Steward:
    """One per worker. ``figures``: by pool, what its servers answered since it started."""

    def __init__(
        self,
        incarnation: str,
        ledger: Ledger,
        sync: Sync,
        figures: Callable[[], Mapping[str, Figures]],
        civil: Callable[[], float],
    ) -> None:
        self._incarnation = incarnation
        self._ledger = ledger
        self._sync = sync
        self._figures = figures
        self._civil = civil
        self._notes: Notes | None = None
        self.skew = 0.0

    @property
    def is_steward(self) -> bool:
        """Whether the last round was this worker's."""
        return self._notes is not None

    async def run(self) -> None:
        """Until cancelled. Never raises on account of the ledger."""
        while True:
            try:
                await self.once()
            except LedgerAway:
                self._notes = None  # another may be the steward by now
            await asyncio.sleep(EVERY)

    async def once(self) -> None:
        """One round. Raises LedgerAway."""
        kept = None if self._notes is None else msgspec.json.encode(self._notes)
        answer = await self._ledger.steward(
            self._incarnation, self._figures(), lease_ms=LEASE_MS, notes=kept
        )
        self.skew = abs(answer.wall_ms - self._civil() * 1000) / 1000
        if answer.steward != self._incarnation:
            self._notes = None
            return
        if self._notes is None:
            self._notes = _read(answer.notes)
        document = self._sync.limits
        if document is not None and document.capacity is not None and not self._sync.learning:
            await self._go_on(document, answer)

    async def _go_on(self, document: LimitsDocument, answer: Stewardship) -> None:
        assert document.capacity is not None
        sure = self.skew * 1000 <= MOST_SKEW_MS
        self._notes, move = take_round(
            self._notes or Notes(),
            document.capacity,
            answer.readings,
            answer.ledger_ms,
            answer.wall_ms if sure else None,
        )
        if move is None:
            return
        try:
            await self._ledger.publish(
                in_force(move.capacity, document),
                if_match=document.number,
                entry=_entry(document, move) if move.action else None,
            )
        except Stale:
            _log.info("%s: somebody changed the capacity first", move.action or move.text)
            return
        if move.action:
            _log.warning(
                "raise %s of %s %s: %s", move.change.name, move.scope, move.action, move.text
            )


def _entry(document: LimitsDocument, move: Move) -> AuditEntry:
    assert document.capacity is not None
    return AuditEntry(
        author=NAME,
        action=move.action,
        subject=f"{move.scope}, raise {move.change.name} by {move.change.author}",
        reason=move.text,
        before=in_words(document.capacity),
        after=in_words(move.capacity),
    )


def _read(notes: bytes) -> Notes:
    """What the former steward left. Notes of another version are worth nothing: windows begin
    anew, which only costs time."""
    try:
        return msgspec.json.decode(notes, type=Notes) if notes else Notes()
    except msgspec.MsgspecError:
        _log.warning("the notes of the former steward cannot be read: windows begin anew")
        return Notes()
