"""Deadlines of connections without a timer each: slots of a quarter of a second.

A connection keeps its own ``due``; moving it later, which is what happens with every message, is
one assignment. The connection is looked at when the slot it stands in comes up, and put into the
slot of its new ``due`` if that has moved. Nothing here reads a clock.
"""

from __future__ import annotations

from typing import Protocol

TICK = 0.25
NEVER = float("inf")
NO_SLOT = 1 << 62


class Watched(Protocol):
    """Something with a deadline. ``slot`` belongs to this module; it starts as NO_SLOT."""

    due: float
    slot: int

    def expire(self, now: float) -> None:
        """``due`` has passed. Either end, or set a later ``due`` through ``Deadlines.watch``."""
        ...


class Deadlines:
    """All deadlines of one event loop. Precision: late by at most one tick."""

    def __init__(self, now: float) -> None:
        self._slots: dict[int, dict[Watched, None]] = {}
        self._next = int(now / TICK)

    def watch(self, item: Watched, due: float) -> None:
        """Set the deadline of ``item`` to ``due`` (NEVER to have none)."""
        item.due = due
        if due < (item.slot - 1) * TICK:
            self._place(item, due)

    def _place(self, item: Watched, due: float) -> None:
        if item.slot != NO_SLOT:
            self.forget(item)
        item.slot = slot = max(int(due / TICK) + 1, self._next)
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = {}
        items[item] = None

    def forget(self, item: Watched) -> None:
        """The item has ended: nothing here keeps it alive."""
        items = self._slots.get(item.slot)
        if items is not None:
            items.pop(item, None)
        item.slot = NO_SLOT

    def expire(self, now: float) -> None:
        """Look at every slot that has come up since the last call."""
        current = int(now / TICK)
        while self._next <= current:
            items = self._slots.pop(self._next, None)
            self._next += 1
            for item in items or ():
                item.slot = NO_SLOT
                if item.due <= now:
                    item.expire(now)
                elif item.due < NEVER:
                    self._place(item, item.due)

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))
