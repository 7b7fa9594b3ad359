"""Who is refused, with what, and that nothing of it reaches a backend."""

from __future__ import annotations

import asyncio
import json

import pytest

from broker.gateway.plan import DoorPlan, RoutePlan
from broker.site.doors import Standing
from tests.support.stage import FEED, HOME, Stage, get, ok

NAVIGATION = "Sec-Fetch-Mode: navigate"
BROKEN = [
    b"GET / HTTP/1.1\r\nHost: nowhere.test\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: feed.test:8443\r\nHost: feed.test:8443\r\n\r\n",
    b"GET / HTTP/1.1\nHost: feed.test:8443\n\n",
    b"GET /\r\n\r\n",
    b"CONNECT feed.test:8443 HTTP/1.1\r\nHost: feed.test:8443\r\n\r\n",
    b"GET /a%2fb HTTP/1.1\r\nHost: feed.test:8443\r\n\r\n",
    b"GET /a\\b HTTP/1.1\r\nHost: feed.test:8443\r\n\r\n",
    b"GET /a#b HTTP/1.1\r\nHost: feed.test:8443\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: feed.test:8443\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: feed.test:8443\r\nX_Y: 1\r\n\r\n",
]


@pytest.mark.parametrize("data", BROKEN)
async def test_a_broken_request_gets_400_and_the_end(data: bytes) -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(data)
        status, fields, body = await browser.response()
        assert status == 400
        assert fields[b"connection"] == b"close"
        assert b"test" not in body
        assert await browser.is_closed()
        assert stage.backend.accepted == stage.portal.accepted == 0
        (line,) = stage.log.lines
        assert line.status == 400


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", 414),
        (b"GET /" + b"a" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: feed.test:8443\r\nX: " + b"a" * 40000, 431),
        (b"GET / HTTP/1.1\r\nHost: feed.test:8443\r\n" + b"X: 1\r\n" * 101 + b"\r\n", 431),
    ],
)
async def test_what_is_too_large(head: bytes, status: int) -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(head)
        assert (await browser.response())[0] == status


async def test_strangers_programs_get_401_and_keep_their_connection() -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        for cookie in (None, b"forged", b"a; __Host-broker=b"):
            await browser.send(get("/api", "Accept: application/json", cookie=cookie))
            status, fields, body = await browser.response()
            assert status == 401
            assert fields[b"content-type"] == b"application/problem+json"
            assert json.loads(body)["status"] == 401
        assert stage.backend.accepted == 0


async def test_a_foreign_cookie_is_no_login() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", HOME)
        browser = await stage.browser()
        await browser.send(get("/", cookie=cookie))
        assert (await browser.response())[0] == 401


@pytest.mark.parametrize(
    ("language", "word"), [("fr", b"connect"), ("pl", b"zalog"), ("en", b"logged in")]
)
async def test_answers_speak_the_browsers_language(language: str, word: bytes) -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(get("/api", f"Accept-Language: {language}"))
        _, fields, body = await browser.response()
        assert fields[b"content-language"] == language.encode()
        if language == "en":
            assert word in body


async def test_a_strangers_navigation_is_shown_the_door() -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(get("/wanted?x=1", NAVIGATION, "If-None-Match: a", "Range: bytes=0-"))
        portal = await stage.portal.connection()
        head = await portal.head()
        assert head.startswith(b"GET /.broker/page/enter HTTP/1.1\r\nHost: feed.test:8443\r\n")
        assert b"If-None-Match" not in head
        assert b"Range" not in head
        assert b"\r\nX-Broker-Assertion: portal.assertion" in head
        assert b"X-Remote-User" not in head
        session, stated = stage.sessions.stated[-1]
        assert session is None
        assert stated == {
            "host": "feed.test:8443", "address": "127.0.0.1", "return": "/wanted?x=1",
            "method": "GET", "page": "enter", "wait": None,
        }  # fmt: skip
        await portal.send(
            b"HTTP/1.1 302 Found\r\nLocation: https://home.test:8443/\r\nContent-Length: 0\r\n"
            b"Set-Cookie: __Host-broker-handover=x; Secure\r\n\r\n"
        )
        status, fields, _ = await browser.response()
        assert status == 302
        assert fields[b"set-cookie"].startswith(b"__Host-broker-handover")


async def test_a_strangers_form_is_not_passed_on() -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        await browser.send(get("/f", NAVIGATION, "Content-Length: 6", method="POST") + b"secret")
        portal = await stage.portal.connection()
        head = await portal.head()
        assert head.startswith(b"GET /.broker/page/enter ")
        assert b"ontent-" not in head
        await portal.send(ok(b"login"))
        assert (await browser.response())[2] == b"login"
        await browser.send(get("/.broker/nothing"))
        assert (await browser.response())[0] == 404, "a body that was whole costs no connection"


async def test_an_application_that_is_away_is_told_in_the_language_chosen() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        await stage.backend.close()
        browser = await stage.browser()
        fields = (NAVIGATION, "Accept-Language: fr")
        await browser.send(get("/news?a=1", *fields, cookie=cookie + b"; __Host-broker-lang=pl"))
        status, got, body = await browser.response()
        assert (status, got[b"content-language"]) == (502, b"pl")
        assert b'href="/.broker/language?to=/news%3Fa%3D1&amp;lang=en"' in body
        asked = get("/news?a=1", *fields, cookie=cookie + b"; __Host-broker-lang=pl", method="HEAD")
        await browser.send(asked)
        assert f"Content-Length: {len(body)}".encode() in await browser.head(), "as GET (9110 8.6)"
        await browser.send(get("/news", *fields, cookie=cookie, method="POST"))
        status, got, body = await browser.response()
        assert (status, got[b"content-language"]) == (502, b"fr")
        assert b"<nav" not in body, "what was sent would be lost"


async def test_who_cannot_be_looked_up_is_offered_no_switch() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", remembered=False)
        stage.sessions.away = True
        browser = await stage.browser()
        await browser.send(get("/news", NAVIGATION, cookie=cookie))
        status, _, body = await browser.response()
        assert status == 503
        assert b"<nav" not in body, "the switch would be answered in the same way"


async def test_without_the_portal_there_is_still_a_page() -> None:
    async with Stage() as stage:
        await stage.portal.close()
        browser = await stage.browser()
        await browser.send(get("/", NAVIGATION))
        status, fields, body = await browser.response()
        assert status == 401
        assert fields[b"content-type"].startswith(b"text/html")
        assert b"<h1>" in body
        assert b"<nav" not in body, "who would switch is away"


@pytest.mark.parametrize(
    ("state", "method", "page", "status"),
    [
        ("not_admitted", "GET", "not-admitted", 403),
        ("waiting", "GET", "wait", 503),
        ("learning", "GET", "wait", 503),
        ("waiting", "POST", "body-lost", 503),
    ],
)
async def test_no_seat(state: str, method: str, page: str, status: int) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False)
        stage.claims.answers["ada"] = Standing(
            state, "everyone", 7, 60, 120, 20, 90, b"__Host-broker-ticket=t; Secure"
        )
        browser = await stage.browser()
        body = b"x=1" if method == "POST" else b""
        fields = ["Content-Length: 3"] if body else []
        await browser.send(get("/w", NAVIGATION, *fields, cookie=cookie, method=method) + body)
        portal = await stage.portal.connection()
        assert (await portal.head()).startswith(b"GET /.broker/page/" + page.encode() + b" ")
        _, stated = stage.sessions.stated[-1]
        assert (stated["method"], stated["return"]) == (method, "/w")
        assert stated["wait"] == {
            "state": state, "population": "everyone", "position": 7, "p50": 60, "p90": 120,
            "poll": 20, "claim": 90,
        }  # fmt: skip
        await portal.send(ok(b"page"))
        assert (await browser.response())[1][b"set-cookie"] == b"__Host-broker-ticket=t; Secure"
        await browser.send(get("/w", *fields, cookie=cookie, method=method) + body)
        answer = await browser.response()
        assert answer[0] == status
        assert answer[1][b"set-cookie"] == b"__Host-broker-ticket=t; Secure"
        assert (b"retry-after" in answer[1]) == (status == 503)
        if status == 503:
            assert 20 <= int(answer[1][b"retry-after"]) <= 25
            told = json.loads(answer[2])
            assert (told["state"], told["position"]) == (state, 7)
            assert told["estimate_seconds"] == {"p50": 60, "p90": 120}
            assert told["status"] == 503
        assert stage.backend.accepted == 0


async def test_a_seat_is_claimed_and_the_request_goes_on() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False, remembered=False)
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        assert b"X-Remote-User: ada" in await backend.head()
        await backend.send(ok())
        assert (await browser.response())[0] == 200
        assert stage.claims.asked == ["ada"]


async def test_the_ledger_away_is_said_and_never_a_logout() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", remembered=False)
        stage.sessions.away = True
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        status, fields, _ = await browser.response()
        assert status == 503
        assert b"retry-after" in fields
        assert b"set-cookie" not in fields


async def test_a_spent_grant_waits_a_little_then_503() -> None:
    async with Stage(grant=1, queue_timeout=0.15) as stage:
        ada, bob = stage.sessions.log_in("ada"), stage.sessions.log_in("bob")
        first, second = await stage.browser(), await stage.browser()
        await first.send(get("/1", cookie=ada))
        backend = await stage.backend.connection()
        await backend.head()
        await second.send(get("/2", cookie=bob))
        status, fields, _ = await second.response()
        assert status == 503
        assert int(fields[b"retry-after"]) >= 1
        await second.send(get("/3", cookie=bob))
        await backend.send(ok(b"1"))
        assert (await first.response())[2] == b"1"
        assert (await backend.head()).startswith(b"GET /3 "), (
            "the freed connection serves who waits"
        )
        await backend.send(ok(b"3"))
        assert (await second.response())[2] == b"3"
        assert stage.shorts
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_more_connections_than_one_employee_may_have_get_429() -> None:
    async with Stage(per_employee=2) as stage:
        cookie = stage.sessions.log_in("ada")
        busy = [await stage.browser() for _ in range(2)]
        for browser in busy:
            await browser.send(get(cookie=cookie))
            await (await stage.backend.connection()).head()
        third = await stage.browser()
        await third.send(get(cookie=cookie))
        assert (await third.response())[0] == 429


async def test_those_who_wait_count_as_well() -> None:
    async with Stage(grant=0, per_employee=3, queue_timeout=5.0) as stage:
        cookie = stage.sessions.log_in("ada")
        browsers = [await stage.browser() for _ in range(4)]
        for browser in browsers[:3]:
            await browser.send(get(cookie=cookie))
            await asyncio.sleep(0.01)
        await browsers[3].send(get(cookie=cookie))
        assert (await browsers[3].response())[0] == 429
        stage.cell().cap = 100
        stage.cell().serve_waiters()
        for _ in range(3):
            backend = await stage.backend.connection()
            await backend.head()
            await backend.send(ok())
        assert stage.backend.accepted == 3


async def test_reserved_paths() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        for path, status in (
            ("/.broker/", 404), ("/.broker", 404), ("/.broker/page/enter", 404),
            ("/.broker/x/../page/wait", 404), ("/.broker/healthz", 200),
        ):  # fmt: skip
            await browser.send(get(path, cookie=cookie))
            assert (await browser.response())[0] == status, path
        await browser.send(get("/.broker/logout", cookie=cookie))
        portal = await stage.portal.connection()
        assert (await portal.head()).startswith(b"GET /.broker/logout ")
        await portal.send(ok())
        await browser.response()
        await browser.send(get("/.brokers/x", cookie=cookie))
        assert (await (await stage.backend.connection()).head()).startswith(b"GET /.brokers/x ")


async def test_cookies_are_kept_apart() -> None:
    async with Stage() as stage:
        token = stage.sessions.log_in("ada", HOME)
        line = f"Cookie: a=1; __Host-broker={token.decode()}; __Host-broker-lang=fr"
        browser = await stage.browser()
        await browser.send(get("/.broker/login", line, host=HOME))
        portal = await stage.portal.connection()
        assert b"\r\nCookie: __Host-broker-lang=fr\r\n" in await portal.head()
        session, stated = stage.sessions.stated[-1]
        assert session is stage.sessions.session(token, HOME)
        assert stated["page"] == ""
        await portal.send(ok())
        await browser.response()
        feed = stage.sessions.log_in("ada")
        await browser.send(get("/", line.replace(token.decode(), feed.decode())))
        backend = await stage.backend.connection()
        assert b"\r\nCookie: a=1\r\n" in await backend.head()
        await backend.send(ok(b"", "Set-Cookie: __Host-broker=evil", "Set-Cookie: b=2"))
        assert (await browser.response())[1][b"set-cookie"] == b"b=2"


async def test_a_token_is_renewed_on_the_way() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        stage.sessions.renewals[cookie] = b"__Host-broker=new; Secure"
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(ok())
        assert (await browser.response())[1][b"set-cookie"] == b"__Host-broker=new; Secure"


async def test_wait_status() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False)
        stage.claims.answers["ada"] = Standing(
            "waiting", "everyone", 3, 40, 120, 5, 90, b"__Host-broker-ticket=t; Secure"
        )
        browser = await stage.browser()
        await browser.send(get("/.broker/wait/status"))
        assert (await browser.response())[0] == 401
        await browser.send(get("/.broker/wait/status", cookie=cookie))
        status, fields, body = await browser.response()
        assert (status, fields[b"content-type"]) == (200, b"application/json")
        assert fields[b"set-cookie"] == b"__Host-broker-ticket=t; Secure"
        assert fields[b"cache-control"] == b"no-store"
        assert json.loads(body) == {
            "state": "waiting", "position": 3, "estimate_seconds": {"p50": 40, "p90": 120},
            "poll_seconds": 5,
        }  # fmt: skip
        await browser.send(get("/.broker/wait/status", cookie=cookie))
        status, fields, _ = await browser.response()
        assert status == 429
        assert 1 <= int(fields[b"retry-after"]) <= 3
        assert stage.claims.polled == ["ada"], "a poll that is too soon changes nothing"


@pytest.mark.parametrize("unknown_here", [False, True])
async def test_wait_status_says_every_key_whatever_the_state(unknown_here: bool) -> None:
    async with Stage() as stage:
        browser = await stage.browser()
        for state in ("none", "seated", "not_admitted", "gone", "learning", "called"):
            cookie = stage.sessions.log_in(state, seated=False)
            stage.claims.answers[state] = Standing(state, "everyone")
            if unknown_here:
                stage.claims.unknown_here.add(state)
            line = f"Cookie: __Host-broker={cookie.decode()}; __Host-broker-ticket=the.ticket"
            await browser.send(get("/.broker/wait/status", line))
            status, fields, body = await browser.response()
            assert status == 200
            assert b"set-cookie" not in fields
            assert json.loads(body) == {
                "state": state, "position": None, "estimate_seconds": {"p50": None, "p90": None},
                "poll_seconds": None,
            }  # fmt: skip
            assert stage.claims.shown[-1] == b"the.ticket"


async def test_a_poll_while_the_ledger_is_away_is_told_to_come_again() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False)
        stage.claims.unknown_here.add("ada")
        stage.claims.away = True
        browser = await stage.browser()
        await browser.send(get("/.broker/wait/status", cookie=cookie))
        status, fields, _ = await browser.response()
        assert status == 503
        assert int(fields[b"retry-after"]) >= 1


async def test_the_waiting_room_asks_for_a_seat_before_the_portal_shows_it() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False)
        stage.claims.answers["ada"] = Standing("waiting", "everyone", 2)
        browser = await stage.browser()
        await browser.send(get("/.broker/wait?keep=1", NAVIGATION, cookie=cookie))
        portal = await stage.portal.connection()
        assert (await portal.head()).startswith(b"GET /.broker/wait?keep=1 ")
        assert stage.claims.asked == ["ada"]
        assert stage.sessions.stated[-1][1]["wait"]["position"] == 2
        await portal.send(ok(b"page"))
        assert (await browser.response())[0] == 200
        await browser.send(get("/.broker/wait", NAVIGATION))
        assert (await portal.head()).startswith(b"GET /.broker/wait ")
        assert stage.sessions.stated[-1][1]["wait"] is None
        await portal.send(ok(b"page"))
        await browser.response()


async def test_who_enters_leaves_the_ticket_cookie_behind() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", seated=False)
        forget = b"__Host-broker-ticket=; Max-Age=0"
        stage.claims.answers["ada"] = Standing("seated", "everyone", cookie=forget)
        browser = await stage.browser()
        line = f"Cookie: __Host-broker={cookie.decode()}; __Host-broker-ticket=old"
        await browser.send(get("/", line))
        backend = await stage.backend.connection()
        assert b"ticket" not in await backend.head()
        await backend.send(ok())
        assert (await browser.response())[1][b"set-cookie"] == forget
        assert stage.claims.shown == [b"old"]


async def test_longest_prefix_of_whole_segments() -> None:
    routes = (RoutePlan(b"/", "feed"), RoutePlan(b"/api", "api", allow_encoded_slash=True))
    async with Stage(routes=routes, servers=1) as stage:
        cookie = stage.sessions.log_in("ada")
        for path, pool in (
            ("/apis", "feed"), ("/api", "api"), ("/api/", "api"), ("/api/x%2fy", "api"),
            ("/%61pi/x", "api"), ("/x/../api/y", "api"),
        ):  # fmt: skip
            browser = await stage.browser()
            await browser.send(get(path, "Connection: close", cookie=cookie))
            backend = await stage.backend.connection()
            assert (b"assertion." + pool.encode()) in await backend.head(), path
            await backend.send(ok(b"", "Connection: close"))
            await browser.rest()
        browser = await stage.browser()
        await browser.send(get("/x%2fy", cookie=cookie))
        assert (await browser.response())[0] == 400


@pytest.mark.parametrize(
    ("method", "mode", "reloads"),
    [("GET", "navigate", True), ("POST", "navigate", False), ("GET", "cors", False)],
)
async def test_who_waits_for_a_place_is_not_stranded_by_an_outage(
    method: str, mode: str, reloads: bool
) -> None:
    """A page that somebody looks at asks again by itself: browsers look at no Retry-After. What was
    typed is never thrown away by that, and a script decides for itself."""
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", remembered=False)
        stage.sessions.away = True
        browser = await stage.browser()
        fields = (f"Sec-Fetch-Mode: {mode}", "Accept: text/html", "Content-Length: 0")
        await browser.send(get("/", *fields, cookie=cookie, method=method))
        status, found, _ = await browser.response()
        assert status == 503
        assert found.get(b"refresh") == (found[b"retry-after"] if reloads else None)


async def test_trace_is_not_served() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(method="TRACE", cookie=cookie))
        assert (await browser.response())[0] == 405


async def test_connections_per_address_are_bounded() -> None:
    async with Stage(door=DoorPlan(connections_per_address=2)) as stage:
        held = [await stage.browser() for _ in range(2)]
        third = await stage.browser()
        assert await third.is_closed()
        held[0].reset()
        assert stage.traffic.refused["per_address"] == 1


async def test_hosts_are_matched_without_regard_to_case_or_default_port() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", b"wiki.test")
        for host in (b"Wiki.Test", b"wiki.test:443"):
            browser = await stage.browser()
            await browser.send(get(host=host, cookie=cookie))
            backend = await stage.backend.connection()
            assert b"\r\nHost: wiki.test\r\n" in await backend.head()
            browser.reset()
    assert FEED
