"""The grants of one site as a value in memory: who holds what, until when, in which epoch.

Speaks to nobody; ledger time is an argument. It is the twin's half of ``ledger/lua/lib_grants.lua``
and what the model checker explores. ``grants.settle`` decides how much, this book keeps it safe, by
four rules (a model checker finds over-admission when any is left out):

- A worker debits before it reports a return, so what it reports is the most it can spend.
- A worker accepts only the reply to its latest report, and caps are absolute. So what is booked for
  it is the larger of what it reported and what it was answered, and a report that arrives late or
  twice changes nothing.
- The epoch is a fence. In a new one the ledger *learns*: nothing is granted until every worker that
  the ledger remembers has reported under the new epoch, and for ``SETTLING_MS`` at least, in which
  those that it does not remember (they joined after the last write that was kept) speak up; and if
  any is silent, or none is remembered, until the longest lease has passed since the first call.
- Only the dead are reclaimed from: by tombstone, by a lapsed lease, by an operator's word.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from broker.policy.grants import Cell, Holding, Want, settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.policy.limits import LimitsDocument

SILENT_TICKS = 4
"""Wants of a worker that has been silent for longer stand no more: they must not reserve."""

IDLE_WORKER_MS = 60_000
"""A silent worker that holds nothing is forgotten after this."""

TOMBSTONE_MS = 3_600_000
"""How long a dead worker's late reports are refused: far longer than any can be under way."""

SETTLING_MS = 2_000
"""Learning lasts this long at least: eight ticks, in which every worker that is connected syncs."""

DEFAULT_LEASE_MS = 600_000
"""The longest lease while no document tells it."""


@dataclass(slots=True)
class Worker:
    """One worker as the book knows it. ``booked``: the most it can hold. ``caps``: last answer."""

    epoch: str
    sequence: int
    seen_ms: int
    limits_known: int = 0
    digest: str = ""
    booked: dict[Cell, int] = field(default_factory=dict)
    caps: dict[Cell, int] = field(default_factory=dict)
    used: dict[Cell, int] = field(default_factory=dict)
    wants: tuple[Want, ...] = ()
    idle_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """One worker's report, as far as grants go. ``wants``: (cell, count, age in ms)."""

    incarnation: str
    sequence: int
    epoch: str
    cells: Mapping[Cell, Holding]
    wants: Sequence[tuple[Cell, int, int]] = ()
    limits_known: int = 0
    digest: str = ""
    leaving: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """``wake``: other workers have a reason to sync before their tick. ``bases``: unused slices the
    worker may keep."""

    caps: Mapping[Cell, int]
    leases: Mapping[str, int]
    starved: tuple[Cell, ...] = ()
    wake: bool = False
    bases: Mapping[Cell, int] = field(default_factory=dict)


@dataclass(slots=True)
class GrantBook:
    """The book. ``limits`` is the document in force, ``since_ms`` when the epoch began."""

    epoch: str
    since_ms: int
    learning: bool = True
    limits: LimitsDocument | None = None
    longest_lease_ms: int = DEFAULT_LEASE_MS
    workers: dict[str, Worker] = field(default_factory=dict)
    leases: dict[tuple[str, str], int] = field(default_factory=dict)
    unheard: set[str] = field(default_factory=set)
    remembered: bool = False
    dead: dict[str, int] = field(default_factory=dict)
    settling_ms: int = SETTLING_MS

    def begin_epoch(self, epoch: str, now_ms: int) -> None:
        """The memory was lost, or part of it: what is left says whom to wait for."""
        self.epoch = epoch
        self.since_ms = now_ms
        self.learning = True
        self.unheard = set(self.workers)
        self.remembered = bool(self.workers)

    def pass_time(self, now_ms: int) -> None:
        """What each call does first: end learning by time, reclaim what lapsed."""
        self._end_learning(now_ms)
        if self.learning:
            return
        for (pool, incarnation), until in list(self.leases.items()):
            if until < now_ms:
                self._reclaim_pool(pool, incarnation)
        for incarnation, worker in list(self.workers.items()):
            if worker.idle_until_ms < now_ms and not worker.booked:
                del self.workers[incarnation]
        self.dead = {who: until for who, until in self.dead.items() if until >= now_ms}

    def _end_learning(self, now_ms: int) -> None:
        lasted = now_ms - self.since_ms
        everybody = self.remembered and not self.unheard and lasted >= self.settling_ms
        if everybody or lasted > self.longest_lease_ms:
            self.learning = False

    def start_first(self) -> None:
        """Somebody who knows it says that no worker has ever held anything here."""
        if not self.remembered:
            self.learning = False

    def put_limits(self, document: LimitsDocument) -> None:
        self.limits = document
        leases = [pool.lease_ms for pool in document.pools.values()]
        # Leases told under the former document may still run.
        former = self.longest_lease_ms if self.workers else 0
        self.longest_lease_ms = max([*leases, former], default=DEFAULT_LEASE_MS)

    def sync(self, told: Told, now_ms: int) -> Answer:
        """Book one report and answer it."""
        if told.incarnation in self.dead:
            return Answer({}, {})
        worker = self.workers.get(told.incarnation)
        if told.epoch != self.epoch:
            self._hear_from_before(told, worker, now_ms)
            return Answer({}, {})
        if worker is not None and worker.epoch == told.epoch and told.sequence <= worker.sequence:
            # Late or doubled: answered as before, which only the latest sequence number accepts.
            return Answer(dict(worker.caps), self._terms())
        self.unheard.discard(told.incarnation)
        self._end_learning(now_ms)
        former = worker or Worker(told.epoch, told.sequence, now_ms)
        worker = self._book(told, former, now_ms)
        caps: dict[Cell, int]
        starved: tuple[Cell, ...] = ()
        bases: Mapping[Cell, int] = {}
        wanted = worker.wants
        others = False
        if self.limits is None or self.learning:
            caps = {cell: holding.held for cell, holding in told.cells.items()}
        elif told.leaving:
            caps, others = {}, bool(self._standing(told.incarnation, now_ms))
        else:
            settled = settle(
                self.limits,
                self.held(),
                told.incarnation,
                told.cells,
                self._standing(told.incarnation, now_ms),
                workers=len(self.workers),
                now_ms=now_ms,
            )
            caps, starved, others = dict(settled.caps), settled.starved, settled.others
            bases = settled.bases
            wanted = _still_wanted(worker.wants, settled.given)
        for cell, cap in caps.items():
            if cap > worker.booked.get(cell, 0):
                worker.booked[cell] = cap
        worker.caps = {cell: cap for cell, cap in caps.items() if cap > 0}
        self._extend(told.incarnation, worker, now_ms)
        freed = any(worker.booked.get(cell, 0) < held for cell, held in former.booked.items())
        newly = {want.cell for want in worker.wants} - {want.cell for want in former.wants}
        unmet = any(cell in starved or cell not in worker.caps for cell in newly)
        worker.wants = wanted
        return Answer(worker.caps, self._terms(), starved, (freed and others) or unmet, bases)

    def _hear_from_before(self, told: Told, worker: Worker | None, now_ms: int) -> None:
        """A report from another epoch, or from nowhere: the worker must first hear of this one.

        What it says it holds is booked, and learning waits for it. It may be an old message that
        arrives late, so it counts neither as heard nor as its latest word.
        """
        if worker is not None and worker.epoch == self.epoch:
            return
        if worker is None:
            worker = self.workers[told.incarnation] = Worker(told.epoch, 0, now_ms)
        worker.idle_until_ms = now_ms + IDLE_WORKER_MS
        for cell, holding in told.cells.items():
            if holding.held > worker.booked.get(cell, 0):
                worker.booked[cell] = holding.held
        self._extend(told.incarnation, worker, now_ms)
        if self.learning and told.epoch:
            self.unheard.add(told.incarnation)

    def _book(self, told: Told, former: Worker, now_ms: int) -> Worker:
        """The report is exact: it replaces whatever was booked."""
        worker = Worker(
            epoch=told.epoch,
            sequence=told.sequence,
            seen_ms=now_ms,
            limits_known=told.limits_known,
            digest=told.digest,
            booked={cell: holding.held for cell, holding in told.cells.items() if holding.held > 0},
            used={cell: holding.used for cell, holding in told.cells.items() if holding.used > 0},
            idle_until_ms=now_ms + IDLE_WORKER_MS,
        )
        if not told.leaving:
            worker.wants = tuple(
                Want(
                    told.incarnation,
                    cell,
                    count,
                    now_ms - age,
                    told.cells[cell].held if cell in told.cells else 0,
                    waiting=age > 0,
                )
                for cell, count, age in told.wants
                if count > 0
            )
        self.workers[told.incarnation] = worker
        return worker

    def _extend(self, incarnation: str, worker: Worker, now_ms: int) -> None:
        """Leases run from now in every pool where something is booked. A lease told before may be
        longer than today's, and a worker may still trust it: it is never shortened here."""
        pools = {pool for (pool, _), count in worker.booked.items() if count > 0}
        for pool, who in [key for key in self.leases if key[1] == incarnation]:
            if pool not in pools:
                del self.leases[pool, who]
        for pool in pools:
            until = now_ms + self._lease(pool)
            self.leases[pool, incarnation] = max(until, self.leases.get((pool, incarnation), 0))

    def _lease(self, pool: str) -> int:
        known = self.limits.pools.get(pool) if self.limits else None
        return known.lease_ms if known else self.longest_lease_ms

    def _terms(self) -> dict[str, int]:
        return {} if self.limits is None else {n: p.lease_ms for n, p in self.limits.pools.items()}

    def _standing(self, incarnation: str, now_ms: int) -> list[Want]:
        """Who waits, on any worker that still speaks. What a worker only foresees counts while it
        asks: kept, two such wants would reserve the last slice for each other for ever."""
        patience = SILENT_TICKS * (self.limits.sync_ms if self.limits else 0)
        return [
            want
            for worker in self.workers.values()
            if worker.seen_ms + patience >= now_ms
            for want in worker.wants
            if want.waiting or want.incarnation == incarnation
        ]

    def held(self) -> dict[Cell, int]:
        """What is booked for all workers together, by cell."""
        return total(worker.booked for worker in self.workers.values())

    def used(self) -> dict[Cell, int]:
        return total(worker.used for worker in self.workers.values())

    def bury(self, incarnation: str, now_ms: int) -> bool:
        """Tombstone: certainly dead. Late reports of it are refused from now on."""
        self.dead[incarnation] = now_ms + TOMBSTONE_MS
        return self.forget(incarnation)

    def forget(self, incarnation: str) -> bool:
        """Take everything back. False if unknown."""
        self.unheard.discard(incarnation)
        for key in [key for key in self.leases if key[1] == incarnation]:
            del self.leases[key]
        return self.workers.pop(incarnation, None) is not None

    def _reclaim_pool(self, pool: str, incarnation: str) -> None:
        """The lease of ``pool`` lapsed for this worker: by now it has fenced itself."""
        del self.leases[pool, incarnation]
        worker = self.workers[incarnation]
        for what in (worker.booked, worker.caps, worker.used):
            for cell in [cell for cell in what if cell[0] == pool]:
                del what[cell]


def _still_wanted(wants: Iterable[Want], given: Mapping[Cell, int]) -> tuple[Want, ...]:
    """What was given stands no more: until the next report it would be reserved a second time."""
    left = (
        replace(
            want,
            count=want.count - given.get(want.cell, 0),
            held=want.held + given.get(want.cell, 0),
        )
        for want in wants
    )
    return tuple(want for want in left if want.count > 0)


def total(parts: Iterable[Mapping[Cell, int]]) -> dict[Cell, int]:
    """Sum by cell."""
    sums: dict[Cell, int] = {}
    for part in parts:
        for cell, count in part.items():
            sums[cell] = sums.get(cell, 0) + count
    return sums
