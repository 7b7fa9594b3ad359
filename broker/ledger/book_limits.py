"""The limits document in Redis, and the snapshot of how it is used.

The document is stored as JSON that no script looks into; what scripts need of it is written beside
it in the same call (``grant_limits.py``, ``seat_limits.py``). Its number lives in Redis alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from broker.errors import Stale
from broker.ledger import grant_limits, seat_limits
from broker.ledger.book_audit import written
from broker.ledger.book_grants import worker_records
from broker.ledger.book_seats import text
from broker.ledger.port import Usage
from broker.ledger.stored_limits import NOTHING, decoded
from broker.policy.grant_book import total

if TYPE_CHECKING:
    from broker.ledger.port import AuditEntry
    from broker.ledger.scripts import Scripts
    from broker.policy.limits import LimitsDocument


class BookLimits:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def limits(self) -> LimitsDocument | None:
        return decoded(await self._scripts.run("limits"))

    async def publish(
        self,
        document: LimitsDocument,
        *,
        if_match: int,
        first_start: bool = False,
        entry: AuditEntry | None = None,
    ) -> LimitsDocument:
        leases = [pool.lease_ms for pool in document.pools.values()]
        number, published = await self._scripts.run(
            "publish",
            if_match,
            document.number,
            msgspec.json.encode(document),
            grant_limits.encode(document),
            seat_limits.encode(document),
            max(leases, default=0),
            int(first_start),
            "" if entry is None else written(entry),
        )
        if not published:
            raise Stale(f"The limits have changed meanwhile: their number is {number} now.")
        return replace(document, number=number)

    async def usage(self) -> Usage:
        now, epoch, learning, document, seats, workers = await self._scripts.run("usage")
        limits = decoded(document)
        records = worker_records(workers).values()
        rows = [seats[start : start + 4] for start in range(0, len(seats), 4)]
        return Usage(
            ledger_ms=now,
            epoch=text(epoch),
            learning=bool(learning),
            limits=limits if limits is not None else NOTHING,
            occupied={text(name): occupied for name, occupied, _, _ in rows},
            called={text(name): called for name, _, called, _ in rows},
            waiting={text(name): waiting for name, _, _, waiting in rows},
            held=total(record.cells(record.booked) for record in records),
            used=total(record.cells(record.used) for record in records),
        )
