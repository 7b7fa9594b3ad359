"""Exchanges driven by this process: all of a list as fast as they go, or at a given rate.

Open loop: what is due is sent when it is due, however late the proxy is with what came before, and
latency counts from then. wrk knows only closed loops, in which a slow proxy is asked less. Each
connection carries one exchange at a time; what finds none free waits for one, and that counts too.
"""

from __future__ import annotations

import gc
import select
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from loadtest.bench.websocket import FROM_SERVER, MESSAGE

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Sequence


class Group(Protocol):
    """Connections that are alike: what they say next, and when an answer is whole."""

    @property
    def sockets(self) -> Sequence[socket.socket]: ...

    def next(self) -> bytes: ...

    def whole(self, data: bytes) -> bool: ...

    def good(self, data: bytes) -> bool: ...


@dataclass(slots=True)
class Browsers:
    """Keep-alive connections that ask for what ``asks`` says next and expect 200."""

    sockets: Sequence[socket.socket]
    asks: Callable[[], bytes]

    def next(self) -> bytes:
        return self.asks()

    def whole(self, data: bytes) -> bool:
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = data.find(b"ontent-", 0, end)
        while at >= 0 and data[at + 7 : at + 14].lower() != b"length:":
            at = data.find(b"ontent-", at + 1, end)
        if at < 0:
            raise RuntimeError(f"an answer without a length: {data[:300]!r}")
        length = int(data[at + 14 : data.find(b"\r\n", at)])
        return len(data) >= end + 4 + length

    def good(self, data: bytes) -> bool:
        return data[9:12] == b"200"


@dataclass(slots=True)
class Live:
    """WebSockets whose messages are echoed."""

    sockets: Sequence[socket.socket]

    def next(self) -> bytes:
        return MESSAGE

    def whole(self, data: bytes) -> bool:
        return len(data) >= FROM_SERVER

    def good(self, data: bytes) -> bool:
        return True


@dataclass(slots=True)
class Outcome:
    """``latencies``: seconds, one for each exchange that ended, infinite for those that were
    refused; ``refusal``: the latest of these; ``seconds``: from first to last."""

    latencies: list[float] = field(default_factory=list)
    refusal: bytes = b""
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """In milliseconds. Raises RuntimeError when so many were refused that there is none."""
        ordered = sorted(self.latencies)
        found = ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3
        if found == float("inf"):
            raise RuntimeError(f"too much was refused, at last {self.refusal[:300]!r}")
        return found


class Driver:
    """Groups by name, each with its connections registered. To be made before the connections are:
    ``select`` takes only low descriptors."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._groups: dict[str, Group] = {}
        self._free: dict[str, deque[socket.socket]] = {}
        self._by_fd: dict[int, tuple[str, socket.socket]] = {}
        self._due_at: dict[int, float] = {}
        self._partial: dict[int, bytes] = {}
        self._queued: dict[str, deque[float]] = {}

    def add(self, name: str, group: Group) -> None:
        self._groups[name] = group
        self._queued[name] = deque()
        self._free[name] = deque(group.sockets)
        for sock in group.sockets:
            sock.setblocking(False)
            self._by_fd[sock.fileno()] = (name, sock)
            self._poll.register(sock, select.EPOLLIN)

    def close(self) -> None:
        self._poll.close()

    def flat_out(self, names: Iterable[str], at_once: int) -> Outcome:
        """One exchange for each name, in this order, ``at_once`` under way."""
        coming = iter(names)
        outcome = Outcome()
        clock = time.perf_counter
        began = clock()
        gc.disable()
        try:
            under_way = 0
            for name in coming:
                self._begin(name, clock())
                under_way += 1
                if under_way == at_once:
                    break
            while under_way:
                ended = self._answers(outcome, 10.0)
                under_way -= ended
                for _ in range(ended):
                    upcoming = next(coming, None)
                    if upcoming is not None:
                        self._begin(upcoming, clock())
                        under_way += 1
        finally:
            gc.enable()
        outcome.seconds = clock() - began
        return outcome

    def at_rate(self, arrivals: Sequence[tuple[float, str]]) -> Outcome:
        """Each exchange at its time: (seconds from the beginning, group)."""
        outcome = Outcome()
        clock = time.perf_counter
        wait = (self._poll.fileno(),)
        began = clock()
        count, index = len(arrivals), 0
        gc.disable()
        try:
            while len(outcome.latencies) < count:
                now = clock() - began
                while index < count and arrivals[index][0] <= now:
                    at, name = arrivals[index]
                    self._begin(name, began + at)
                    index += 1
                # epoll waits in whole milliseconds, select in microseconds
                left = 10.0 if index == count else arrivals[index][0] - (clock() - began)
                if select.select(wait, (), (), max(left, 0.0))[0]:
                    self._answers(outcome, 0)
                elif index == count:
                    raise RuntimeError("exchanges that never ended")
        finally:
            gc.enable()
        outcome.seconds = clock() - began
        return outcome

    def _begin(self, name: str, due: float) -> None:
        free = self._free[name]
        if free:
            self._send(name, free.popleft(), due)
        else:
            self._queued[name].append(due)

    def _send(self, name: str, sock: socket.socket, due: float) -> None:
        self._due_at[sock.fileno()] = due
        sock.send(self._groups[name].next())

    def _answers(self, outcome: Outcome, timeout: float) -> int:
        """Take what has come; how many exchanges ended."""
        ended = 0
        events = self._poll.poll(timeout)
        if not events and timeout:
            raise RuntimeError("nothing came back for ten seconds")
        for fd, _ in events:
            name, sock = self._by_fd[fd]
            data = sock.recv(262_144)
            if not data:
                raise RuntimeError(f"a connection of {name} was closed")
            if fd in self._partial:
                data = self._partial.pop(fd) + data
            if not self._groups[name].whole(data):
                self._partial[fd] = data
                continue
            if self._groups[name].good(data):
                outcome.latencies.append(time.perf_counter() - self._due_at[fd])
            else:
                outcome.latencies.append(float("inf"))
                outcome.refusal = data
            ended += 1
            queued = self._queued[name]
            if queued:
                self._send(name, sock, queued.popleft())
            else:
                self._free[name].append(sock)
        return ended
