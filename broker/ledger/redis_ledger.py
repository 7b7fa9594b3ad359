"""The ledger in Redis: one connection pool, the books put together, early wake-ups.

Speaks to Redis through ``scripts.Scripts`` and hands each call of the port to the book that owns
it. Decides nothing itself. redis-py's own retries are off: a sync that was executed twice would be
harmless, a hand-over code that was taken twice would not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from broker.errors import LedgerAway
from broker.ledger.book_grants import BookGrants
from broker.ledger.book_limits import BookLimits
from broker.ledger.book_seats import BookSeats
from broker.ledger.book_sessions import BookSessions
from broker.ledger.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.client import PubSub

    from broker.ledger.port import (
        Revocation,
        RevocationKind,
        SeatAnswer,
        SessionRecord,
        SyncReply,
        SyncReport,
        Usage,
        WorkerView,
    )
    from broker.policy.limits import LimitsDocument


class RedisLedger:
    """``broker.ledger.port.Ledger`` on Redis 6.2 or later, or Valkey."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._grants = BookGrants(scripts)
        self._limits = BookLimits(scripts)
        self._seats = BookSeats(scripts)
        self._sessions = BookSessions(scripts)

    @classmethod
    async def connect(
        cls,
        url: str,
        site: str,
        deadline: float = 0.1,
        *,
        connections: int = 16,
        wall_clock: str | None = None,
    ) -> RedisLedger:
        """Prepare; the first call connects. ``url`` as redis-py reads it (redis, rediss, unix).

        ``connections`` bounds the pool: more calls at once wait for one, within their deadline.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=None,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
        )
        redis = Redis.from_pool(pool)
        return cls(Scripts(redis, site, deadline, wall_clock=wall_clock))

    # --- limits

    async def limits(self) -> LimitsDocument | None:
        return await self._limits.limits()

    async def publish(
        self, document: LimitsDocument, *, if_match: int, first_start: bool = False
    ) -> LimitsDocument:
        return await self._limits.publish(document, if_match=if_match, first_start=first_start)

    # --- workers, grants

    async def sync(self, report: SyncReport) -> SyncReply:
        return await self._grants.sync(report)

    async def tombstone(self, incarnation: str) -> bool:
        return await self._grants.tombstone(incarnation)

    async def forget_worker(self, incarnation: str) -> bool:
        return await self._grants.forget_worker(incarnation)

    async def workers(self) -> Sequence[WorkerView]:
        return await self._grants.workers()

    # --- seats and tickets

    async def admit(self, employee: str, population: str) -> SeatAnswer:
        return await self._seats.admit(employee, population)

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        return await self._seats.look(employee, present=present)

    async def release(self, employee: str) -> bool:
        return await self._seats.release(employee)

    # --- sessions

    async def put_session(self, record: SessionRecord, *, most: int) -> tuple[str, ...]:
        return await self._sessions.put_session(record, most=most)

    async def session(self, session_id: str) -> SessionRecord | None:
        return await self._sessions.session(session_id)

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        return await self._sessions.sessions(employee)

    async def end_session(self, session_id: str) -> bool:
        return await self._sessions.end_session(session_id)

    async def revoke(self, kind: RevocationKind, subject: str) -> int:
        return await self._sessions.revoke(kind, subject)

    async def restore(
        self,
        revocations: Sequence[Revocation],
        sessions: Sequence[SessionRecord],
        seats: Sequence[tuple[str, str, int]],
    ) -> None:
        await self._sessions.restore(revocations, sessions, seats)

    # --- things that may be used once

    async def put_once(self, kind: str, key: str, value: bytes, ttl_ms: int) -> bool:
        return await self._sessions.put_once(kind, key, value, ttl_ms)

    async def take_once(self, kind: str, key: str) -> bytes | None:
        return await self._sessions.take_once(kind, key)

    async def peek_once(self, kind: str, key: str) -> bytes | None:
        return await self._sessions.peek_once(kind, key)

    # --- all

    async def usage(self) -> Usage:
        return await self._limits.usage()

    async def wakeups(self) -> RedisWakeups:
        subscription = self._scripts.redis.pubsub(ignore_subscribe_messages=True)
        try:
            async with self._scripts.within_deadline():
                await subscription.subscribe(self._scripts.prefix + "wake")
        except LedgerAway:
            await subscription.aclose()  # type: ignore[no-untyped-call]
            raise
        return RedisWakeups(subscription)

    async def close(self) -> None:
        await self._scripts.redis.aclose(close_connection_pool=True)


class RedisWakeups:
    """Pub/sub as an alarm clock. A lost connection only makes the worker wait for its own tick; the
    next call connects and subscribes again."""

    def __init__(self, subscription: PubSub) -> None:
        self._subscription = subscription

    async def next(self, seconds: float) -> bool:
        """Whether something happened within ``seconds``. Never raises for want of Redis."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while (left := ends - loop.time()) > 0:
            try:
                if await self._subscription.get_message(timeout=left) is not None:
                    return True
            except (RedisError, OSError):
                await asyncio.sleep(min(left, 1.0))
        return False

    async def close(self) -> None:
        await self._subscription.aclose()  # type: ignore[no-untyped-call]
