"""What a worker may write back after the ledger lost its memory, for both ledgers alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import SessionRecord


def seats_to_restore(
    sessions: Sequence[SessionRecord], refused: Sequence[str], seats: Sequence[tuple[str, str, int]]
) -> list[tuple[str, str, int]]:
    """Without the seats of employees none of whose sessions was accepted."""
    named = {record.employee for record in sessions}
    accepted = {record.employee for record in sessions if record.id not in set(refused)}
    gone = named - accepted
    return [seat for seat in seats if seat[0] not in gone]
