"""People in an order that is looked at from its front only: queues by ticket number, seats by idle
time. ``next_calls`` wants sequences; ``Peek`` shows it the front of one, found as far as it looks.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, overload

Shown = TypeVar("Shown", covariant=True)
Activity = Callable[[str, int], int]


class SortedPeople:
    """Names by a key. Removing is lazy: an entry is void when its serial is not the name's last."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str, int]] = []
        self._serial: dict[str, int] = {}
        self._serials = 0

    def __len__(self) -> int:
        return len(self._serial)

    def add(self, name: str, key: int) -> None:
        self._serials += 1
        self._serial[name] = self._serials
        heapq.heappush(self._heap, (key, name, self._serials))

    def remove(self, name: str) -> None:
        del self._serial[name]

    def first(self) -> tuple[int, str] | None:
        heap = self._heap
        while heap:
            key, name, serial = heap[0]
            if self._serial.get(name) == serial:
                return key, name
            heapq.heappop(heap)
        return None

    def oldest(self, now: int, activity: Activity) -> tuple[int, str] | None:
        """The first by its true key. Keys only grow: what the heap knows is a lower bound, mended
        when it comes to the front; so a click of somebody seated costs nothing here."""
        heap = self._heap
        while (found := self.first()) is not None:
            true = activity(found[1], now)
            if true == found[0]:
                return found
            heapq.heapreplace(heap, (true, found[1], heap[0][2]))
        return None

    def pop(self, now: int, activity: Activity | None) -> tuple[int, str, int] | None:
        """Takes the entry out of the order (``restore`` puts it back) without removing the name."""
        found = self.first() if activity is None else self.oldest(now, activity)
        return None if found is None else heapq.heappop(self._heap)

    def restore(self, entry: tuple[int, str, int]) -> None:
        heapq.heappush(self._heap, entry)


class Peek(Sequence[Shown], Generic[Shown]):
    """The front of ``order`` as a sequence of what ``show(key, name)`` makes of it. Nothing may be
    added or removed until ``put_back``."""

    def __init__(
        self,
        order: SortedPeople,
        show: Callable[[int, str], Shown],
        now: int = 0,
        activity: Activity | None = None,
    ) -> None:
        self._order = order
        self._show = show
        self._now = now
        self._activity = activity
        self._seen: list[tuple[int, str, int]] = []
        self._length = len(order)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Shown: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Shown]: ...
    def __getitem__(self, index: int | slice) -> Shown | Sequence[Shown]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._length))]
        while len(self._seen) <= index:
            entry = self._order.pop(self._now, self._activity)
            if entry is None:
                raise IndexError(index)
            self._seen.append(entry)
        key, name, _ = self._seen[index]
        return self._show(key, name)

    def put_back(self) -> None:
        for entry in self._seen:
            self._order.restore(entry)
        self._seen.clear()
