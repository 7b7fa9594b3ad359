"""Employees logged in by the ten thousand: their records and seats written to the ledger as a
worker would write them back, their cookies signed with the running broker's own keys.

Logging each of them in through the pages would measure the directory, not the gateway.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from broker.ledger.port import SessionRecord
from broker.ledger.redis_ledger import RedisLedger
from broker.site.tokens import KeyRing, SeatClaim, Tokens
from loadtest.bench.peers.broker import APP_HOST, SITE

if TYPE_CHECKING:
    from loadtest.bench.peers.broker import RunningBroker

POPULATION = "everyone"
GROUPS = ("cn=everyone,ou=groups,dc=intranet,dc=example",)
LIFETIME_MS = 12 * 3600 * 1000
TOKEN_SECONDS = 900.0
SEAT_MS = 840_000
AT_ONCE = 32


def log_in(found: RunningBroker, employees: int, browsers: int, *, seated: bool) -> list[str]:
    """The Cookie fields of ``employees`` x ``browsers`` sessions. ``seated``: each employee has a
    seat and the cookies say so; else each takes a ticket, if no seat is free."""
    return asyncio.run(_log_in(found, employees, browsers, seated=seated))


async def _log_in(
    found: RunningBroker, employees: int, browsers: int, *, seated: bool
) -> list[str]:
    ledger = await RedisLedger.connect(
        f"unix://{found.redis_socket}", SITE, 10.0, connections=AT_ONCE
    )
    try:
        usage = await ledger.usage()
        now = usage.ledger_ms
        kind = "seated" if seated else "waiting"
        names = [f"{kind}.{number:06d}" for number in range(employees)]
        records = [
            SessionRecord(
                id=f"{name}-{browser}".encode().hex().zfill(32),
                employee=name,
                display_name=name,
                population=POPULATION,
                groups=GROUPS,
                created_ms=now,
                ends_ms=now + LIFETIME_MS,
            )
            for name in names
            for browser in range(browsers)
        ]
        seats = [(name, POPULATION, 0) for name in names] if seated else []
        await ledger.restore((), records, seats)
        if not seated:
            for start in range(0, employees, AT_ONCE):
                some = names[start : start + AT_ONCE]
                await asyncio.gather(*(ledger.admit(name, POPULATION) for name in some))
    finally:
        await ledger.close()
    ring = KeyRing.from_json(found.keys.read_text())
    tokens = Tokens(ring, SITE, time.time, TOKEN_SECONDS)
    seat = SeatClaim(usage.epoch, now + SEAT_MS) if seated else None
    return [
        f"theme=dark; __Host-broker={tokens.session_cookie(record, APP_HOST, seat)}"
        for record in records
    ]
