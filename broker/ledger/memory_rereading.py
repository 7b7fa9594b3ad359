"""Whose entry is to be read again, in memory: the twin of ``lua/reread.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.memory_seats import LedgerState
    from broker.ledger.memory_sessions import MemorySessions
    from broker.ledger.port import RevocationKind, SessionRecord


class MemoryRereading:
    """Methods answer as the port's of the same name."""

    def __init__(self, state: LedgerState, sessions: MemorySessions) -> None:
        self._state = state
        self._sessions = sessions

    def due_employees(self, most: int, every_ms: int) -> tuple[str, ...]:
        read = self._sessions.last_read
        limit = max(0, self._state.now - every_ms)
        due = sorted((ms, name) for name, ms in read.items() if ms <= limit)
        found = []
        for _, name in due[:most]:
            if self._sessions.count(name):
                read[name] = self._state.now
                found.append(name)
            else:
                del read[name]
        return tuple(found)

    def mark_due(self, kind: RevocationKind, subject: str) -> int:
        marked = 0
        for record in self._sessions.written(kind, subject):
            if self._sessions.last_read.get(record.employee) != 0:
                self._sessions.last_read[record.employee] = 0
                marked += 1
        return marked

    def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, tuple[SessionRecord, ...]]:
        written = self._sessions.written(kind, subject)
        valid = (each for each in written[:most] if self._sessions.session(each.id) is not None)
        return len(written), tuple(map(self._sessions.used, valid))

    def update_sessions(self, employee: str, records: Sequence[SessionRecord]) -> int:
        return self._sessions.update(employee, records)
