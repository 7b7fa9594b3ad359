"""A page through the gateway, and what each side gets to see."""

from __future__ import annotations

from tests.support.stage import FEED, Stage, get, ok


async def test_a_logged_in_browser_gets_its_page_and_the_backend_the_identity() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(
            get("/page?x=1", "User-Agent: t", "X-Remote-User: mallory", "Connection: X-Gone, close",
                "X-Gone: 1", "Keep-Alive: 5", cookie=cookie)
        )  # fmt: skip
        backend = await stage.backend.connection()
        lines = (await backend.head()).split(b"\r\n")
        assert lines[0] == b"GET /page?x=1 HTTP/1.1"
        assert lines[1] == b"Host: " + FEED
        assert b"User-Agent: t" in lines
        assert b"X-Remote-User: ada" in lines
        assert lines[-1] == b"X-Broker-Assertion: assertion.feed"
        assert not [line for line in lines if b"mallory" in line or b"X-Gone" in line]
        assert not [line for line in lines if line.startswith((b"Keep-Alive", b"Cookie"))]
        await backend.send(ok(b"hello", "Server: b"))
        status, fields, body = await browser.response()
        assert (status, body) == (200, b"hello")
        assert fields[b"server"] == b"b"
        assert fields[b"connection"] == b"close"
        assert await browser.is_closed()
    line = stage.log.lines[-1]
    assert (line.employee, line.pool, line.status, line.sent) == ("~ada", "feed", 200, 5)
    assert line.outcome == "ok"


async def test_both_connections_are_used_again() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        for number in range(5):
            assert await backend.head()
            await backend.send(ok(b"%d" % number))
            assert (await browser.response())[2] == b"%d" % number
            if number < 4:
                await browser.send(get(cookie=cookie))
        assert stage.backend.accepted == 1
        assert stage.gateway.statistics().pools["feed"][0].idle == 1
        assert stage.spending.cell("feed", "everyone").used == 0
