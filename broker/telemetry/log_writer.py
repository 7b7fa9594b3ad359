"""The thread behind a log: takes whole buffers of lines and writes them, so that nobody else waits.

A write to a full pipe, a slow disk or a network file system blocks for as long as it likes; here
that is harmless. Buffers wait in a bounded queue; what does not fit, and what the system refuses to
write, is dropped and counted. It never raises into the thread that logs.
"""

from __future__ import annotations

import logging
import os
import select
import stat
import sys
import threading
from enum import Enum
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_log = logging.getLogger(__name__)
_BACKLOG = 100  # buffers of some 160 KiB that may wait for the disk: 16 MiB, then lines are dropped


class _Word(Enum):
    """What the thread is told between buffers."""

    REOPEN = 1
    END = 2


class LogWriter:
    """``open_target`` returns a descriptor to write to, or raises OSError (from the constructor
    too).

    The queue is one of C: a condition's Python would have to be given the interpreter's lock, and
    take it back from an event loop at work, a dozen times for each buffer."""

    def __init__(self, open_target: Callable[[], int]) -> None:
        self._open = open_target
        self._use(open_target())
        self._queue: SimpleQueue[tuple[bytes, int] | _Word] = SimpleQueue()
        self._torn = False
        self._refused = 0  # lines; each thread counts its own
        self._unwritten = 0
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines lost so far."""
        return self._refused + self._unwritten

    def put(self, data: bytes, lines: int) -> None:
        """Queue ``data``, which is that many whole lines; or drop and count them."""
        if self._queue.qsize() >= _BACKLOG:
            self._refused += lines
        else:
            self._queue.put((data, lines))

    def reopen(self) -> None:
        """Open the target anew after what is queued; if that fails the old one stays in use."""
        self._queue.put(_Word.REOPEN)

    def close(self) -> None:
        """Write what is queued and end; a thread stuck in a write is left behind after 2 s."""
        self._queue.put(_Word.END)
        self._thread.join(2.0)

    def _run(self) -> None:
        while (item := self._queue.get()) is not _Word.END:
            if item is _Word.REOPEN:
                self._reopen()
            else:
                self._write(*item)
        os.close(self._descriptor)

    def _write(self, data: bytes, lines: int) -> None:
        if self._torn:  # what was cut off stays alone on its line
            data = b"\n" + data
        written = 0
        try:
            for part in pieces(data) if self._is_pipe else (data,):
                rest = memoryview(part)
                while rest:
                    count = os.write(self._descriptor, rest)
                    rest = rest[count:]
                    written += count
        except OSError:  # disk full, reader gone: the next buffer tries again
            whole = data[:written].count(b"\n") - (self._torn and written > 0)
            self._unwritten += lines - whole
        if written:
            self._torn = data[written - 1 : written] != b"\n"

    def _reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError as error:
            _log.warning("the access log was not reopened: %s", error)
            return
        os.close(self._descriptor)
        self._torn = False
        self._use(descriptor)

    def _use(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_pipe = stat.S_ISFIFO(os.fstat(descriptor).st_mode)


def pieces(data: bytes) -> Iterator[bytes]:
    """Whole lines in pieces of at most PIPE_BUF bytes: only those are atomic in a pipe, and all
    workers of a host write to the same one. (Appends to a file are atomic at any size.)"""
    start = 0
    while len(data) - start > select.PIPE_BUF:
        end = data.rfind(b"\n", start, start + select.PIPE_BUF) + 1
        if end == 0:  # one line longer than that goes alone, whole
            end = data.index(b"\n", start) + 1
        yield data[start:end]
        start = end
    if start < len(data):
        yield data[start:]


def opener(target: Path | Literal["stdout"]) -> Callable[[], int]:
    """What opens the target, now and again: a file (appended to, 0640) or standard output."""
    if isinstance(target, Path):
        return lambda: os.open(target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    return lambda: os.dup(sys.__stdout__.fileno() if sys.__stdout__ is not None else 1)
