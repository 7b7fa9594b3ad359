"""Lends the few lines to many askers: bounded threads, a bounded number of people waiting.

One thread per line. An asker who is cancelled (deadline, closed browser) leaves at once; the line
is cut and comes back by itself when its thread has noticed. Runs on the event loop; must not know
what is said on a line.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from broker.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.directory.line import Line

Answer = TypeVar("Answer")
Tickets: TypeAlias = "deque[asyncio.Future[Line]]"

logger = logging.getLogger("broker.directory")

CLOSING = "This server is being stopped. Please try again in a moment."


@dataclass(frozen=True, slots=True)
class Statistics:
    """A snapshot: askers present (at work or waiting), of ``places``; lines free, of ``lines``."""

    present: int
    places: int
    free: int
    lines: int


class Switchboard:
    """``queue`` askers may wait beyond the ``lines`` at work; the next is told Busy at once."""

    def __init__(self, lines: Sequence[Line], queue: int) -> None:
        self._lines = tuple(lines)
        self._free = list(reversed(lines))
        self._waiting: tuple[Tickets, Tickets] = (deque(), deque())  # those who go first; others
        self._closing = False
        self._places = len(lines) + queue
        self._present = 0
        self._threads = ThreadPoolExecutor(len(lines), thread_name_prefix="directory")
        self._all_home = asyncio.Event()
        self._all_home.set()

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Be present, for one or more talks. Raises Busy when there is no room."""
        if self._present >= self._places:
            raise Busy("Many people are logging in right now. Please try again in a moment.")
        self._present += 1
        try:
            yield
        finally:
            self._present -= 1

    def statistics(self) -> Statistics:
        return Statistics(self._present, self._places, len(self._free), len(self._lines))

    async def talk(
        self,
        conversation: Callable[[Line], Answer],
        overdue: Callable[[], bool],
        *,
        first: bool = False,
    ) -> Answer:
        """Have a conversation on the next free line. ``first``: before those who have not begun.

        When cancelled, the line's sockets are shut down; ``overdue`` tells whether time was up.
        """
        line = await self._line(first)
        if self._closing:
            self._give_back(line)
            raise Busy(CLOSING)
        line.cutoff.renew()
        loop = asyncio.get_running_loop()
        work = self._threads.submit(conversation, line)

        def come_home(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for the line
                loop.call_soon_threadsafe(self._give_back, line)

        work.add_done_callback(come_home)
        try:
            return await asyncio.wrap_future(work)
        except asyncio.CancelledError:
            line.cutoff.cut(overdue=overdue())
            raise

    async def close(self, patience: float) -> None:
        """Cut everything, wait for the threads, close the connections.

        A thread can be held by one thing that cannot be cut, the resolver asking a dead name
        server; after ``patience`` seconds it is left to end by itself.
        """
        self._closing = True
        for tickets in self._waiting:
            while tickets:
                if not (ticket := tickets.popleft()).done():
                    ticket.set_exception(Busy(CLOSING))
        for line in self._lines:
            line.cutoff.cut(overdue=False)
        try:
            async with asyncio.timeout(patience):
                await self._all_home.wait()
        except TimeoutError:
            missing = len(self._lines) - len(self._free)
            logger.warning("directory threads left behind: %d", missing)
        self._threads.shutdown(wait=False)
        for line in self._free:
            line.close()

    async def _line(self, first: bool) -> Line:
        if self._free:
            self._all_home.clear()
            return self._free.pop()
        tickets = self._waiting[not first]
        ticket: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        tickets.append(ticket)
        try:
            return await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled() and ticket.exception() is None:
                self._give_back(ticket.result())
            elif ticket in tickets:
                tickets.remove(ticket)
            raise

    def _give_back(self, line: Line) -> None:
        for tickets in self._waiting:
            while tickets:
                if not (ticket := tickets.popleft()).done():
                    ticket.set_result(line)
                    return
        self._free.append(line)
        if len(self._free) == len(self._lines):
            self._all_home.set()
