"""Sessions, revocations and things used once, in Redis: scripts, and the reading of their answers.

A record is stored as the JSON of ``SessionRecord``; Lua never looks inside. Revocations of a
population or of everybody are in force at once; the many records they name are deleted in bounded
portions, so that no script holds Redis up.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from broker.errors import LedgerLearning, SessionsFull
from broker.ledger.book_seats import text
from broker.ledger.port import Revocation, SessionRecord
from broker.ledger.restoring import seats_to_restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from broker.ledger.book_seats import Scripts
    from broker.ledger.port import RevocationKind

RESTORED_ENTRIES = 250  # per call
UNDECIDED = 2  # session.lua: perhaps not written back yet


class BookSessions:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def put_session(
        self, record: SessionRecord, *, most: int, refuse: bool = False, replaced: str = ""
    ) -> tuple[str, ...]:
        evicted = await self._scripts.run(
            "put_session",
            record.id,
            record.employee,
            record.population,
            record.created_ms,
            record.ends_ms,
            most,
            msgspec.json.encode(record),
            int(refuse),
            replaced,
        )
        if isinstance(evicted, int):
            raise SessionsFull(f"This employee has {most} sessions already.")
        return tuple(text(session_id) for session_id in evicted)

    async def session(self, session_id: str) -> SessionRecord | None:
        found, *record = await self._scripts.run("session", session_id)
        if found == UNDECIDED:
            raise LedgerLearning("The ledger is learning and does not know this session yet.")
        return _record(record[0]) if record else None

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        found = await self._scripts.run("sessions", employee)
        return _used(found)

    async def end_session(self, session_id: str) -> bool:
        return bool(await self._scripts.run("end_session", session_id))

    async def revoke(self, kind: RevocationKind, subject: str) -> int:
        number, unfinished = await self._scripts.run("revoke", kind, subject)
        while unfinished:
            unfinished = await self._scripts.run("purge")
        return int(number)

    async def restore(
        self,
        revocations: Sequence[Revocation],
        sessions: Sequence[SessionRecord],
        seats: Sequence[tuple[str, str, int]],
    ) -> None:
        """Revocations first, so that none of the sessions they name comes back."""
        for named in _portions((r.kind, r.subject, r.ledger_ms) for r in revocations):
            await self._scripts.run("restore_revocations", msgspec.json.encode(named))
        refused: list[str] = []
        for records in _portions(_row(record) for record in sessions):
            answer = await self._scripts.run("restore_sessions", msgspec.json.encode(records))
            refused += [text(session_id) for session_id in answer]
        for held in _portions(seats_to_restore(sessions, refused, seats)):
            await self._scripts.run("restore_seats", msgspec.json.encode(held))

    async def due_employees(self, most: int, every_ms: int) -> Sequence[str]:
        return tuple(map(text, await self._scripts.run("reread", "due", most, every_ms)))

    async def mark_due(self, kind: RevocationKind, subject: str) -> int:
        marked, offset = 0, 0
        while offset >= 0:
            more, offset = await self._scripts.run("reread", "mark", kind, subject, offset)
            marked += int(more)
        return marked

    async def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, Sequence[SessionRecord]]:
        total, *found = await self._scripts.run("reread", "list", kind, subject, most)
        return int(total), _used(found)

    async def update_sessions(self, employee: str, records: Sequence[SessionRecord]) -> int:
        flat: list[str | bytes] = []
        for record in records:
            flat += (record.id, record.population, msgspec.json.encode(record))
        return int(await self._scripts.run("reread", "update", employee, *flat))

    async def put_once(
        self, kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0
    ) -> bool:
        name = f"{kind}:{key}"
        return bool(await self._scripts.run("once", "put", name, value, ttl_ms, most, kind))

    async def take_once(self, kind: str, key: str) -> bytes | None:
        return _bytes(await self._scripts.run("once", "take", f"{kind}:{key}"))

    async def peek_once(self, kind: str, key: str) -> bytes | None:
        return _bytes(await self._scripts.run("once", "peek", f"{kind}:{key}"))


def revocations_from(flat: Sequence[Any]) -> tuple[int, tuple[Revocation, ...]]:
    """What Lua's ``sessions.revocations_after`` answers: the number up to which nothing is left
    out, and the revocations."""
    upto, *rest = flat
    rows = zip(*(islice(rest, column, None, 4) for column in range(4)), strict=True)
    return int(upto), tuple(
        Revocation(int(number), text(kind), text(subject), int(ledger_ms))  # type: ignore[arg-type]
        for number, kind, subject, ledger_ms in rows
    )


def _row(record: SessionRecord) -> tuple[str, str, str, int, int, str]:
    encoded = msgspec.json.encode(record).decode()
    return (
        record.id,
        record.employee,
        record.population,
        record.created_ms,
        record.ends_ms,
        encoded,
    )


def _portions(rows: Iterable[Any]) -> Iterator[list[Any]]:
    pending = iter(rows)
    while portion := list(islice(pending, RESTORED_ENTRIES)):
        yield portion


def _record(encoded: bytes | None) -> SessionRecord | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=SessionRecord)


def _used(flat: Sequence[Any]) -> tuple[SessionRecord, ...]:
    """Records, each followed by when it was used last."""
    records = (msgspec.json.decode(encoded, type=SessionRecord) for encoded in flat[::2])
    return tuple(
        replace(record, last_seen_ms=max(record.last_seen_ms, used))
        for record, used in zip(records, flat[1::2], strict=True)
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
