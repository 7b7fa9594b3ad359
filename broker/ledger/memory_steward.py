"""The twin's steward and audit trail: ``lua/steward.lua`` and ``lua/audit.lua`` once more."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.ledger.port import AuditEntry, Stewardship

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.ledger.memory import MemoryState
    from broker.policy.guard import Figures


class MemorySteward:
    """Both books, which share nothing but their readers."""

    def __init__(self, state: MemoryState) -> None:
        self._state = state
        self._entries: list[AuditEntry] = []
        self._figures: dict[str, tuple[int, Mapping[str, Figures]]] = {}
        self._holder = ""
        self._until = 0
        self._notes = b""

    def steward(
        self,
        incarnation: str,
        figures: Mapping[str, Figures],
        *,
        lease_ms: int,
        notes: bytes | None,
    ) -> Stewardship:
        state = self._state
        self._figures[incarnation] = state.now, dict(figures)
        if self._holder not in ("", incarnation) and self._until > state.now:
            return Stewardship(self._holder, state.now, state.wall_ms)
        self._holder, self._until = incarnation, state.now + lease_ms
        if notes:
            self._notes = notes
        known = {*state.grants.workers, incarnation}
        self._figures = {who: row for who, row in self._figures.items() if who in known}
        readings = {who: (state.now - at, row) for who, (at, row) in self._figures.items()}
        return Stewardship(incarnation, state.now, state.wall_ms, readings, self._notes)

    def record(self, entry: AuditEntry, version: int) -> int:
        number = len(self._entries) + 1
        self._entries.append(
            replace(entry, number=number, civil_ms=self._state.wall_ms, version=version)
        )
        return number

    def audit(self, most: int, before: int) -> Sequence[AuditEntry]:
        last = min(before - 1, len(self._entries)) if before > 0 else len(self._entries)
        return tuple(self._entries[max(0, last - most) : last])
