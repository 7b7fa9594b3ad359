"""Two readers of one stream must never disagree: what is hidden in a request or a response comes
out as nothing, or as what its own sender could have said openly."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from tests.support.stage import FEED, Backend, Stage, Wire, get, ok

OFFER = ("Connection: Upgrade", "Upgrade: websocket", "Origin: https://feed.test:8443")
CHUNKED = "Transfer-Encoding: chunked"
FRAMINGS = [
    (f"{CHUNKED}\r\nContent-Length: 5", b"0\r\n\r\n"),
    ("Transfer-Encoding: xchunked", b"0\r\n\r\n"),
    ("Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
    ("Transfer-Encoding:\x0bchunked", b"0\r\n\r\n"),
    ("Transfer-Encoding : chunked", b"0\r\n\r\n"),
    ("Transfer_Encoding: chunked", b"0\r\n\r\n"),
    ("X: y\r\n Transfer-Encoding: chunked", b"0\r\n\r\n"),
    ("X: y\rTransfer-Encoding: chunked", b"0\r\n\r\n"),
    ("X: y\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
    (f"{CHUNKED}\r\n{CHUNKED}", b"0\r\n\r\n"),
    ("Content-Length: +5", b"hello"),
    ("Content-Length: 5, 5", b"hello"),
    ("Content-Length: 5\r\nContent-Length: 0", b"hello"),
    ("Content-Length: 18446744073709551621", b"hello"),
    ("Content-Length: \xb25", b"hello"),
    (CHUNKED, b"5\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"5\r\nhello\n0\r\n\r\n"),
    (CHUNKED, b"5;\nx\r\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"0x5\r\nhello\r\n0\r\n\r\n"),
    (CHUNKED, b"5\r\nhello\r\n0\r\nX: y\n\r\n\r\n"),
    (CHUNKED, b"5\r\nhello\r\n0\r\n\n"),
    (CHUNKED, b"5\r\nhelloX0\r\n\r\n"),
]


@pytest.mark.parametrize(("fields", "body"), FRAMINGS)
async def test_nothing_comes_out_behind_a_body_that_could_be_read_two_ways(
    fields: str, body: bytes
) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        hidden = get("/hidden", cookie=cookie)
        await browser.send(get("/", fields, cookie=cookie, method="POST") + body + hidden)
        status, answer, _ = await browser.response()
        assert status == 400
        assert answer[b"connection"] == b"close"
        assert await browser.is_closed()
        if stage.backend.accepted:  # the head was right and its chunks were not
            seen = await (await stage.backend.connection()).rest()
            assert b"hidden" not in seen
            assert b"hello" not in seen or not seen.endswith(b"0\r\n\r\n")
        assert {line.path for line in stage.log.lines} <= {b"/", b"-"}


async def test_a_body_that_nobody_read_is_never_taken_for_a_request() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        hidden = get("/hidden", cookie=cookie)
        await browser.send(get("/", "Content-Length: 5000", cookie=cookie, method="POST"))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(ok(b"early"))
        assert (await browser.response())[1][b"connection"] == b"close"
        await browser.send(hidden * 20)
        await browser.rest()
        await stage.settled()
        assert stage.backend.accepted == 1
        assert [line.path for line in stage.log.lines] == [b"/"]


async def test_bytes_after_a_refused_upgrade_are_the_senders_own_request() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", *OFFER, cookie=cookie) + get("/", "X-Remote-User: root"))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
        assert (await browser.response())[0] == 426
        assert (await browser.response())[0] == 401  # it brought no cookie


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 40\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_a_body_promised_where_none_can_be_is_nobodys_answer(head: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(head)
        await browser.head()
        other = stage.sessions.log_in("bob")
        await browser.send(get(cookie=other))
        await backend.send(ok(b"late"))
        second = await stage.backend.connection()
        await second.head()
        await second.send(ok(b"bob's"))
        assert (await browser.response())[2] == b"bob's"


async def test_what_a_browser_says_of_its_connection_takes_nothing_of_ours_away() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        names = "X-Remote-User, X-Broker-Assertion, X-Forwarded-For, Host, Content-Length"
        await browser.send(
            get("/", f"Connection: close, {names}", "Content-Length: 2", "X-Remote-User: root",
                "X.Broker.Assertion: forged", cookie=cookie, method="POST") + b"ab"
        )  # fmt: skip
        backend = await stage.backend.connection()
        lines = (await backend.head()).split(b"\r\n")
        named = [line.partition(b":")[0].lower() for line in lines[1:]]
        for name in (b"host", b"content-length", b"x-forwarded-for", b"x-remote-user"):
            assert named.count(name) == 1
        assert b"X-Remote-User: ada" in lines
        assert not [line for line in lines if b"forged" in line or b"root" in line]
        assert await backend.exactly(2) == b"ab"


async def _serve(backend: Backend) -> None:
    """Answer who asked for what, like an application, on every connection."""
    async with asyncio.TaskGroup() as group:
        while True:
            with contextlib.suppress(TimeoutError):  # nobody came for a while
                group.create_task(_converse(await backend.connection()))


async def _converse(wire: Wire) -> None:
    while True:
        try:
            head = await wire.reader.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
            length = int(fields.get(b"Content-Length", b"0"))
            await wire.reader.readexactly(length)
            target = head.split(b" ")[1]
            said = fields[b"X-Remote-User"] + b" " + target
            size = int(target.rpartition(b"-")[2])
            await wire.send(ok(said + b"." * size))
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def _browse(stage: Stage, cookies: dict[str, bytes], chance: random.Random) -> int:
    """Requests in batches, some given up in the middle; every answer must be one's own."""
    answered = 0
    for _ in range(6):
        browser = await stage.browser()
        for _ in range(chance.randint(1, 4)):
            name = chance.choice(list(cookies))
            targets = [
                f"/{chance.getrandbits(32):x}-{chance.choice((0, 10, 20_000))}"
                for _ in range(chance.randint(1, 4))
            ]
            body = b"b" * chance.choice((0, 0, 3_000))
            requests = [
                get(t, f"Content-Length: {len(body)}", cookie=cookies[name], method="PUT") + body
                for t in targets
            ]
            await browser.send(b"".join(requests))
            if chance.random() < 0.2:
                browser.reset()
                break
            for target in targets:
                status, _, said = await browser.response()
                assert status == 200
                assert said.rstrip(b".") == f"{name} {target}".encode()
                answered += 1
    return answered


@pytest.mark.parametrize("seed", range(3))
async def test_everybody_gets_their_own_answers(seed: int) -> None:
    async with Stage(servers=2) as stage:
        cookies = {f"p{n}": stage.sessions.log_in(f"p{n}", host=FEED) for n in range(5)}
        serving = [asyncio.ensure_future(_serve(backend)) for backend in stage.backends]
        try:
            answered = await asyncio.gather(
                *(_browse(stage, cookies, random.Random(seed * 100 + n)) for n in range(12))
            )
            assert sum(answered) > 100
            await stage.settled()
            assert stage.cell().used == 0
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)
