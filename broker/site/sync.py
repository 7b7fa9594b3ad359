"""The sync: one conversation of a worker with the ledger, every tick and at once when it matters.

It carries everything that must not cost a round trip on the data path: what the worker holds and
wants of each cell, who was active (touches), who polled the waiting room, which revocations and
limits it knows. What comes back is applied in one go: caps and fences, revocations, lost seats, the
queues, a new limits document. The rules of escrow are ``policy.worker_book``'s; here is the order
of events and the failure of the ledger. One sync is under way at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from broker.errors import LedgerAway, Stale
from broker.ledger.port import Touch
from broker.ledger.reporting import sync_report
from broker.policy.worker_book import Accepted, CellUse, WorkerBook
from broker.site.claims import trusted_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.ledger.port import Ledger, SyncReply
    from broker.policy.limits import LimitsDocument
    from broker.site.admission import Person, Spending
    from broker.site.ledger_time import LedgerTime
    from broker.site.session_cache import SessionCache
    from broker.site.waiting_room import WaitingRoom

_log = logging.getLogger(__name__)

TOUCH_EVERY = 10.0  # seconds: at most one touch per seat and worker
SPACING = 0.01  # seconds between two syncs, however urgent
QUIET = 5.0  # seconds without a byte from the browser before a lost seat closes its tunnels
RECONNECT = 1.0  # seconds between attempts to subscribe to wake-ups
DEFAULT_IDLE = 900.0  # seconds, until the first document has been heard


class Sync:
    """One per worker. ``wake`` is set by anybody who wants a sync at once (``Cell.short``)."""

    def __init__(
        self,
        book: WorkerBook,
        ledger: Ledger,
        spending: Spending,
        sessions: SessionCache,
        ledger_time: LedgerTime,
        room: WaitingRoom,
        wake: asyncio.Event,
        clock: Callable[[], float],
    ) -> None:
        self._book = book
        self._ledger = ledger
        self._spending = spending
        self._sessions = sessions
        self._ledger_time = ledger_time
        self._room = room
        self._wake = wake
        self._clock = clock
        self._to_touch: deque[Person] = deque()
        self._touches_due = 0.0
        self._round_due = 0.0
        self.limits: LimitsDocument | None = None
        self.revocations_known = 0
        self.up = False
        self.epoch_changes = 0
        self._owes_what_it_knows = False

    @property
    def learning(self) -> bool:
        return self._book.learning

    @property
    def limits_known(self) -> int:
        return self._book.limits_known

    def idle(self) -> float:
        """The idle time in force, in seconds."""
        return self.limits.idle_ms / 1000 if self.limits is not None else DEFAULT_IDLE

    def configured(self, digest: str) -> None:
        """Another configuration has been read: the next report says so."""
        self._book.digest = digest

    # --- the loop

    async def run(self) -> None:
        """Until cancelled. Never raises on account of the ledger."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            while True:
                began = self._clock()
                again = await self.once()
                if not again:
                    timer = loop.call_later(self._book.tick, self._wake.set)
                    await self._wake.wait()
                    timer.cancel()
                self._wake.clear()
                early = SPACING - (self._clock() - began)
                if early > 0:
                    await asyncio.sleep(early)

    async def _listen(self) -> None:
        while True:
            try:
                wakeups = await self._ledger.wakeups()
            except LedgerAway:
                await asyncio.sleep(RECONNECT)
                continue
            try:
                while True:
                    if await wakeups.next(RECONNECT):
                        self._wake.set()
            finally:
                await wakeups.close()

    async def leave(self) -> None:
        """The last report of a worker that has drained: everything goes home at once."""
        try:
            told = self._book.report(self._clock(), self._uses(), leaving=True)
            self._apply_caps()
            await self._ledger.sync(sync_report(told))
        except LedgerAway as away:
            _log.warning("leaving without a word: %s", away.reason)

    async def once(self) -> bool:
        """One sync. True when the next should follow at once."""
        now = self._clock()
        if self._owes_what_it_knows and not await self._pay_back(now):
            return False
        told = self._book.report(now, self._uses())
        self._apply_caps()  # the debits, before anything is sent
        touched = self._due_touches(now)
        present, promises = self._room.present(), self._room.promises()
        used = self._sessions.take_used()
        report = sync_report(
            told,
            touches=[
                Touch(person.name, max(0, int((now - person.last_active) * 1000)))
                for person in touched
            ],
            revocations_known=self.revocations_known,
            present=present,
            promises=promises,
            calls_known=self._room.calls_known,
            sessions_used=used,
        )
        try:
            reply = await self._ledger.sync(report)
        except LedgerAway as away:
            if self.up:
                _log.warning("the ledger is away: %s", away.reason)
            self.up = False
            self._sessions.not_told(used)
            return False
        if not self.up:
            _log.info("the ledger answers")
        self.up = True
        self._room.delivered(present, promises)
        return await self._apply(reply, touched, now)

    # --- sending

    def _uses(self) -> list[CellUse]:
        uses = []
        for cell in self._spending.all():
            uses.append(
                CellUse(
                    cell.pool,
                    cell.population,
                    cell.used,
                    cell.peak,
                    len(cell.waiters),
                    cell.oldest_want(),
                )
            )
            cell.peak = cell.used
        return uses

    def _apply_caps(self) -> None:
        book = self._book
        hurry = bool(book.starved)
        for cell in self._spending.all():
            cell.cap = book.cap(cell.pool, cell.population)
            cell.fence_at = book.fence_at(cell.pool)
            cell.return_at_once = hurry or cell.used > cell.cap
            if cell.waiters:
                cell.serve_waiters()

    def _due_touches(self, now: float) -> list[Person]:
        """A part of the people each tick, everybody once in QUIET seconds: who was active since a
        touch that is TOUCH_EVERY old, and who holds a tunnel open and may have lost the seat."""
        if now < self._touches_due:
            return []
        self._touches_due = now + self._book.tick
        if not self._to_touch:
            if now < self._round_due:
                return []
            self._round_due = now + QUIET
            self._to_touch.extend(self._sessions.people())
        share = -(-self._sessions.people_count() // max(1, int(QUIET / self._book.tick)))
        due = []
        for _ in range(min(share, len(self._to_touch))):
            person = self._to_touch.popleft()
            active = person.seat_until > 0.0 and person.last_active > person.touched_at
            due_again = active and now - person.touched_at >= TOUCH_EVERY
            if due_again or person.in_flight:
                due.append(person)
        return due

    # --- receiving

    async def _apply(self, reply: SyncReply, touched: list[Person], sent_at: float) -> bool:
        accepted = self._book.accept(reply)
        if accepted is Accepted.STALE:
            return False
        if accepted is Accepted.EPOCH:
            await self._meet_epoch(reply, sent_at)
            return True
        self._ledger_time.heard(reply.epoch, reply.ledger_ms, sent_at)
        for revocation in reply.revocations:
            self._sessions.revoke(revocation)
        self.revocations_known = max(self.revocations_known, reply.revocations_upto)
        await self._sessions.reread()
        self._confirm(touched, set(reply.lost_seats), sent_at)
        self._sessions.sweep(sent_at)
        if reply.limits is not None:
            self.limits = reply.limits
            self._sessions.shorten_seats(trusted_for(self.idle()))
        self._room.heard(reply, self.limits)
        self._lose_tickets(reply.lost_tickets)
        self._apply_caps()
        return reply.limits is not None or self._book.due  # to acknowledge, or to give back

    def _confirm(self, touched: list[Person], lost: set[str], sent_at: float) -> None:
        trusted = trusted_for(self.idle())
        for person in touched:
            if person.name not in lost:
                person.touched_at = sent_at
                if person.seat_until > 0.0 and person.last_active > 0.0:
                    until = min(person.last_active, sent_at) + trusted
                    person.seat_until = max(person.seat_until, until)
                continue
            person.seat_until = 0.0
            if sent_at - person.last_active >= QUIET:
                for session in list(person.sessions):
                    for stream in list(session.streams):
                        stream.revoke()

    def _lose_tickets(self, employees: Iterable[str]) -> None:
        """Their next poll asks the ledger what became of them."""
        for name in employees:
            person = self._sessions.person(name)
            if person is not None and person.ticket is not None:
                person.ticket.lost = True

    async def _meet_epoch(self, reply: SyncReply, sent_at: float) -> None:
        """The ledger lost its memory, or this is the first word from it. What is held goes on."""
        first = not self._ledger_time.epoch
        self._ledger_time.heard(reply.epoch, reply.ledger_ms, sent_at)
        self.revocations_known = 0
        if first:
            return
        self.epoch_changes += 1
        self._room.epoch_changed()
        self._owes_what_it_knows = True

    async def _pay_back(self, now: float) -> bool:
        """Before this worker is heard in the new epoch: once all are heard, learning ends and what
        nobody has written back is given to others."""
        try:
            await self._write_back(now)
        except LedgerAway as away:
            _log.warning("not written back yet: %s", away.reason)
            return False
        self._owes_what_it_knows = False
        _log.warning("the ledger has a new epoch: sessions and seats are written back")
        return True

    async def _write_back(self, now: float) -> None:
        seats = [
            (person.name, person.population, max(0, int((now - person.last_active) * 1000)))
            for person in self._sessions.people()
            if person.seat_until > now
        ]
        await self._ledger.restore(self._sessions.revocations(), self._sessions.records(), seats)
        people = self._sessions.people()
        await self._ledger.put_back(self._room.former_tickets(people))
        self._room.put_back(people)
        if self.limits is None:
            return
        # None, or older ones than were in force here: a lowered limit must not be forgotten either.
        present = await self._ledger.limits()
        number = 0 if present is None else present.number
        if number < self.limits.number:
            try:
                await self._ledger.publish(self.limits, if_match=number)
            except Stale:
                _log.info("another worker wrote the limits back first")
