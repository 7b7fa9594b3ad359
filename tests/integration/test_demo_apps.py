"""The sample applications and their witness, over real sockets and without the broker."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from broker.demo.apps.assertion import Verifier
from broker.demo.apps.feed import Feed
from broker.demo.apps.oracle import Oracle
from broker.demo.apps.posts import Posts
from broker.demo.apps.serving import Running, start
from broker.demo.apps.wiki import Wiki
from broker.site.tokens import KeyRing, Tokens

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ANNA = {
    "X-Remote-User": "anna.nowak",
    "X-Remote-Population": "sales",
    "X-Remote-Groups": "cn=a%3B;cn=b",
}


@pytest.fixture
async def feed() -> AsyncIterator[Running]:
    oracle = Oracle("feed-1")
    running = await start(Feed(oracle, Posts(":memory:", time.time())).application(), oracle)
    yield running
    await running.close()


@pytest.fixture
async def browser(feed: Running) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(feed.url, headers=ANNA) as session:
        yield session


async def ask(url: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    """GET or POST /oracle, from outside the broker, on a connection of its own."""
    async with aiohttp.ClientSession() as session:
        method = "GET" if change is None else "POST"
        async with session.request(method, f"{url}/oracle", json=change) as answer:
            found: dict[str, Any] = await answer.json()
            return found


async def until(url: str, **wanted: int) -> dict[str, Any]:
    """Ask until the witness counts so; the test's timeout ends what never comes."""
    while True:
        seen = await ask(url)
        if all(seen[name] == value for name, value in wanted.items()):
            return seen
        await asyncio.sleep(0.01)


# --- the witness


async def test_heads_are_raw_and_counted_once(feed: Running) -> None:
    head = b"GET /api/whoami HTTP/1.1\r\nhOsT:  Feed\r\nX-Remote-User:anna\r\nx-odd:  a  b \r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    for _ in range(2):
        for byte in (head[:30], head[30:]):
            writer.write(byte)
            await asyncio.sleep(0)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", answer)
        assert length is not None
        await reader.readexactly(int(length[1]))
    seen = await ask(feed.url)
    assert seen["heads"] == [head.decode()] * 2
    assert seen["by_employee"] == {"anna": {"in_flight": 0, "max_in_flight": 1, "total": 2}}
    writer.close()
    await writer.wait_closed()


async def test_health_checks_and_its_own_requests_do_not_count(feed: Running) -> None:
    async with aiohttp.ClientSession() as session:
        for path in ("/healthz", "/oracle", "/healthz"):
            async with session.get(feed.url + path) as answer:
                assert answer.status == 200
    seen = await ask(feed.url)
    assert (seen["total"], seen["max_in_flight"], seen["heads"]) == (0, 0, [])


async def test_tunnels_and_streams_count_until_they_close(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    live = await browser.ws_connect("/live")
    events = await browser.get("/events")
    assert (await events.content.readline()) == b"retry: 2000\n"
    seen = await ask(feed.url)
    assert seen["in_flight"] == seen["by_employee"]["anna.nowak"]["in_flight"] == 2
    await live.close()
    await until(feed.url, in_flight=1)
    events.close()
    seen = await until(feed.url, in_flight=0)
    assert seen["max_in_flight"] == 2


async def test_an_abandoned_request_stops_counting(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    await ask(feed.url, {"hang": True})
    asking = asyncio.create_task(browser.get("/"))
    await until(feed.url, in_flight=1)
    asking.cancel()
    await asyncio.wait({asking})
    await until(feed.url, in_flight=0)


async def test_concurrent_requests_are_counted_at_their_peak_and_reset_forgets(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    await ask(feed.url, {"delay_seconds": 0.3})
    answers = await asyncio.gather(*(browser.get("/api/whoami") for _ in range(7)))
    assert {answer.status for answer in answers} == {200}
    for answer in answers:
        answer.close()
    assert (await ask(feed.url))["max_in_flight"] == 7
    seen = await ask(feed.url, {"reset": True, "mend": True})
    assert (seen["max_in_flight"], seen["total"], seen["heads"]) == (0, 0, [])
    assert seen["by_employee"] == {}


async def test_taking_turns_is_never_faster_than_one_at_a_time(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    await ask(feed.url, {"turn_seconds": 0.05})
    began = time.monotonic()
    answers = await asyncio.gather(*(browser.get("/api/whoami") for _ in range(6)))
    assert time.monotonic() - began >= 6 * 0.05
    assert {answer.status for answer in answers} == {200}
    for answer in answers:
        answer.close()
    assert (await ask(feed.url))["max_in_flight"] == 6


async def test_one_after_the_other_is_never_two(
    browser: aiohttp.ClientSession, feed: Running
) -> None:
    for path in (
        "/api/whoami",
        "/download?bytes=200000",
        "/download?bytes=9&chunked=1",
        "/nothing",
    ):
        for _ in range(20):
            async with browser.get(path) as answer:
                await answer.read()
    seen = await ask(feed.url)
    assert (seen["in_flight"], seen["max_in_flight"], seen["total"]) == (0, 1, 80)


@pytest.mark.parametrize("framing", ["", "&chunked=1"])
async def test_the_count_is_given_back_before_the_last_byte(
    monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    """Who has the whole answer may use the freed place at once, on another backend too."""
    oracle = Oracle("feed-1")
    running = await start(Feed(oracle, Posts(":memory:", time.time())).application(), oracle)
    in_flight = []
    write = web.StreamResponse.write

    async def watched(response: web.StreamResponse, data: bytes) -> None:
        in_flight.append(oracle.witness.in_flight)
        await write(response, data)

    monkeypatch.setattr(web.StreamResponse, "write", watched)
    async with (
        aiohttp.ClientSession(running.url, headers=ANNA) as session,
        session.get(f"/download?bytes=200000{framing}") as answer,
    ):
        assert len(await answer.read()) == 200_000
    await running.close()
    assert in_flight == [1, 1, 1, 0]


async def test_only_the_last_heads_are_kept(feed: Running, browser: aiohttp.ClientSession) -> None:
    for number in range(210):
        async with browser.get(f"/api/whoami?n={number}") as answer:
            await answer.read()
    heads = (await ask(feed.url))["heads"]
    assert [int(re.findall(r"n=(\d+)", head)[0]) for head in heads] == list(range(10, 210))


# --- breaking it on purpose


async def test_status_delay_and_health_are_as_told(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    await ask(feed.url, {"status": 502, "path": "/api"})
    async with browser.get("/api/whoami") as broken, browser.get("/") as well:
        assert (broken.status, well.status) == (502, 200)
    await ask(feed.url, {"mend": True, "status": 500, "every": 3})
    statuses = []
    for _ in range(6):
        async with browser.get("/api/whoami") as answer:
            statuses.append(answer.status)
    assert sorted(statuses) == [200] * 4 + [500] * 2
    await ask(feed.url, {"mend": True, "unhealthy": True})
    async with browser.get("/healthz") as answer:
        assert answer.status == 503


@pytest.mark.parametrize(
    ("change", "wire"),
    [
        ({"abort": "before-head"}, rb"\Z"),
        ({"abort": "after_head"}, rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)+\r\n\Z"),
        ({"abort": "mid-body"}, rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n]+\r\n)+\r\n.{10,}\Z"),
        ({"garbage": True}, rb"this is not HTTP"),
    ],
)
async def test_a_broken_answer_ends_there(
    feed: Running, change: dict[str, Any], wire: bytes
) -> None:
    await ask(feed.url, change)
    reader, writer = await asyncio.open_connection("127.0.0.1", feed.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: feed\r\nX-Remote-User: anna\r\n\r\n")
    assert re.match(wire, await reader.read(), re.DOTALL)
    writer.close()
    await writer.wait_closed()
    await until(feed.url, in_flight=0)


@pytest.mark.parametrize(
    "change", [{"delay": 1}, {"delay_seconds": -1}, {"status": 9}, {"abort": "sometimes"}, []]
)
async def test_an_order_that_makes_no_sense_changes_nothing(feed: Running, change: Any) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{feed.url}/oracle", json=change) as answer,
    ):
        assert answer.status == 400
    behaviour = (await ask(feed.url))["behaviour"]
    assert behaviour == (await ask(feed.url, {"mend": True}))["behaviour"]


async def test_nobody_breaks_it_through_the_broker(
    feed: Running, browser: aiohttp.ClientSession
) -> None:
    async with browser.post("/oracle", json={"status": 500}) as answer:
        assert answer.status == 403
    async with browser.get("/") as answer:
        assert answer.status == 200


# --- the feed


async def test_a_page_and_all_of_its_assets(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/") as answer:
        page = await answer.text()
    assert "Anna Nowak" in page
    assets = set(re.findall(r'(?:src|href)="(/(?:static|photos|avatars)/[^"]+)"', page))
    assert len(assets) > 20
    for asset in assets:
        async with browser.get(asset) as answer:
            assert answer.status == 200, asset
            assert len(await answer.read()) <= 60 * 1024


async def test_uploads_are_measured_as_they_stream(browser: aiohttp.ClientSession) -> None:
    content = bytes(range(256)) * 9000
    wanted = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    async with browser.put("/upload/big.bin", data=io.BytesIO(content)) as answer:
        assert await answer.json() == {"name": "big.bin", **wanted}
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("note", "not a file")
    form.add_field("file", io.BytesIO(content), filename="ż.bin")
    async with browser.post("/upload", data=form) as answer:
        told = await answer.json()
        assert (told["name"], told["size"], told["sha256"]) == ("ż.bin", *wanted.values())
    async with browser.post("/upload", data={"a": "b"}) as answer:
        assert answer.status == 415


async def test_who_it_is_and_what_is_refused(browser: aiohttp.ClientSession) -> None:
    async with browser.get("/api/whoami") as answer:
        who = await answer.json()
    assert (who["user"], who["population"], who["groups"]) == (
        "anna.nowak",
        "sales",
        ["cn=a;", "cn=b"],
    )
    for path in ("/download?bytes=-1", "/download?bytes=x"):
        async with browser.get(path) as answer:
            assert answer.status == 400
    async with browser.post("/api/posts", json={"text": "  "}) as answer:
        assert answer.status == 400


async def test_a_post_reaches_listeners_on_every_server(tmp_path: Path) -> None:
    async with two_feeds(tmp_path) as (one, other), aiohttp.ClientSession(headers=ANNA) as session:
        events = await session.get(f"{other.url}/events")
        while await events.content.readline() != b"event: hello\n":
            pass
        text = "<b>bold</b> & żółw"
        async with session.post(f"{one.url}/api/posts", json={"text": text}) as answer:
            assert answer.status == 201
        while not (line := await events.content.readline()).startswith(b'data: {"number"'):
            pass
        assert json.loads(line[6:])["text"] == text
        async with session.get(other.url) as answer:
            assert "&lt;b&gt;bold&lt;/b&gt; &amp; żółw" in await answer.text()
        events.close()


async def test_the_live_line_ticks_and_echoes(browser: aiohttp.ClientSession) -> None:
    async with browser.ws_connect("/live") as live:
        tick = await live.receive_json()
        assert (tick["type"], tick["server"], tick["user"]) == ("tick", "feed-1", "anna.nowak")
        await live.send_str("hello")
        await live.send_bytes(b"\x00\x01")
        said = [await live.receive(), await live.receive()]
        assert json.loads(said[0].data) == {"type": "echo", "text": "hello"}
        assert said[1].data == b"\x00\x01"
        while (await live.receive_json()).get("number") != 2:
            pass


async def test_stopping_closes_what_is_open() -> None:
    oracle = Oracle("feed-1")
    running = await start(Feed(oracle, Posts(":memory:", time.time())).application(), oracle)
    async with aiohttp.ClientSession() as session:
        live = await session.ws_connect(f"{running.url}/live")
        events = await session.get(f"{running.url}/events")
        await running.close()
        events.close()
        while (message := await live.receive()).type is aiohttp.WSMsgType.TEXT:
            pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert oracle.witness.in_flight == 0


@asynccontextmanager
async def two_feeds(folder: Path) -> AsyncIterator[tuple[Running, Running]]:
    running = []
    for name in ("feed-1", "feed-2"):
        oracle = Oracle(name)
        posts = Posts(str(folder / "feed.sqlite"), time.time())
        running.append(await start(Feed(oracle, posts).application(), oracle))
    yield running[0], running[1]
    for one in running:
        await one.close()


# --- the wiki


class Issuer:
    """A broker in so far as the wiki sees one: keys, and assertions signed with them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.now = time.time()
        self.rotate(None)

    def rotate(self, previous: str | None) -> None:
        self.ring = KeyRing.generate(previous)
        self.tokens = Tokens(KeyRing.from_json(self.ring), "demo", lambda: self.now, 900)
        self.file.write_text(json.dumps(self.tokens.jwks()))

    def headers(self, pool: str = "wiki") -> dict[str, str]:
        token = self.tokens.assertion("anna.nowak", "s1", "sales", ("cn=sales",), pool)
        return {"X-Broker-Assertion": token, **ANNA}


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path / "jwks.json")


@pytest.fixture
async def wiki(issuer: Issuer) -> AsyncIterator[Running]:
    ticks = iter(range(0, 10_000, 10))
    oracle = Oracle("wiki-1")
    verifier = Verifier(str(issuer.file), None, "wiki", lambda: float(next(ticks)))
    running = await start(Wiki(oracle, verifier).application(), oracle)
    yield running
    await running.close()


async def claims(wiki: Running, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{wiki.url}/api/claims", headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_the_wiki_shows_what_it_verified(wiki: Running, issuer: Issuer) -> None:
    status, told = await claims(wiki, issuer.headers())
    assert (status, told["verified"], told["claims"]["sub"]) == (200, True, "anna.nowak")
    async with (
        aiohttp.ClientSession(headers=issuer.headers()) as session,
        session.get(wiki.url) as answer,
    ):
        page = await answer.text()
    assert ">verified<" in page
    assert 'data-claim="population">sales' in page


async def test_the_wiki_believes_no_other_header(wiki: Running, issuer: Issuer) -> None:
    good = issuer.headers()["X-Broker-Assertion"]
    head, body, signature = good.split(".")
    issuer.now -= 3600
    old = issuer.headers()["X-Broker-Assertion"]
    issuer.now += 3600
    for token in ("", "nonsense", f"{head}.{body}.AAAA{signature[4:]}", f"{head}.{body}.", old):
        status, told = await claims(wiki, {**ANNA, "X-Broker-Assertion": token})
        assert (status, told["verified"]) == (401, False), token
    status, _ = await claims(wiki, issuer.headers(pool="feed"))
    assert status == 401
    async with aiohttp.ClientSession(headers=ANNA) as session, session.get(wiki.url) as answer:
        assert answer.status == 401
        assert "not verified" in await answer.text()


async def test_a_rotation_needs_nobody_at_the_wiki(wiki: Running, issuer: Issuer) -> None:
    before = issuer.headers()
    assert (await claims(wiki, before))[0] == 200
    issuer.rotate(issuer.ring)
    assert (await claims(wiki, issuer.headers()))[0] == 200
    assert (await claims(wiki, before))[0] == 200
