"""Many connections held by this process: idle ones, and WebSockets that are echoed.

wrk speaks no WebSocket and holds no connection it does not use. Bare sockets and epoll cost about
5 us for an echo here, with little for the interpreter to do, and an idle one costs nothing.
"""

from __future__ import annotations

import gc
import select
import socket
import ssl
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from loadtest.bench import machine
from loadtest.bench.case import Sample
from loadtest.bench.websocket import FROM_SERVER, MESSAGE
from loadtest.bench.wrk import BROWSER_HEADERS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.bench.peers import Target

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
NOT_WITH_SOCKETS = ("Sec-Fetch-User", "Upgrade-Insecure-Requests", "Accept")


def request(target: Target, path: str, *, websocket: bool = False, cookie: str = "") -> bytes:
    """One request as the browser would send it to this proxy."""
    fields = {"Host": "app.bench", **BROWSER_HEADERS, **target.headers}
    if cookie:
        fields["Cookie"] = cookie
    if websocket:
        for name in NOT_WITH_SOCKETS:
            del fields[name]
        fields |= {
            "Sec-Fetch-Mode": "websocket",
            "Sec-Fetch-Dest": "empty",
            "Origin": "https://app.bench",
            "Connection": "keep-alive, Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": KEY,
        }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"GET {path} HTTP/1.1\r\n{lines}\r\n".encode()


def ask(sock: socket.socket, said: bytes) -> tuple[int, bytes]:
    """Send and read the whole answer: its status and head. Blocking."""
    sock.sendall(said)
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65_536)
        if not piece:
            raise RuntimeError(f"the proxy closed after {data[:200]!r}")
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    status = int(head[9:12])
    left = 0 if status in (101, 204, 304) else _length(head) - len(body)
    while left > 0:
        left -= len(sock.recv(min(left, 65_536)))
    return status, head


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise RuntimeError(f"an answer without a length: {head[:300]!r}")


@contextmanager
def connections(
    target: Target, said: bytes, count: int, *, expect: int, ca: Path | None = None
) -> Iterator[list[socket.socket]]:
    """``count`` connections that have each asked once and got the status ``expect``; then idle."""
    context = None if ca is None else ssl.create_default_context(cafile=ca)
    with ExitStack() as stack:
        held = []
        for _ in range(count):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", target.port), 10))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname="localhost")
                stack.enter_context(sock)
            status, head = ask(sock, said)
            if status != expect:
                raise RuntimeError(f"{target.name}: {status} instead of {expect}: {head[:300]!r}")
            held.append(sock)
        yield held


def echo(target: Target, held: list[socket.socket], seconds: float) -> Sample:
    """Closed loop: each WebSocket has one message under way. CPU is per echo."""
    poll = select.epoll()
    by_fd = {sock.fileno(): sock for sock in held}
    sent_at = dict.fromkeys(by_fd, 0.0)
    got = dict.fromkeys(by_fd, 0)
    clock = time.perf_counter
    latencies: list[float] = []
    for sock in held:
        sock.setblocking(False)
        poll.register(sock, select.EPOLLIN)
    processes = machine.tree(target.pid)
    gc.collect()
    gc.disable()
    try:
        before = machine.cpu_seconds(processes)
        began = clock()
        end = began + seconds
        for fd, sock in by_fd.items():
            sent_at[fd] = clock()
            sock.send(MESSAGE)
        under_way = len(held)
        while under_way:
            for fd, _ in poll.poll(5):
                data = by_fd[fd].recv(4096)
                if not data:
                    raise RuntimeError(f"{target.name} closed a WebSocket")
                got[fd] += len(data)
                if got[fd] < FROM_SERVER:
                    continue
                got[fd] = 0
                now = clock()
                latencies.append(now - sent_at[fd])
                if now < end:
                    sent_at[fd] = now
                    by_fd[fd].send(MESSAGE)
                else:
                    under_way -= 1
        took = clock() - began
        spent = machine.cpu_seconds(processes) - before
    finally:
        gc.enable()
        poll.close()
    latencies.sort()
    count = len(latencies)
    return Sample(
        cpu_us=spent / count * 1e6,
        rps=count / took,
        p50_ms=latencies[count // 2] * 1e3,
        p99_ms=latencies[count * 99 // 100] * 1e3,
    )
