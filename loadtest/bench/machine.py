"""What the kernel says: CPU time and memory of processes, limits, and what machine this is."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PROC = Path("/proc")


def tree(root: int) -> list[int]:
    """The process and all its descendants that live now."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parent = int(stat.rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, ()))
    return found


def place(pids: Iterable[int], processors: set[int]) -> None:
    """Let these processes, with all of their threads, run there only."""
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            os.sched_setaffinity(int(task.name), processors)


def name(pid: int) -> str:
    return (PROC / str(pid) / "comm").read_text().strip()


def cpu_seconds(pids: list[int]) -> float:
    """On-CPU time of all threads of these processes (``schedstat``, nanoseconds)."""
    total = 0
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_kib(pids: list[int]) -> int:
    """Resident memory of these processes (``VmRSS``), KiB."""
    total = 0
    for pid in pids:
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


def descriptors() -> int:
    """How many descriptors one process may have, after asking for as many as are allowed. What is
    started from here on inherits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, 65_536)
    for limit in (wanted, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except (ValueError, PermissionError):
            continue
        return limit
    return soft


def description() -> str:
    """Cores, processor and kernel in one line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in (PROC / "cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores, {model}, Linux {platform.release()}"
