"""Where a ticket stands, by arithmetic over a few marks of its queue, and when to ask again.

A *mark* (rank, number) says: the ticket of this number waits, and so many present ones of lower
numbers wait before it. The marks of a queue are the first ``EVERY_RANK`` tickets, then ever wider
apart (by an eighth of the rank), and the last one. Between two marks the numbers themselves count
on, since numbers are given without gaps: a place is exact among the first and wherever nobody has
left the queue in between; elsewhere it is too high, never too low, by at most those who left there.
So any worker tells everybody's place without a question to the ledger.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

EVERY_RANK = 32
WIDER_BY = 8
LONGEST_POLL = 36  # seconds; with JITTER at most 45: two polls fit into ``absent``
SHORTEST_POLL = 3
CALLED_POLL = 2
JITTER = 0.25  # the part of the interval that a browser adds at random, at most
_PART = 10  # asks so many times during the wait that is expected
_PLACES_PER_SECOND = 5  # without an estimate


def marked_ranks(waiting: int) -> Iterator[int]:
    """The ranks (from 0) of the tickets that are marks in a queue of ``waiting``."""
    rank = 0
    while rank < waiting - 1:
        yield rank
        rank += 1 if rank < EVERY_RANK - 1 else max(1, rank // WIDER_BY)
    if waiting > 0:
        yield waiting - 1


def position(marks: Sequence[tuple[int, int]], waiting: int, number: int) -> int:
    """The place of ticket ``number``, 1 being next. ``marks``: (rank, number), the lowest first."""
    index = bisect_right(marks, number, key=lambda mark: mark[1]) - 1
    if index < 0:
        return 1
    rank, marked = marks[index]
    if marked == number:
        return rank + 1
    if index + 1 == len(marks):  # younger than what was marked
        return waiting + number - marked
    return max(rank + 2, min(rank + 1 + number - marked, marks[index + 1][0]))


def poll_seconds(place: int | None, p50: int | None) -> int:
    """Seconds until a browser asks again, before its jitter: the nearer the call, the sooner."""
    if p50 is not None:
        seconds = p50 / _PART
    elif place is not None:
        seconds = SHORTEST_POLL + place / _PLACES_PER_SECOND
    else:
        seconds = LONGEST_POLL / 4
    return min(LONGEST_POLL, max(SHORTEST_POLL, math.ceil(seconds)))
