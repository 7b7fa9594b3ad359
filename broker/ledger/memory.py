"""The twin: the whole ledger in memory, deciding with the pure policy.

For tests, what-if and simulation: one contract suite runs on it and on Redis, and histories are
replayed on both. ``clock`` is the wall clock in milliseconds, as Redis' TIME would be; ledger time
is made from it here just as ``lua/prelude.lua`` does.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import LedgerAway, LedgerLearning, Stale
from broker.ledger import reporting
from broker.ledger.memory_factors import MemoryFactors
from broker.ledger.memory_guesses import MemoryGuesses
from broker.ledger.memory_rereading import MemoryRereading
from broker.ledger.memory_seats import MemorySeats
from broker.ledger.memory_sessions import MemorySessions
from broker.ledger.memory_steward import MemorySteward
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
from broker.ledger.stored_limits import NOTHING
from broker.policy.grant_book import GrantBook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from broker.policy.guard import Figures
    from broker.policy.guessing import GuessRules
    from broker.policy.limits import LimitsDocument

MOST_ADVANCE_MS = 1000


class MemoryState:
    """What all books share: ledger time, learning, the document in force."""

    def __init__(self, wall_ms: int, epoch: str) -> None:
        self.now = wall_ms
        self.wall_ms = wall_ms
        self.grants = GrantBook(epoch=epoch, since_ms=wall_ms)

    @property
    def learning(self) -> bool:
        return self.grants.learning

    @property
    def limits(self) -> LimitsDocument | None:
        return self.grants.limits

    def advance(self, wall_ms: int) -> None:
        self.now += max(0, min(wall_ms - self.wall_ms, MOST_ADVANCE_MS))
        self.wall_ms = wall_ms


class MemoryLedger:
    """``broker.ledger.port.Ledger`` in memory. ``away`` makes every call fail, as a Redis that
    cannot be reached; ``lose_memory`` and ``restart`` are the faults of Redis."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._epochs = 0
        self._wakeups: set[MemoryWakeups] = set()
        self.away = False
        self.lose_memory()

    def lose_memory(self) -> None:
        """As FLUSHALL."""
        self.state = MemoryState(self._clock(), self._next_epoch())
        self.seats = MemorySeats(self.state)
        self.seats.epoch_changed()
        self.seat_sessions = MemorySessions(self.state, self.seats)
        self.rereading = MemoryRereading(self.state, self.seat_sessions)
        self.guesses = MemoryGuesses(self.state)
        self.factors = MemoryFactors(self.state, self.seat_sessions)
        self.stewards = MemorySteward(self.state)
        self.admin_tokens: dict[str, AdminToken] = {}

    def restart(self) -> None:
        """As a restart with everything kept: another run id, hence another epoch."""
        self.state.advance(self._clock())
        self.state.grants.begin_epoch(self._next_epoch(), self.state.now)
        self.seats.epoch_changed()

    def _next_epoch(self) -> str:
        self._epochs += 1
        return hashlib.sha256(f"{id(self)} {self._epochs}".encode()).hexdigest()[:20]

    def _call(self) -> MemoryState:
        """What each call does first."""
        if self.away:
            raise LedgerAway("The ledger cannot be reached.")
        self.state.advance(self._clock())
        self.state.grants.pass_time(self.state.now)
        return self.state

    def _wake(self) -> None:
        for wakeups in self._wakeups:
            wakeups.event.set()

    @contextmanager
    def _news(self) -> Iterator[None]:
        """Wakes everybody when a session was revoked meanwhile."""
        before = self.seat_sessions.last_revocation
        yield
        if self.seat_sessions.last_revocation != before:
            self._wake()

    # --- limits

    async def limits(self) -> LimitsDocument | None:
        return self._call().limits

    async def publish(
        self,
        document: LimitsDocument,
        *,
        if_match: int,
        first_start: bool = False,
        entry: AuditEntry | None = None,
    ) -> LimitsDocument:
        state = self._call()
        current = state.limits.number if state.limits else 0
        if current != if_match:
            raise Stale(f"The limits have changed meanwhile: their number is {current} now.")
        published = replace(document, number=max(current, document.number) + 1)
        state.grants.put_limits(published)
        if entry is not None:
            self.stewards.record(entry, published.number)
        if first_start and not state.grants.remembered:
            state.grants.start_first()
            self.seats.ticket_base = 0
        self.seats.run_calls()
        self._wake()
        return published

    # --- the steward, the audit trail

    async def steward(
        self,
        incarnation: str,
        figures: Mapping[str, Figures],
        *,
        lease_ms: int,
        notes: bytes | None = None,
    ) -> Stewardship:
        self._call()
        return self.stewards.steward(incarnation, figures, lease_ms=lease_ms, notes=notes)

    async def record(self, entry: AuditEntry) -> int:
        state = self._call()
        return self.stewards.record(entry, state.limits.number if state.limits else 0)

    async def audit(self, *, most: int, before: int = 0) -> Sequence[AuditEntry]:
        self._call()
        return self.stewards.audit(most, before)

    async def figures(self) -> Mapping[str, tuple[int, Mapping[str, Figures]]]:
        self._call()
        return self.stewards.figures()

    # --- tokens of the admin API

    async def put_token(self, token: AdminToken, entry: AuditEntry) -> bool:
        self._call()
        if token.name in self.admin_tokens:
            return False
        self.admin_tokens[token.name] = token
        await self.record(entry)
        return True

    async def drop_token(self, name: str, entry: AuditEntry) -> bool:
        self._call()
        if self.admin_tokens.pop(name, None) is None:
            return False
        await self.record(entry)
        return True

    async def tokens(self) -> Sequence[AdminToken]:
        self._call()
        return sorted(self.admin_tokens.values(), key=lambda token: token.name)

    # --- workers, grants

    async def sync(self, report: SyncReport) -> SyncReply:
        state = self._call()
        learning = state.learning
        same_epoch = report.epoch == state.grants.epoch
        lost = self.seats.apply_touches(report.touches) if same_epoch else ()
        self.seats.apply_promises(report.promises)
        self.seat_sessions.apply_used(report.sessions_used)
        no_ticket = self.seats.apply_presence(report.present)
        answer = state.grants.sync(reporting.told(report), state.now)
        self.seats.run_calls()
        known = report.revocations_known if same_epoch else 0
        upto, revocations = self.seat_sessions.revocations_after(known)
        limits = state.limits
        if limits is not None and same_epoch and report.limits_known == limits.number:
            limits = None
        if answer.wake or learning != state.learning:
            self._wake()
        return SyncReply(
            sequence=report.sequence,
            epoch=state.grants.epoch,
            learning=state.learning,
            ledger_ms=state.now,
            caps=dict(answer.caps),
            leases=dict(answer.leases),
            lost_seats=tuple(lost),
            revocations=revocations,
            revocations_upto=upto,
            limits=limits,
            queues=self.seats.queues(report.calls_known),
            starved=answer.starved,
            bases=dict(answer.bases),
            lost_tickets=no_ticket if same_epoch else (),
        )

    async def tombstone(self, incarnation: str) -> bool:
        state = self._call()
        return self._removed(state.grants.bury(incarnation, state.now))

    async def forget_worker(self, incarnation: str) -> bool:
        return self._removed(self._call().grants.forget(incarnation))

    def _removed(self, known: bool) -> bool:
        self.state.grants.pass_time(self.state.now)
        self.seats.run_calls()
        if known:
            self._wake()
        return known

    async def workers(self) -> Sequence[WorkerView]:
        return tuple(
            WorkerView(
                incarnation=incarnation,
                last_seen_ms=worker.seen_ms,
                limits_known=worker.limits_known,
                digest=worker.digest,
                held=sum(worker.booked.values()),
                used=sum(worker.used.values()),
            )
            for incarnation, worker in sorted(self._call().grants.workers.items())
        )

    # --- seats and tickets

    async def admit(self, employee: str, population: str) -> SeatAnswer:
        return (await self.admit_all(((employee, population),)))[0]

    async def admit_all(self, asking: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        epoch = self._call().grants.epoch
        return [replace(each, epoch=epoch) for each in self.seats.admit_all(asking)]

    async def put_back(self, tickets: Sequence[FormerTicket]) -> None:
        epoch = self._call().grants.epoch
        for each in tickets:
            if each.epoch != epoch:
                self.seats.put_back(each.employee, each.population, each.number, each.silent_ms)

    async def remove_ticket(self, employee: str) -> bool:
        self._call()
        return self.seats.remove_ticket(employee)

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        epoch = self._call().grants.epoch
        return replace(self.seats.look(employee, present=present), epoch=epoch)

    async def release(self, employee: str) -> bool:
        self._call()
        return self.seats.release(employee)

    async def evict_idle(self, *, most: int) -> int:
        self._call()
        return self.seats.evict_idle(most)

    # --- sessions

    async def put_session(
        self, record: SessionRecord, *, most: int, refuse: bool = False, replaced: str = ""
    ) -> tuple[str, ...]:
        self._call()
        with self._news():
            return self.seat_sessions.put_session(
                record, most=most, refuse=refuse, replaced=replaced
            )

    async def session(self, session_id: str) -> SessionRecord | None:
        self._call()
        record = self.seat_sessions.session(session_id)
        if record is None and self.state.learning and not self.seat_sessions.knows(session_id):
            raise LedgerLearning("The ledger is learning and does not know this session yet.")
        return record

    async def sessions(self, employee: str) -> Sequence[SessionRecord]:
        self._call()
        return self.seat_sessions.sessions(employee)

    async def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, Sequence[SessionRecord]]:
        self._call()
        return self.rereading.list_sessions(kind, subject, most)

    async def due_employees(self, most: int, every_ms: int) -> Sequence[str]:
        self._call()
        return self.rereading.due_employees(most, every_ms)

    async def mark_due(self, kind: RevocationKind, subject: str) -> int:
        self._call()
        self._wake()
        return self.rereading.mark_due(kind, subject)

    async def update_sessions(self, employee: str, records: Sequence[SessionRecord]) -> int:
        self._call()
        with self._news():
            return self.rereading.update_sessions(employee, records)

    async def end_session(self, session_id: str) -> bool:
        self._call()
        with self._news():
            return self.seat_sessions.end_session(session_id)

    async def revoke(self, kind: RevocationKind, subject: str) -> int:
        self._call()
        with self._news():
            return self.seat_sessions.revoke(kind, subject)

    async def restore(
        self,
        revocations: Sequence[Revocation],
        sessions: Sequence[SessionRecord],
        seats: Sequence[tuple[str, str, int]],
    ) -> None:
        self._call()
        self.seat_sessions.restore(revocations, sessions, seats)

    # --- things that may be used once

    async def put_once(
        self, kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0
    ) -> bool:
        self._call()
        return self.seat_sessions.put_once(kind, key, value, ttl_ms, most=most)

    async def take_once(self, kind: str, key: str) -> bytes | None:
        self._call()
        return self.seat_sessions.take_once(kind, key)

    async def peek_once(self, kind: str, key: str) -> bytes | None:
        self._call()
        return self.seat_sessions.peek_once(kind, key)

    # --- tries of passwords, bans

    async def guess(
        self, employee: str, address: str, browser: str, rules: GuessRules
    ) -> GuessAnswer:
        self._call()
        return self.guesses.guess(employee, address, browser, rules)

    async def settle_guess(self, tallies: Sequence[str], *, right: bool) -> None:
        self._call()
        self.guesses.settle_guess(tallies, right=right)

    async def banned(self, address: str) -> int:
        self._call()
        return self.guesses.banned(address)

    async def bans(self, most: int = 1000) -> Sequence[Ban]:
        self._call()
        return self.guesses.bans(most)

    async def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        self._call()
        return self.guesses.clear_bans(employee=employee, address=address)

    # --- second factors

    async def factor(self, employee: str) -> FactorView:
        self._call()
        return self.factors.factor(employee)

    async def enrol(
        self, employee: str, factor: Factor, population: str, proved_ms: int
    ) -> Enrolled:
        self._call()
        return self.factors.enrol(employee, factor, population, proved_ms)

    async def spend_step(self, employee: str, factor_id: str, step: int) -> bool:
        self._call()
        return self.factors.spend_step(employee, factor_id, step)

    async def spend_recovery(self, employee: str, factor_id: str, digest: str) -> bool:
        self._call()
        return self.factors.spend_recovery(employee, factor_id, digest)

    async def reseal_factor(self, employee: str, factor_id: str, sealed: str) -> bool:
        self._call()
        return self.factors.reseal_factor(employee, factor_id, sealed)

    async def reset_factor(self, employee: str, lasts_ms: int, entry: AuditEntry) -> bool:
        self._call()
        had = self.factors.reset_factor(employee, lasts_ms)
        await self.record(entry)
        return had

    async def open_enrolment(self, lasts_ms: int, entry: AuditEntry | None = None) -> None:
        self._call()
        self.factors.open_enrolment(lasts_ms)
        if entry is not None:
            await self.record(entry)

    async def enrolment(self) -> int:
        self._call()
        return self.factors.enrolment()

    # --- all

    async def usage(self) -> Usage:
        state = self._call()
        seats = self.seats.usage()
        return Usage(
            ledger_ms=state.now,
            epoch=state.grants.epoch,
            learning=state.learning,
            limits=state.limits or NOTHING,
            occupied={name: row[0] for name, row in seats.items()},
            called={name: row[1] for name, row in seats.items()},
            waiting={name: row[2] for name, row in seats.items()},
            held=state.grants.held(),
            used=state.grants.used(),
            estimates_shown=self.seats.estimates_shown,
            estimates_kept=self.seats.estimates_kept,
        )

    async def measures(self, idle_ms: Sequence[int]) -> Measures:
        self._call()
        return Measures(self.seats.idle(idle_ms), self.stewards.notes)

    async def wakeups(self) -> MemoryWakeups:
        self._call()
        wakeups = MemoryWakeups(self._wakeups.discard)
        self._wakeups.add(wakeups)
        return wakeups

    async def close(self) -> None:
        """Nothing to close."""


class MemoryWakeups:
    """Wakes within this process."""

    def __init__(self, forget: Callable[[MemoryWakeups], None]) -> None:
        self.event = asyncio.Event()
        self._forget = forget

    async def next(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return False
        self.event.clear()
        return True

    async def close(self) -> None:
        self._forget(self)
