"""The ledger in Redis: one client, the books put together, early wake-ups.

Speaks to Redis through ``scripts.Scripts`` and hands each call of the port to the book that owns
it. Decides nothing itself; which node is spoken to is the business of ``connections``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.ledger.book_audit import BookAudit
from broker.ledger.book_factors import BookFactors
from broker.ledger.book_grants import BookGrants
from broker.ledger.book_guesses import BookGuesses
from broker.ledger.book_limits import BookLimits
from broker.ledger.book_measures import BookMeasures
from broker.ledger.book_seats import BookSeats
from broker.ledger.book_sessions import BookSessions
from broker.ledger.book_steward import BookSteward
from broker.ledger.book_tokens import BookTokens
from broker.ledger.connections import FAULTS, Address, open_client
from broker.ledger.scripts import Scripts, cancellable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from redis.asyncio.client import PubSub

    from broker.ledger.port import (
        AdminToken,
        AuditEntry,
        Ban,
        Enrolled,
        Factor,
        FactorView,
        FormerTicket,
        GuessAnswer,
        Measures,
        Revocation,
        RevocationKind,
        SeatAnswer,
        SessionRecord,
        Stewardship,
        SyncReply,
        SyncReport,
        Usage,
        WorkerView,
    )
    from broker.policy.guard import Figures
    from broker.policy.guessing import GuessRules
    from broker.policy.limits import LimitsDocument


class RedisLedger:
    """``broker.ledger.port.Ledger`` on Redis 6.2 or later, or Valkey."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._grants = BookGrants(scripts)
        self._limits = BookLimits(scripts)
        self._seats = BookSeats(scripts)
        self._sessions = BookSessions(scripts)
        self._guesses = BookGuesses(scripts)
        self._factors = BookFactors(scripts)
        self._steward = BookSteward(scripts)
        self._audit = BookAudit(scripts)
        self._measures = BookMeasures(scripts)
        self._tokens = BookTokens(scripts)

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
        """Prepare; the first call connects. ``url`` as ``connections.Address`` reads it.

        ``connections`` bounds the pool: more calls at once wait for one, within their deadline.
        Raises ConfigurationError when there is no such kind of URL.
        """
        client = open_client(Address.read(url), deadline=deadline, calls=connections)
        return cls(Scripts(client, site, deadline, calls=connections, wall_clock=wall_clock))

    # --- limits

    async def limits(self) -> LimitsDocument | None:
        return await self._limits.limits()

    async def publish(
        self,
        document: LimitsDocument,
        *,
        if_match: int,
        first_start: bool = False,
        entry: AuditEntry | None = None,
    ) -> LimitsDocument:
        return await self._limits.publish(
            document, if_match=if_match, first_start=first_start, entry=entry
        )

    # --- the steward, the audit trail

    async def steward(
        self,
        incarnation: str,
        figures: Mapping[str, Figures],
        *,
        lease_ms: int,
        notes: bytes | None = None,
    ) -> Stewardship:
        return await self._steward.steward(incarnation, figures, lease_ms=lease_ms, notes=notes)

    async def figures(self) -> Mapping[str, tuple[int, Mapping[str, Figures]]]:
        return await self._steward.figures()

    async def record(self, entry: AuditEntry) -> int:
        return await self._audit.record(entry)

    async def audit(self, *, most: int, before: int = 0) -> Sequence[AuditEntry]:
        return await self._audit.audit(most=most, before=before)

    # --- tokens of the admin API

    async def put_token(self, token: AdminToken, entry: AuditEntry) -> bool:
        return await self._tokens.put_token(token, entry)

    async def drop_token(self, name: str, entry: AuditEntry) -> bool:
        return await self._tokens.drop_token(name, entry)

    async def tokens(self) -> Sequence[AdminToken]:
        return await self._tokens.tokens()

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

    async def admit_all(self, asking: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        return await self._seats.admit_all(asking)

    async def put_back(self, tickets: Sequence[FormerTicket]) -> None:
        await self._seats.put_back(tickets)

    async def remove_ticket(self, employee: str) -> bool:
        return await self._seats.remove_ticket(employee)

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        return await self._seats.look(employee, present=present)

    async def release(self, employee: str) -> bool:
        return await self._seats.release(employee)

    async def evict_idle(self, *, most: int) -> int:
        return await self._seats.evict_idle(most)

    # --- sessions

    async def put_session(
        self, record: SessionRecord, *, most: int, refuse: bool = False, replaced: str = ""
    ) -> tuple[str, ...]:
        return await self._sessions.put_session(record, most=most, refuse=refuse, replaced=replaced)

    async def session(self, session_id: str) -> SessionRecord | None:
        return await self._sessions.session(session_id)

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        return await self._sessions.sessions(employee)

    async def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, Sequence[SessionRecord]]:
        return await self._sessions.list_sessions(kind, subject, most)

    async def due_employees(self, most: int, every_ms: int) -> Sequence[str]:
        return await self._sessions.due_employees(most, every_ms)

    async def mark_due(self, kind: RevocationKind, subject: str) -> int:
        return await self._sessions.mark_due(kind, subject)

    async def update_sessions(self, employee: str, records: Sequence[SessionRecord]) -> int:
        return await self._sessions.update_sessions(employee, records)

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

    async def put_once(
        self, kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0
    ) -> bool:
        return await self._sessions.put_once(kind, key, value, ttl_ms, most=most)

    async def take_once(self, kind: str, key: str) -> bytes | None:
        return await self._sessions.take_once(kind, key)

    async def peek_once(self, kind: str, key: str) -> bytes | None:
        return await self._sessions.peek_once(kind, key)

    # --- tries of passwords, bans

    async def guess(
        self, employee: str, address: str, browser: str, rules: GuessRules
    ) -> GuessAnswer:
        return await self._guesses.guess(employee, address, browser, rules)

    async def settle_guess(self, tallies: Sequence[str], *, right: bool) -> None:
        await self._guesses.settle_guess(tallies, right=right)

    async def banned(self, address: str) -> int:
        return await self._guesses.banned(address)

    async def bans(self, most: int = 1000) -> Sequence[Ban]:
        return await self._guesses.bans(most)

    async def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        return await self._guesses.clear_bans(employee=employee, address=address)

    # --- second factors

    async def factor(self, employee: str) -> FactorView:
        return await self._factors.factor(employee)

    async def enrol(
        self, employee: str, factor: Factor, population: str, proved_ms: int
    ) -> Enrolled:
        return await self._factors.enrol(employee, factor, population, proved_ms)

    async def spend_step(self, employee: str, factor_id: str, step: int) -> bool:
        return await self._factors.spend_step(employee, factor_id, step)

    async def spend_recovery(self, employee: str, factor_id: str, digest: str) -> bool:
        return await self._factors.spend_recovery(employee, factor_id, digest)

    async def reseal_factor(self, employee: str, factor_id: str, sealed: str) -> bool:
        return await self._factors.reseal_factor(employee, factor_id, sealed)

    async def reset_factor(self, employee: str, lasts_ms: int, entry: AuditEntry) -> bool:
        return await self._factors.reset_factor(employee, lasts_ms, entry)

    async def open_enrolment(self, lasts_ms: int, entry: AuditEntry | None = None) -> None:
        await self._factors.open_enrolment(lasts_ms, entry)

    async def enrolment(self) -> int:
        return await self._factors.enrolment()

    # --- all

    async def usage(self) -> Usage:
        return await self._limits.usage()

    async def measures(self, idle_ms: Sequence[int]) -> Measures:
        return await self._measures.measures(idle_ms)

    async def wakeups(self) -> RedisWakeups:
        wakeups = RedisWakeups(self._scripts)
        await wakeups.subscribe()
        return wakeups

    async def close(self) -> None:
        await self._scripts.client.close()


class RedisWakeups:
    """Pub/sub as an alarm clock. A lost connection only makes the worker wait for its own tick; the
    next call subscribes again, at whichever node is there by then."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._subscription: PubSub | None = None

    async def subscribe(self) -> PubSub:
        """The subscription, made if there is none. Raises LedgerAway."""
        if self._subscription is None:
            client = self._scripts.client
            async with self._scripts.within_deadline():
                await client.ready()
                subscription = client.redis.pubsub(ignore_subscribe_messages=True)
                try:
                    await subscription.subscribe(self._scripts.prefix + "wake")
                except BaseException:
                    await subscription.aclose()  # type: ignore[no-untyped-call]
                    raise
            self._subscription = subscription
        return self._subscription

    async def next(self, seconds: float) -> bool:
        """Whether something happened within ``seconds``. Never raises for want of Redis."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + seconds
        while (left := ends - loop.time()) > 0:
            try:
                subscription = await self.subscribe()
                with cancellable():
                    if await subscription.get_message(timeout=left) is not None:
                        return True
            except (LedgerAway, *FAULTS):
                await self.close()
                await asyncio.sleep(max(0.0, min(ends - loop.time(), 1.0)))
        return False

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            await subscription.aclose()  # type: ignore[no-untyped-call]
