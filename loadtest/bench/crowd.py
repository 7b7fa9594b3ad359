"""A crowd that waits: employees with a session and a ticket each, and their polls over TLS.

Sessions are written to the ledger as a worker would write them back; tickets are taken there; the
cookies are signed with the running broker's own keys. So each poll is what a browser sends that has
waited for a while: a session cookie, a ticket cookie, the fields of a fetch.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from typing import TYPE_CHECKING

from broker.ledger.port import SessionRecord
from broker.ledger.redis_ledger import RedisLedger
from broker.site.tokens import KeyRing, TicketClaims, Tokens
from loadtest.bench import clients
from loadtest.bench.peers.broker import APP_HOST, SITE
from loadtest.bench.sessions import GROUPS, LIFETIME_MS, POPULATION, TOKEN_SECONDS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence

    from loadtest.bench.peers.broker import RunningBroker

AT_ONCE = 64  # admissions in one call of the ledger
POLL = "/.broker/wait/status"


def gather(found: RunningBroker, employees: int) -> list[bytes]:
    """So many employees join the waiting room; the request of each one's poll."""
    return asyncio.run(_gather(found, employees))


async def _gather(found: RunningBroker, employees: int) -> list[bytes]:
    ring = KeyRing.from_json(found.keys.read_text())
    tokens = Tokens(ring, SITE, time.time, TOKEN_SECONDS)
    ledger = await RedisLedger.connect(f"unix://{found.redis_socket}", SITE, 10.0)
    said = []
    try:
        usage = await ledger.usage()
        now = usage.ledger_ms
        names = [f"waiting.{number:06d}" for number in range(employees)]
        records = [
            SessionRecord(f"{number:032x}", name, name, POPULATION, GROUPS, now, now + LIFETIME_MS)
            for number, name in enumerate(names)
        ]
        await ledger.restore((), records, ())
        for start in range(0, employees, AT_ONCE):
            some = records[start : start + AT_ONCE]
            answers = await ledger.admit_all([(one.employee, POPULATION) for one in some])
            for record, answer in zip(some, answers, strict=True):
                if answer.number is None:
                    raise RuntimeError(f"{record.employee} is {answer.state} and has no ticket")
                ticket = tokens.ticket_cookie(
                    TicketClaims(
                        record.employee, record.id, POPULATION, answer.number, usage.epoch, now
                    )
                )
                session = tokens.session_cookie(record, APP_HOST)
                cookie = f"__Host-broker={session}; __Host-broker-ticket={ticket}"
                said.append(clients.request(found.target, POLL, cookie=cookie))
    finally:
        await ledger.close()
    return said


def poll_all(held: Sequence[socket.socket], said: Sequence[bytes]) -> int:
    """Each request once, one under way on each connection. Returns how many are told that they
    wait; raises RuntimeError for an answer that is not one."""
    poller = select.epoll()
    by_fd = {sock.fileno(): sock for sock in held}
    coming: Iterator[bytes] = iter(said)
    partial = dict.fromkeys(by_fd, b"")
    waiting = under_way = 0
    try:
        for fd, sock in by_fd.items():
            sock.setblocking(False)
            poller.register(fd, select.EPOLLIN)
            if (request := next(coming, None)) is not None:
                sock.send(request)
                under_way += 1
        while under_way:
            events = poller.poll(10)
            if not events:
                raise RuntimeError("nothing came back for ten seconds")
            for fd, _ in events:
                try:
                    data = partial[fd] + by_fd[fd].recv(65_536)
                except ssl.SSLWantReadError:
                    continue
                if not _is_whole(data):
                    partial[fd] = data
                    continue
                partial[fd] = b""
                if data[9:12] != b"200":
                    raise RuntimeError(f"a poll was answered {data[:300]!r}")
                waiting += b'"waiting"' in data
                if (request := next(coming, None)) is None:
                    under_way -= 1
                else:
                    by_fd[fd].send(request)
    finally:
        poller.close()
    return waiting


def _is_whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head[head.index(b"Content-Length: ") + 16 :].partition(b"\r\n")[0]
    return len(body) >= int(length)
