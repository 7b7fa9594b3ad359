"""Sessions, revocations and things used once, in memory: the twin of ``book_sessions.py``.

It must answer every call exactly as the Lua does (``lua/lib_sessions.lua``), bounds included. It
reads no clock: ``state`` tells ledger time. What Redis keeps longer by its own TTL does not exist
here, because by ledger time it is gone already.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import SessionsFull
from broker.ledger.port import Revocation, RevocationKind, SessionRecord
from broker.ledger.restoring import seats_to_restore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.memory_seats import LedgerState, MemorySeats

LONGEST_MS = 43_200_000
CLOCK_SLACK_MS = 60_000
PRUNE_ENTRIES = 50
LISTED_ENTRIES = 500
PURGE_ENTRIES = 500


class MemorySessions:
    """The session book of the twin. Methods answer as the port's of the same name."""

    def __init__(self, state: LedgerState, seats: MemorySeats) -> None:
        self._state = state
        self._seats = seats
        self._records: dict[str, SessionRecord] = {}
        self._used_ms: dict[str, int] = {}
        self._revocations: list[Revocation] = []
        self.last_revocation = 0
        """The number of the latest one."""
        self._revoked: dict[tuple[str, str], int] = {}
        self._purges: list[Revocation] = []
        self._longest_ms = LONGEST_MS
        self._newest_ms = 0
        self.last_read: dict[str, int] = {}
        """When an employee's entry was read last; 0: wanted at once."""
        self._once: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._order: dict[str, deque[str]] = {}
        seats.sweeps += [self._purge, self._expire]

    # --- sessions

    def put_session(
        self, record: SessionRecord, *, most: int, refuse: bool = False, replaced: str = ""
    ) -> tuple[str, ...]:
        if self._is_revoked(record):
            return (record.id,)
        if refuse:
            mine = (record.id, replaced)
            others = [o for o in self.sessions(record.employee) if o.id not in mine]
            if len(others) >= most:
                raise SessionsFull(f"This employee has {most} sessions already.")
        self._store(record)
        former = self._records.get(replaced)
        if former is not None and former.employee == record.employee and replaced != record.id:
            self._revoke("session", replaced, self._revocation_time())
        evicted = [other.id for other in self._of(record.employee)][:-most]
        for session_id in evicted:
            self._revoke("session", session_id, self._revocation_time())
        return tuple(evicted)

    def session(self, session_id: str) -> SessionRecord | None:
        record = self._records.get(session_id)
        if record is None or record.ends_ms <= self._state.now or self._is_revoked(record):
            return None
        return record

    def knows(self, session_id: str) -> bool:
        """Whether it is written here at all, valid or not."""
        return session_id in self._records

    def sessions(self, employee: str) -> tuple[SessionRecord, ...]:
        return tuple(self.used(r) for r in self._of(employee) if self.session(r.id) is not None)

    def used(self, record: SessionRecord) -> SessionRecord:
        """With its last use, as lists show it."""
        used_ms = self._used_ms.get(record.id, 0)
        return replace(record, last_seen_ms=max(record.last_seen_ms, used_ms))

    def apply_used(self, session_ids: Sequence[str]) -> None:
        for session_id in session_ids:
            if session_id in self._records:
                self._used_ms[session_id] = self._state.now

    def count(self, employee: str) -> int:
        return len(self._of(employee))

    def written(self, kind: RevocationKind, subject: str) -> list[SessionRecord]:
        """What is written, valid or not, as the sorted sets of Redis order it from their ends."""
        if kind == "session":
            record = self._records.get(subject)
            return [record] if record is not None else []
        if kind == "everybody":
            return sorted(self._records.values(), key=lambda r: (r.ends_ms, r.id), reverse=True)
        return [
            record
            for record in sorted(self._records.values(), key=_age, reverse=True)
            if subject == (record.employee if kind == "employee" else record.population)
        ]

    def update(self, employee: str, records: Sequence[SessionRecord]) -> int:
        updated = 0
        for record in records:
            known = self.session(record.id)
            if known is not None and known.employee == employee:
                self._records[record.id] = replace(
                    record, created_ms=known.created_ms, ends_ms=known.ends_ms
                )
                updated += 1
        if updated:
            self._revoke("changed", employee, self._state.now)
        return updated

    def end_session(self, session_id: str) -> bool:
        existed = session_id in self._records
        if ("session", session_id) not in self._revoked:
            self._revoke("session", session_id, self._revocation_time())
            self._seats.run_calls()
        return existed

    def revoke(self, kind: RevocationKind, subject: str) -> int:
        number = self._revoke(kind, subject, self._revocation_time())
        self._seats.run_calls()
        while self._purges:
            if self._state.learning:
                self._purge(PURGE_ENTRIES)
            else:
                self._seats.run_calls()
        return number

    def revocations_after(self, number: int) -> tuple[int, tuple[Revocation, ...]]:
        """The number up to which nothing is left out, and what follows ``number``."""
        later = [r for r in self._revocations if r.number > number][:LISTED_ENTRIES]
        upto = later[-1].number if len(later) == LISTED_ENTRIES else self.last_revocation
        return upto, tuple(later)

    def restore(
        self,
        revocations: Sequence[Revocation],
        sessions: Sequence[SessionRecord],
        seats: Sequence[tuple[str, str, int]],
    ) -> None:
        for revocation in revocations:
            known = self._revoked.get(_mark(revocation.kind, revocation.subject))
            if known is None or (revocation.kind != "session" and known < revocation.ledger_ms):
                self._revoke(revocation.kind, revocation.subject, revocation.ledger_ms)
        if revocations:
            self._seats.run_calls()
        refused = []
        for record in sessions:
            if record.ends_ms <= self._state.now or self._is_revoked(record):
                refused.append(record.id)
            elif record.id not in self._records:
                self._store(record)
        self._seats.restore(seats_to_restore(sessions, refused, seats))

    # --- used once

    def put_once(self, kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0) -> bool:
        if self.peek_once(kind, key) is not None:
            return False
        self._once[kind, key] = (self._state.now + ttl_ms, value)
        if most > 0:
            order = self._order.setdefault(kind, deque())
            order.append(key)
            if len(order) > most:
                self._once.pop((kind, order.popleft()), None)
        return True

    def take_once(self, kind: str, key: str) -> bytes | None:
        value = self.peek_once(kind, key)
        self._once.pop((kind, key), None)
        return value

    def peek_once(self, kind: str, key: str) -> bytes | None:
        ends_ms, value = self._once.get((kind, key), (0, b""))
        return value if ends_ms > self._state.now else None

    # --- pieces

    def _store(self, record: SessionRecord) -> None:
        self._records[record.id] = record
        self.last_read.setdefault(record.employee, self._state.now)
        self._longest_ms = max(self._longest_ms, record.ends_ms - record.created_ms)
        latest = min(record.created_ms, self._state.now + CLOCK_SLACK_MS)
        self._newest_ms = max(self._newest_ms, latest)

    def _of(self, employee: str) -> list[SessionRecord]:
        mine = [record for record in self._records.values() if record.employee == employee]
        return sorted(mine, key=_age)

    def _delete(self, session_id: str) -> None:
        record = self._records.pop(session_id, None)
        self._used_ms.pop(session_id, None)
        if record is not None and not self._of(record.employee):
            self._seats.give_back(record.employee)

    def _is_revoked(self, record: SessionRecord) -> bool:
        return self.is_revoked(record.id, record.employee, record.population, record.created_ms)

    def is_revoked(self, session_id: str, employee: str, population: str, created_ms: int) -> bool:
        if ("session", session_id) in self._revoked:
            return True
        marks = (("employee", employee), ("population", population), ("everybody", ""))
        return any(created_ms <= self._revoked.get(mark, -1) for mark in marks)

    def _revocation_time(self) -> int:
        return max(self._state.now, self._newest_ms)

    def _revoke(self, kind: RevocationKind, subject: str, ledger_ms: int) -> int:
        self._prune()
        self.last_revocation += 1
        revocation = Revocation(self.last_revocation, kind, subject, ledger_ms)
        self._revocations.append(revocation)
        if kind == "changed":
            return revocation.number
        mark = _mark(kind, subject)
        self._revoked[mark] = max(self._revoked.get(mark, 0), ledger_ms)
        if kind == "session":
            self._delete(subject)
        elif kind == "employee":
            for record in self._of(subject):
                if record.created_ms <= ledger_ms:
                    self._delete(record.id)
            if not self._of(subject):
                self._seats.give_back(subject)
        else:
            self._purges.append(revocation)
        return revocation.number

    def _prune(self) -> None:
        horizon = self._state.now - self._longest_ms
        for revocation in self._revocations[:PRUNE_ENTRIES]:
            if revocation.ledger_ms >= horizon:
                return
            self._revocations.remove(revocation)
            mark = _mark(revocation.kind, revocation.subject)
            if self._revoked.get(mark, 0) <= revocation.ledger_ms:
                self._revoked.pop(mark, None)

    def _purge(self, budget: int) -> int:
        left = budget
        while left > 0 and self._purges:
            revocation = self._purges[0]
            named = [
                record
                for record in sorted(self._records.values(), key=_population_age)
                if record.created_ms <= revocation.ledger_ms
                and revocation.kind in ("everybody", "population")
                and (revocation.kind == "everybody" or record.population == revocation.subject)
            ]
            for record in named[:left]:
                self._delete(record.id)
            left -= min(len(named), left)
            if left > 0:
                self._purges.remove(revocation)
        return budget - left

    def _expire(self, budget: int) -> int:
        ended = [r for r in self._records.values() if r.ends_ms <= self._state.now]
        for record in sorted(ended, key=lambda record: (record.ends_ms, record.id))[:budget]:
            self._delete(record.id)
        return min(len(ended), budget)


def _mark(kind: str, subject: str) -> tuple[str, str]:
    return (kind, "" if kind == "everybody" else subject)


def _age(record: SessionRecord) -> tuple[int, str]:
    return (record.created_ms, record.id)


def _population_age(record: SessionRecord) -> tuple[str, int, str]:
    return (record.population, record.created_ms, record.id)
