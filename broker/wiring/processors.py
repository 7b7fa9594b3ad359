"""Which processors a child runs on: a login must not stand in the way of everybody's pages.

With fewer workers than processors the workers have their part of them, and what answers people
(portal, admin) has the others. On the two processors of the benchmark 60 logins a second then leave
the p99 of pages where it was; without, they double it, whatever the priorities: a scheduler that
weighs lets a process of 20 % finish its turn. With as many workers as processors there is nothing
to divide. The workers' part is by the number of processes, never less than one each: other brokers
on this machine divide it in the same way, and must find room in theirs.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

OTHERS: Final = 2  # processes besides the workers: portal and admin

_log = logging.getLogger(__name__)


def core(processor: int) -> str:
    """What all threads of one core have in common, as Linux tells it; else each is one."""
    told = Path(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list")
    try:
        return told.read_text()
    except OSError:
        return str(processor)


def share(
    kind: str, workers: int, available: AbstractSet[int], core: Callable[[int], str] = core
) -> set[int]:
    """What of the ``available`` processors is for a child of this kind, on a host of so many
    workers."""
    count = len(available)
    if workers >= count:
        return set(available)
    part = max(workers, count * workers // (workers + OTHERS))
    ordered = _spread(available, core)
    return set(ordered[:part] if kind == "worker" else ordered[part:])


def _spread(processors: Iterable[int], core: Callable[[int], str]) -> list[int]:
    """One of each core before the second of any: two threads of a core are not worth two."""
    threads: dict[str, int] = {}
    ranked = []
    for each in sorted(processors):
        own = core(each)
        threads[own] = rank = threads.get(own, 0) + 1
        ranked.append((rank, each))
    return [each for _, each in sorted(ranked)]


def keep_to_share(kind: str, workers: int) -> None:
    """Move this process and all it will start. What it was given, by the supervisor or by whoever
    started that, is what there is. Where that is not allowed, or the processors are others by now,
    it runs where it may."""
    available = os.sched_getaffinity(0)
    mine = share(kind, workers, available)
    if mine == available:
        return
    try:
        os.sched_setaffinity(0, mine)
    except OSError as error:
        _log.warning("not on processors of its own: %s", error.strerror)
