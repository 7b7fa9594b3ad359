"""Bodies both ways: the framing each side sees is ours, the bytes are the other's."""

from __future__ import annotations

import asyncio

import pytest

from broker.gateway.plan import DoorPlan, RoutePlan
from tests.support.stage import Stage, get, ok


async def test_a_chunked_upload_arrives_with_new_framing() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(
            get("/up", "Transfer-Encoding: chunked", "Trailer: X-T", method="POST", cookie=cookie)
        )
        await browser.send(b"3;ext=1\r\nabc\r\n")
        backend = await stage.backend.connection()
        head = await backend.head()
        assert b"\r\nTransfer-Encoding: chunked" in head
        assert b"railer" not in head
        assert await backend.exactly(8) == b"3\r\nabc\r\n"
        await browser.send(b"2\r\nde\r\n0\r\nX-T: 1\r\n\r\n")
        assert await backend.exactly(12) == b"2\r\nde\r\n0\r\n\r\n"
        await backend.send(ok())
        assert (await browser.response())[0] == 200


async def test_a_body_that_comes_with_its_head_goes_on_at_once() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 5", method="PUT", cookie=cookie) + b"hello")
        backend = await stage.backend.connection()
        assert b"Content-Length: 5" in await backend.head()
        assert await backend.exactly(5) == b"hello"
        await backend.send(ok())
        assert (await browser.response())[0] == 200


async def test_an_empty_post_keeps_its_length() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 0", method="POST", cookie=cookie))
        backend = await stage.backend.connection()
        assert b"\r\nContent-Length: 0\r\n" in await backend.head() + b"\r\n"


@pytest.mark.parametrize("pieces", [1, 7])
async def test_a_chunked_response_is_framed_anew(pieces: int) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        data = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
            b"5;secret=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n"
        )
        step = len(data) // pieces + 1
        for start in range(0, len(data), step):
            await backend.send(data[start : start + step])
            await asyncio.sleep(0.01)
        status, fields, body = await browser.response()
        assert (status, body) == (200, b"hello world")
        assert fields[b"x-a"] == b"b"
        await browser.send(get(cookie=cookie))
        assert await backend.head(), "the connection serves again"


async def test_a_response_that_ends_with_its_connection_becomes_chunked() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.0 200 OK\r\n\r\nall ", b"of it")
        backend.close()
        assert (await browser.response())[2] == b"all of it"


async def test_http_1_0_browsers_get_no_chunks() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie).replace(b"HTTP/1.1", b"HTTP/1.0"))
        backend = await stage.backend.connection()
        assert (await backend.head()).startswith(b"GET / HTTP/1.1\r\n")
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await backend.send(b"2\r\nhi\r\n0\r\n\r\n")
        everything = await browser.rest()
        assert b"chunked" not in everything
        assert everything.endswith(b"\r\nConnection: close\r\n\r\nhi")


async def test_an_answer_in_the_turn_of_a_half_close_still_goes_out() -> None:
    """The loop closes once it was told that the browser has ended its side; what the same turn has
    to say must not stay behind."""
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(get("/.broker/healthz"))
        await browser.response()
        (gate,) = stage.gateway._browsers
        gate.write(b"an answer")
        assert not gate.eof_received()
        gate.transport.close()  # as the loop does
        assert await browser.rest() == b"an answer"


async def test_what_is_pipelined_behind_the_last_request_does_not_reset_its_answer() -> None:
    """Closed with bytes unread a connection is reset, and an answer delimited by its end broken."""
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        request = get(cookie=cookie).replace(b"HTTP/1.1", b"HTTP/1.0")
        browser.writer.write(request + request * 2000)
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await backend.send(b"2\r\nhi\r\n0\r\n\r\n")
        answer = await browser.reader.read()  # raises when the connection is reset
        assert answer.endswith(b"\r\nConnection: close\r\n\r\nhi")
        browser.close()
        await stage.settled()
        assert len(stage.log.lines) == 1


@pytest.mark.parametrize(
    ("method", "response"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 99\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nDate: x\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n"),
    ],
)
async def test_responses_without_a_body(method: str, response: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie, method=method))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(response)
        assert await browser.head() == response[:-4].replace(
            b"Content-Length: 99\r\nDate: x", b"Date: x\r\nContent-Length: 99"
        )
        await browser.send(get(cookie=cookie))
        await backend.head()
        await backend.send(ok(b"next"))
        assert (await browser.response())[2] == b"next"


async def test_expect_100_continue_is_the_backends_to_answer() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(
            get("/", "Content-Length: 3", "Expect: 100-continue", method="POST", cookie=cookie)
        )
        backend = await stage.backend.connection()
        assert b"\r\nExpect: 100-continue" in await backend.head()
        await backend.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await browser.head() == b"HTTP/1.1 100 Continue"
        await browser.send(b"abc")
        assert await backend.exactly(3) == b"abc"
        await backend.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok(b"done"))
        assert await browser.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>"
        assert (await browser.response())[2] == b"done"


async def test_an_early_answer_to_an_upload_reaches_its_sender() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 900000", method="POST", cookie=cookie))
        await browser.send(b"x" * 1000)
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
        status, fields, body = await browser.response()
        assert (status, body, fields[b"connection"]) == (413, b"no", b"close")
        assert await browser.is_closed()
        await stage.settled()
        assert stage.gateway.statistics().pools["feed"][0].connections == 0


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(
            get("/1", cookie=cookie)
            + get("/2", "Content-Length: 2", method="POST", cookie=cookie) + b"ab"
            + get("/.broker/nothing", cookie=cookie) + get("/3", cookie=cookie)
        )  # fmt: skip
        backend = await stage.backend.connection()
        for number in (b"1", b"2", b"3"):
            assert (await backend.head()).split(b" ")[1] == b"/" + number
            if number == b"2":
                assert await backend.exactly(2) == b"ab"
            await backend.send(ok(number))
            assert (await browser.response())[2] == number
            if number == b"2":
                assert (await browser.response())[0] == 404
        assert stage.backend.accepted == 1


async def test_a_flood_of_pipelined_requests_is_not_read_ahead() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        request = get("/", cookie=cookie)
        browser.writer.write(request * (16 * 1024 * 1024 // len(request)))
        await (await stage.backend.connection()).head()
        await asyncio.sleep(0.2)
        assert browser.writer.transport.get_write_buffer_size() > 8 * 1024 * 1024


async def test_a_head_that_comes_byte_by_byte() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        for byte in get("/slow", cookie=cookie):
            await browser.send(bytes((byte,)))
            await asyncio.sleep(0)
        backend = await stage.backend.connection()
        assert (await backend.head()).startswith(b"GET /slow ")


@pytest.mark.parametrize(
    "body", [b"5\r\nabcdefg\r\n0\r\n\r\n", b"x\r\n", b"5 \r\nabcde\r\n", b"5\nabcde\n0\n\n"]
)
async def test_chunks_that_lie_are_refused(body: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Transfer-Encoding: chunked", method="POST", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await browser.send(body)
        assert (await browser.response())[0] == 400
        assert await browser.is_closed()
        assert b"0\r\n\r\n" not in await backend.rest(), "never a clean end"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_routes_limit_gets_413(chunked: bool) -> None:
    route = RoutePlan(b"/", "feed", body_limit=1000)
    async with Stage(routes=(route,)) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        if chunked:
            await browser.send(get("/", "Transfer-Encoding: chunked", method="POST", cookie=cookie))
            await browser.send(b"7d0\r\n" + b"x" * 2000 + b"\r\n")
        else:
            await browser.send(get("/", "Content-Length: 1001", method="POST", cookie=cookie))
        assert (await browser.response())[0] == 413
        assert await browser.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_fifty_mebibytes_up_with_bounded_memory() -> None:
    size = 50 * 1024 * 1024
    block = bytes(range(256)) * 1024
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", f"Content-Length: {size}", method="PUT", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()

        async def upload() -> None:
            for _ in range(size // len(block)):
                await browser.send(block)

        sending = asyncio.create_task(upload())
        await asyncio.sleep(0.2)  # the backend reads nothing: everything must come to a halt
        (connection,) = next(iter(stage.gateway._pools["feed"].servers)).connections
        assert connection.transport.get_write_buffer_size() <= 256 * 1024
        assert not sending.done()
        got = 0
        while got < size:
            data = await backend.reader.read(1 << 20)
            assert data == (block * 6)[got % 256 :][: len(data)]
            got += len(data)
        await sending
        await backend.send(ok(b"stored"))
        assert (await browser.response())[2] == b"stored"
    assert stage.log.lines[-1].received == size


async def test_a_browser_that_does_not_read_stops_the_backend() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        size = 32 * 1024 * 1024
        backend.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        backend.writer.write(b"z" * size)
        await asyncio.sleep(0.3)
        (gate,) = stage.gateway._browsers
        assert gate.transport.get_write_buffer_size() <= 256 * 1024
        assert backend.writer.transport.get_write_buffer_size() > 8 * 1024 * 1024
        _, _, body = await browser.response()
        assert len(body) == size


async def test_a_slow_body_is_given_up() -> None:
    async with Stage(door=DoorPlan(head_timeout=0.5)) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/", "Content-Length: 90000", method="POST", cookie=cookie), b"x")
        await (await stage.backend.connection()).head()
        assert (await browser.response())[0] == 408
        assert await browser.is_closed()


async def test_a_slow_head_is_given_up() -> None:
    async with Stage(door=DoorPlan(head_timeout=0.3, keep_alive=0.3)) as stage:
        browser = await stage.browser()
        await browser.send(b"GET / HT")
        assert (await browser.response())[0] == 408
        silent = await stage.browser()
        assert await silent.is_closed()
