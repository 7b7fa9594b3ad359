"""What one worker holds and may spend, and what it says to the ledger: the worker's half of escrow.

Pure: the sync of ``site/`` drives it with readings of CLOCK_BOOTTIME (seconds), the model checker
with small numbers. It keeps the worker's part of the four safety rules (see ``grant_book.py``):
it debits before it reports, accepts only the reply to its latest report, stands still at a new
epoch, and stops by its own clock before the ledger could give its slices to others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from broker.policy.grant_book import Told
from broker.policy.grants import Cell, Holding

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from broker.policy.limits import LimitsDocument

FENCE_MARGIN = 2.0
"""Seconds by which a worker stops before its lease ends. Ledger time may run ahead of the worker's
clock by 1 s, when the wall clock of Redis jumps; the rest is for rates of clocks that differ."""


@dataclass(frozen=True, slots=True)
class CellUse:
    """One cell at this moment. ``peak``: highest ``used`` since the last report. ``waiting``: how
    many wait for a connection, the oldest since ``oldest_wait`` (CLOCK_BOOTTIME seconds)."""

    pool: str
    population: str
    used: int
    peak: int = 0
    waiting: int = 0
    oldest_wait: float | None = None


class Reply(Protocol):
    """The part of ``ledger.port.SyncReply`` that concerns grants."""

    @property
    def sequence(self) -> int: ...
    @property
    def epoch(self) -> str: ...
    @property
    def learning(self) -> bool: ...
    @property
    def caps(self) -> Mapping[Cell, int]: ...
    @property
    def leases(self) -> Mapping[str, int]: ...
    @property
    def limits(self) -> LimitsDocument | None: ...
    @property
    def starved(self) -> tuple[Cell, ...]: ...
    @property
    def bases(self) -> Mapping[Cell, int]: ...


class Accepted(Enum):
    """What a reply meant. CAPS: its caps are in force. EPOCH: the ledger lost its memory (or this
    is the first word from it): write back what is known, then sync again at once; caps and fences
    stay as they were. STALE: not the reply to the latest report, ignored."""

    CAPS = "caps"
    EPOCH = "epoch"
    STALE = "stale"


@dataclass(slots=True)
class WorkerBook:
    """Caps and fences of one incarnation. ``tick``: seconds between syncs. ``due``: after an
    accepted reply, whether the next sync should follow at once: others wait for what it returns."""

    incarnation: str
    digest: str = ""
    tick: float = 0.25
    margin: float = FENCE_MARGIN
    epoch: str = ""
    sequence: int = 0
    sent_at: float = 0.0
    learning: bool = True
    limits_known: int = 0
    starved: frozenset[Cell] = frozenset()
    unanswered: bool = False
    due: bool = False
    _bases: dict[Cell, int] = field(default_factory=dict)
    _caps: dict[Cell, int] = field(default_factory=dict)
    _fences: dict[str, float] = field(default_factory=dict)
    _peaks: dict[Cell, list[tuple[float, int]]] = field(default_factory=dict)

    def cap(self, pool: str, population: str) -> int:
        """The most that may be in use at once for a new connection to begin (before the fence)."""
        return self._caps.get((pool, population), 0)

    def fence_at(self, pool: str) -> float:
        """CLOCK_BOOTTIME seconds from which nothing new may begin in ``pool``; and by which what is
        in flight must have been closed, but for the margin. 0.0: nothing was ever granted."""
        return self._fences.get(pool, 0.0)

    def cells(self) -> Iterable[Cell]:
        """Every cell with a cap above 0."""
        return tuple(self._caps)

    def report(self, now: float, uses: Sequence[CellUse], *, leaving: bool = False) -> Told:
        """Debit what was not needed for a tick, then say what is held. ``now`` is read before.

        The caps are lower from here on: whoever spends must see that before the report is sent.
        While the report before this one is unanswered, or the ledger is learning, nothing is
        debited: what cannot be handed to others need not go home, and would not come back.
        """
        self.sequence += 1
        self.sent_at = now
        holdings: dict[Cell, Holding] = {}
        wants: list[tuple[Cell, int, int]] = []
        in_use = {(use.pool, use.population): use for use in uses}
        for cell in [cell for cell in self._caps if cell not in in_use]:
            in_use[cell] = CellUse(*cell, used=0)
        for cell, use in in_use.items():
            needed = self._needed(now, cell, use)
            cap = self._caps.get(cell, 0)
            if not (self.unanswered or self.learning):
                cap = min(cap, needed)
            if leaving or now >= self.fence_at(use.pool):
                cap = 0
            self._set_cap(cell, cap)
            holdings[cell] = Holding(held=max(cap, use.used), used=use.used)
            if not leaving and (want := self._want(now, cell, use, cap)):
                wants.append((cell, *want))
        self.unanswered = True
        return Told(
            incarnation=self.incarnation,
            sequence=self.sequence,
            epoch=self.epoch,
            cells=holdings,
            wants=wants,
            limits_known=self.limits_known,
            digest=self.digest,
            leaving=leaving,
        )

    def accept(self, reply: Reply) -> Accepted:
        """Take the answer to the latest report; its lease counts from before that was sent."""
        if reply.sequence != self.sequence:
            return Accepted.STALE
        self.unanswered = False
        self.learning = reply.learning
        if reply.epoch != self.epoch:
            self.epoch = reply.epoch
            self.limits_known = 0
            return Accepted.EPOCH
        self._caps = {cell: cap for cell, cap in reply.caps.items() if cap > 0}
        for pool, lease_ms in reply.leases.items():
            self._fences[pool] = self.sent_at + lease_ms / 1000 - self.margin
        if reply.limits is not None:
            self.limits_known = reply.limits.number
        self.starved = frozenset(reply.starved)
        # Somebody wants what was kept as a base: the next report brings it home.
        self.due = bool(self._bases) and not reply.bases
        self._bases = dict(reply.bases)
        return Accepted.CAPS

    def _set_cap(self, cell: Cell, cap: int) -> None:
        if cap > 0:
            self._caps[cell] = cap
        else:
            self._caps.pop(cell, None)

    def _needed(self, now: float, cell: Cell, use: CellUse) -> int:
        """The most that was in use during the last tick, and no less than the base above what is in
        use; while somebody starves, what is in use."""
        peaks = [(at, peak) for at, peak in self._peaks.get(cell, ()) if now - at < self.tick]
        peaks.append((now, max(use.peak, use.used)))
        self._peaks[cell] = peaks
        if self.starved:
            return use.used
        return max(use.used + self._bases.get(cell, 0), *(peak for _, peak in peaks))

    def _want(self, now: float, cell: Cell, use: CellUse, cap: int) -> tuple[int, int] | None:
        """(count, age in ms): who waits; else, nearly spent, a quarter more is foreseen (age 0)."""
        if use.waiting > 0:
            since = now if use.oldest_wait is None else use.oldest_wait
            return use.waiting, max(1, math.ceil((now - since) * 1000))
        if use.used > 0 and cap - use.used <= use.used // 8 and cell not in self.starved:
            return max(1, use.used // 4), 0
        return None
