"""Which processors a child runs on: a login must not stand in the way of everybody's pages.

With fewer workers than processors the workers keep as many of them as they are, and what answers
people (portal, admin) has the others. On the two processors of the benchmark 60 logins a second
then leave the p99 of pages where it was; without, they double it, whatever the priorities: a
scheduler that weighs lets a process of 20 % finish its turn. With as many workers as processors
there is nothing to divide.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet


def share(kind: str, workers: int, available: AbstractSet[int]) -> set[int]:
    """What of the ``available`` processors is for a child of this kind, on a host of so many
    workers."""
    if workers >= len(available):
        return set(available)
    ordered = sorted(available)
    return set(ordered[:workers] if kind == "worker" else ordered[workers:])


def keep_to_share(kind: str, workers: int) -> None:
    """Move this process and all it will start. What it was given, by the supervisor or by whoever
    started that, is what there is."""
    available = os.sched_getaffinity(0)
    mine = share(kind, workers, available)
    if mine != available:
        os.sched_setaffinity(0, mine)
