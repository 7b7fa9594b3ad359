"""The parts of HTTP/1.1 that few browsers use and every proxy must carry: versions, ranges, interim
responses, expectations, half-closed connections, streams of any kind."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.stage import Stage, Wire, get, ok

EXPECT = ("Content-Length: 3", "Expect: 100-continue")


async def begun(stage: Stage, request: bytes) -> tuple[Wire, Wire, bytes]:
    """A browser whose request has arrived: (browser, backend, head as the backend sees it)."""
    browser = await stage.browser()
    await browser.send(request)
    backend = await stage.backend.connection()
    return browser, backend, await backend.head()


def old(request: bytes) -> bytes:
    """The same in HTTP/1.0."""
    return request.replace(b"HTTP/1.1", b"HTTP/1.0", 1)


async def test_ranges_are_the_backends_to_serve() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        fields = ("Range: bytes=2-4,7-", 'If-Range: "v1"')
        browser, backend, head = await begun(stage, get("/film", *fields, cookie=cookie))
        assert b'\r\nRange: bytes=2-4,7-\r\nIf-Range: "v1"' in head
        await backend.send(
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 2-4/9\r\nContent-Length: 3\r\n"
            b"Accept-Ranges: bytes\r\n\r\ncde"
        )
        status, got, body = await browser.response()
        assert (status, body) == (206, b"cde")
        assert (got[b"content-range"], got[b"accept-ranges"]) == (b"bytes 2-4/9", b"bytes")
        await browser.send(get("/film", "Range: bytes=99-", cookie=cookie))
        await backend.head()
        await backend.send(
            b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */9\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        status, got, _ = await browser.response()
        assert (status, got[b"content-range"]) == (416, b"bytes */9")


async def test_an_http_1_0_browser_may_keep_its_connection() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(
            stage, old(get("/1", "Connection: keep-alive", cookie=cookie))
        )
        await backend.send(ok(b"one"))
        _, fields, body = await browser.response()
        assert (fields[b"connection"], body) == (b"keep-alive", b"one")
        await browser.send(old(get("/2", cookie=cookie)))
        await backend.head()
        await backend.send(ok(b"two"))
        _, fields, body = await browser.response()
        assert (fields[b"connection"], body) == (b"close", b"two")
        assert await browser.is_closed()


async def test_an_http_1_0_browser_uploads_with_a_length() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        request = old(get("/", *EXPECT, method="POST", cookie=cookie))
        browser, backend, head = await begun(stage, request)
        assert b"\r\nContent-Length: 3" in head
        assert b"Expect" not in head, "RFC 9110 10.1.1: to be ignored"
        await browser.send(b"abc")
        assert await backend.exactly(3) == b"abc"
        await backend.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"stored"))
        status, _, body = await browser.response()
        assert (status, body) == (200, b"stored"), "RFC 9110 15.2: it knows no interim responses"


@pytest.mark.parametrize("keeps", [False, True])
async def test_an_http_1_0_backend_keeps_its_connection_only_if_it_says_so(keeps: bool) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get("/1", cookie=cookie))
        wish = b"Connection: keep-alive\r\n" if keeps else b""
        await backend.send(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n" + wish + b"\r\nhi")
        _, fields, body = await browser.response()
        assert body == b"hi"
        assert b"connection" not in fields, "what the backend does is not the browser's concern"
        await browser.send(get("/2", cookie=cookie))
        again = backend if keeps else await stage.backend.connection()
        assert (await again.head()).startswith(b"GET /2 HTTP/1.1")
        if not keeps:
            assert await backend.is_closed()


async def test_an_expectation_may_be_refused_before_the_body_is_sent() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get("/", *EXPECT, method="PUT", cookie=cookie))
        await backend.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        status, fields, body = await browser.response()
        assert (status, body) == (403, b"no")
        assert fields[b"connection"] == b"close", "nobody knows whether the body still comes"
        assert await backend.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_interim_responses_go_on_as_they_come_but_no_100_that_nobody_asked_for() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get(cookie=cookie))
        await backend.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")
        assert await browser.head() == b"HTTP/1.1 102 Processing"
        await backend.send(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>\r\n\r\n")
        assert await browser.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>"
        await backend.send(ok(b"at last"))
        assert (await browser.response())[2] == b"at last"


@pytest.mark.parametrize(
    ("start", "step"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", b"abcd"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"abcd"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\nabcd\r\n"),
    ],
    ids=["length", "close", "chunked"],
)
async def test_no_byte_of_a_stream_waits_for_another(start: bytes, step: bytes) -> None:
    """Head first, then each piece when it is here: events, long polls, progress bars."""
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get("/events", cookie=cookie))
        await backend.send(start)
        head = await browser.head()
        for _ in range(3):
            await backend.send(step)
            piece = b"abcd" if b"Content-Length" in head else b"4\r\nabcd\r\n"
            assert await browser.exactly(len(piece)) == piece


async def test_a_half_closed_browser_gets_an_answer_that_has_begun() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get(cookie=cookie))
        await backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await browser.head()
        browser.writer.write_eof()
        await asyncio.sleep(0.05)
        for piece in (b"def", b"ghi"):
            await backend.send(piece)
        assert await browser.rest() == b"abcdefghi"
        await stage.settled()
        assert stage.log.lines[-1].outcome == "ok"


async def test_half_closed_after_several_requests_all_are_answered() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(b"".join(get(f"/{n}", cookie=cookie) for n in range(3)))
        browser.writer.write_eof()
        backend = await stage.backend.connection()
        for number in range(3):
            assert (await backend.head()).startswith(b"GET /%d " % number)
            await backend.send(ok(b"%d" % number))
            assert (await browser.response())[2] == b"%d" % number
        assert await browser.is_closed()


@pytest.mark.in_place
async def test_who_left_a_silent_stream_does_not_hold_it_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A closed tab looks half-closed, and without events nothing is written that would tell."""
    monkeypatch.setattr("broker.gateway.relay.MOST_SILENCE", 0.2)
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser, backend, _ = await begun(stage, get("/events", cookie=cookie))
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await browser.head()
        browser.close()
        assert await backend.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0
        assert stage.log.lines[-1].outcome == "browser_gone"
