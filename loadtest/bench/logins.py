"""Logins as browsers make them, many at a time, against OpenLDAP: page, form, answer.

Each login is another employee in a new browser: the page with its form, then name and password; the
answer has to be the redirect of a login that worked, with a session. Bare asyncio streams: a client
library would cost more than the broker's part. ``python -m loadtest.bench.logins PORT SECONDS RATE
NAME...`` begins so many a second in a process of its own, and writes how many were done.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from broker.demo import employees
from broker.demo.certificates import certificates
from loadtest.bench.peers.broker import HOME, LDIF, BrokerPlan
from loadtest.bench.peers.target import Missing
from tests.support import slapd_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOME_HOST = HOME.removeprefix("https://")
AT_ONCE = 16
_HIDDEN = re.compile(rb'<input type="hidden" name="csrf" value="([^"]*)">')
_COOKIE = re.compile(rb"(?i)set-cookie: (__Host-broker-login=[^;\r]*)")
_LENGTH = re.compile(rb"(?i)content-length: (\d+)")


@contextmanager
def openldap(folder: Path) -> Iterator[BrokerPlan]:
    """slapd with the demo's employees, as the tests run it, and the plan of a broker that asks it.
    Raises Missing."""
    if not slapd_server.installed():
        raise Missing("slapd is missing: apt-get install slapd")
    files = certificates(folder / "ldap-certificates", datetime.now(UTC))
    home = folder / "slapd"
    home.mkdir()
    server = slapd_server.SlapdServer(home, LDIF.read_bytes(), files.ldap, files.ldap_key)
    server.start()
    try:
        yield BrokerPlan(
            directory={
                "servers": [f"ldaps://localhost:{server.ldaps_port}"],
                "ca": str(files.ca),
                "disabled_filter": employees.DISABLED_FILTER,
                "queue": 64,
            }
        )
    finally:
        server.stop()


def names() -> list[str]:
    """Who may log in, but for the employee of ``peers.broker``: with ever more browsers the one
    that the pages are asked with would be logged out."""
    found = employees.accounts(LDIF)
    del found["sales"][0]
    return [name for population in ("managers", "sales", "everyone") for name in found[population]]


async def log_in(port: int, name: str) -> None:
    """One login. Raises RuntimeError with the answer when it did not work."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        common = f"Host: {HOME_HOST}\r\nAccept: text/html\r\nUser-Agent: Firefox\r\n"
        writer.write(f"GET /.broker/login HTTP/1.1\r\n{common}\r\n".encode())
        head, page = await _answer(reader)
        csrf, cookie = _HIDDEN.search(page), _COOKIE.search(head)
        if csrf is None or cookie is None:
            raise RuntimeError(f"no login page: {head[:300]!r}")
        form = urlencode(
            {
                "username": name,
                "password": employees.PASSWORD,
                "csrf": csrf[1].decode(),
                "next": "",
            }
        ).encode()
        writer.write(
            f"POST /.broker/login HTTP/1.1\r\n{common}Origin: {HOME}\r\n"
            f"Cookie: {cookie[1].decode()}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n".encode()
            + form
        )
        head, page = await _answer(reader)
        if not head.startswith(b"HTTP/1.1 303") or b"__Host-broker=" not in head:
            raise RuntimeError(f"{name} did not get in: {head[:200]!r} {page[-300:]!r}")
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(head)
    body = await reader.readexactly(int(length[1])) if length else b""
    return head, body


async def at_rate(port: int, seconds: float, rate: float, who: list[str]) -> float:
    """Logins for so long, one begun every 1/``rate`` s whatever has become of those before; how
    many a second were done."""
    upcoming = cycle(who)
    began = time.monotonic()
    count = int(seconds * rate)
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(log_in(port, next(upcoming)))
    return count / (time.monotonic() - began)


async def keep_on(port: int, seconds: float, at_once: int, who: list[str]) -> float:
    """Logins for so long, ``at_once`` under way; how many a second."""
    upcoming = cycle(who)
    began = time.monotonic()
    done = 0

    async def one_after_the_other() -> None:
        nonlocal done
        while time.monotonic() - began < seconds:
            await log_in(port, next(upcoming))
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(one_after_the_other())
    return done / (time.monotonic() - began)


if __name__ == "__main__":
    port, seconds, rate, *who = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(at_rate(int(port), float(seconds), float(rate), who))}\n")
