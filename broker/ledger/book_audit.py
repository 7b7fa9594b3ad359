"""The audit trail in Redis: a list that only grows, written by ``lua/lib_start.lua``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broker.ledger.port import AuditEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.scripts import Scripts


class BookAudit:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def record(self, entry: AuditEntry) -> int:
        number: int = await self._scripts.run("record", written(entry))
        return number

    async def audit(self, *, most: int, before: int = 0) -> Sequence[AuditEntry]:
        first, lines = await self._scripts.run("audit", most, before)
        return tuple(_read(line, first + index) for index, line in enumerate(lines))


def written(entry: AuditEntry) -> bytes:
    """What the script puts behind time and version."""
    told = (entry.author, entry.action, entry.subject, entry.reason, entry.before, entry.after)
    return msgspec.json.encode(told)


def _read(line: bytes, number: int) -> AuditEntry:
    civil, version, told = line.split(b" ", 2)
    texts = msgspec.json.decode(told, type=tuple[str, str, str, str, str, str])
    return AuditEntry(*texts, number=number, civil_ms=int(civil), version=int(version))
