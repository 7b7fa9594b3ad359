"""How exchanges end: by either side, in any phase, on time; and that nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace

import pytest

from broker.errors import NotFound
from broker.gateway.plan import DeadlinesPlan
from broker.gateway.upstream import ServerConnection
from broker.policy.ejection import EjectionRule
from tests.support.stage import STALLED, Stage, Wire, boottime, get, ok

CHUNKED_MINE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nmine\r\n0\r\n\r\n"
QUICK = DeadlinesPlan(dial=0.3, first_byte=0.4, between_bytes=0.4)


async def test_a_backend_that_hangs_gets_504() -> None:
    async with Stage(deadlines=QUICK) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        assert (await browser.response())[0] == 504
        assert await backend.is_closed()
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_a_backend_that_stops_in_the_middle_is_passed_on_as_truncated() -> None:
    async with Stage(deadlines=QUICK) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        everything = await browser.rest()
        assert everything.endswith(b"2\r\nab\r\n")
        assert stage.log.lines[-1].outcome == "backend_slow"


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
async def test_a_truncated_response_never_ends_cleanly(framing: str) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n".encode())
        await browser.head()
        backend.close()
        rest = await browser.rest()
        assert b"0\r\n\r\n" not in rest
        assert len(rest) < 100
        assert stage.log.lines[-1].outcome == "truncated"


async def test_a_truncated_response_resets_a_browser_that_knows_no_framing() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie).replace(b"HTTP/1.1", b"HTTP/1.0"))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await browser.head()
        assert await browser.exactly(2) == b"ab"
        backend.close()
        with pytest.raises(ConnectionResetError):
            await browser.reader.read()


@pytest.mark.parametrize(
    "answer",
    [
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70000,
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
    ],
)
async def test_a_backend_that_breaks_the_protocol_gets_dropped(answer: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(answer)
        assert (await browser.response())[0] == 502
        assert await backend.is_closed()
        assert stage.log.lines[-1].outcome == "backend_broken"


@pytest.mark.parametrize("first", [ok(b"mine"), CHUNKED_MINE], ids=["length", "chunked"])
async def test_bytes_after_a_response_never_reach_the_next_browser(first: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(first + ok(b"smuggled"))
        assert (await browser.response())[2] == b"mine"
        assert await backend.is_closed()
        await browser.send(get(cookie=cookie))
        second = await stage.backend.connection()
        await second.head()
        await second.send(ok(b"again"))
        assert (await browser.response())[2] == b"again"
        await asyncio.sleep(0.01)
        await second.send(b"HTTP/1.1 200 OK\r\n\r\nunasked")
        assert await second.is_closed()


async def test_no_backend_at_all_gets_502() -> None:
    async with Stage(servers=2) as stage:
        for backend in stage.backends:
            backend.stop_listening()
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        assert (await browser.response())[0] == 502
        assert stage.traffic.pool("feed").dial_failures == 2
        assert stage.log.lines[-1].outcome == "no_server"


async def test_one_dead_server_of_two_is_not_noticed() -> None:
    async with Stage(servers=2) as stage:
        stage.backends[0].stop_listening()
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(method="POST", cookie=cookie), get(method="POST", cookie=cookie))
        backend = await stage.backends[1].connection()
        for _ in range(2):
            await backend.head()
            await backend.send(ok())
            assert (await browser.response())[0] == 200


async def test_the_least_busy_server_is_chosen() -> None:
    async with Stage(servers=2) as stage:
        cookie = stage.sessions.log_in("ada")
        browsers = [await stage.browser() for _ in range(4)]
        for browser in browsers:
            await browser.send(get(cookie=cookie))
        for backend in stage.backends:
            for _ in range(2):
                await (await backend.connection()).head()


async def test_the_race_between_reuse_and_a_closing_backend() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        first = await stage.backend.connection()
        await first.head()
        await first.send(ok())
        await browser.response()
        await browser.send(get("/again", cookie=cookie))
        await first.head()
        first.close()  # read, and gone without an answer
        second = await stage.backend.connection()
        assert (await second.head()).startswith(b"GET /again ")
        await second.send(ok(b"second"))
        assert (await browser.response())[2] == b"second"
        assert stage.traffic.pool("feed").retries == 1


async def test_what_must_not_be_repeated_is_not() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        first = await stage.backend.connection()
        await first.head()
        await first.send(ok())
        await browser.response()
        await browser.send(get("/pay", "Content-Length: 1", cookie=cookie, method="POST") + b"1")
        await first.head()
        first.close()
        assert (await browser.response())[0] == 502
        assert stage.backend.accepted == 1


async def primed(stage: Stage, browser: Wire, cookie: bytes) -> Wire:
    """A server connection that has answered once and is kept."""
    await browser.send(get(cookie=cookie))
    kept = await stage.backend.connection()
    await kept.head()
    await kept.send(ok())
    await browser.response()
    return kept


def close_before_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let kept connections be found closed after they were chosen, before anything is sent: the
    loop tells of both in one turn."""
    write = ServerConnection.write

    def closing(connection: ServerConnection, data: bytes | memoryview) -> None:
        write(connection, data)
        if connection.reused and not connection.closed:
            connection.eof_received()
            connection.transport.close()

    monkeypatch.setattr(ServerConnection, "write", closing)


@pytest.mark.in_place
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
@pytest.mark.parametrize("body", [b"", b"abc"])
async def test_what_never_left_is_taken_elsewhere_whatever_its_method(
    method: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        first = await primed(stage, browser, cookie)
        stage.gateway._pools["feed"].retries.tokens = 10  # the connection is still taken up
        close_before_flush(monkeypatch)
        fields = (f"Content-Length: {len(body)}",) if body else ()
        await browser.send(get("/pay", *fields, cookie=cookie, method=method) + body)
        second = await stage.backend.connection()
        assert (await second.head()).startswith(method.encode() + b" /pay ")
        assert await second.exactly(len(body)) == body
        await second.send(ok(b"paid"))
        assert (await browser.response())[2] == b"paid"
        assert await first.is_closed()
        assert stage.gateway._pools["feed"].retries.tokens > 10  # nothing was taken for it


@pytest.mark.parametrize("remembered", [True, False], ids=["at once", "held"])
async def test_a_repeated_put_keeps_its_body(remembered: bool) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        late = stage.sessions.log_in("ada", remembered=remembered)
        browser = await stage.browser()
        first = await primed(stage, browser, cookie)
        await browser.send(get("/it", "Content-Length: 6", cookie=late, method="PUT") + b"abc")
        await first.head()
        assert await first.exactly(3) == b"abc"
        first.close()
        second = await stage.backend.connection()
        await second.head()
        assert await second.exactly(3) == b"abc"
        await browser.send(b"def")
        assert await second.exactly(3) == b"def"
        await second.send(ok(b"put"))
        assert (await browser.response())[2] == b"put"


async def test_a_body_too_large_to_keep_is_not_repeated() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        first = await primed(stage, browser, cookie)
        body = b"a" * 70_000
        await browser.send(get("/", "Content-Length: 70000", cookie=cookie, method="PUT"), body)
        await first.head()
        assert await first.exactly(len(body)) == body
        first.close()
        assert (await browser.response())[0] == 502
        assert stage.backend.accepted == 1


async def test_kept_connections_that_die_in_a_swarm_cost_nothing() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browsers = [await stage.browser() for _ in range(5)]
        wires = []
        for browser in browsers:
            await browser.send(get(cookie=cookie))
            wires.append(await stage.backend.connection())
        for wire in wires:
            await wire.head()
            await wire.send(ok())
        for browser in browsers:
            await browser.response()

        async def die(wire: Wire) -> None:
            await wire.head()
            wire.close()

        dying = [asyncio.create_task(die(wire)) for wire in wires]
        await browsers[0].send(get("/again", cookie=cookie))
        new = await stage.backend.connection()
        await new.head()
        await new.send(ok(b"again"))
        assert (await browsers[0].response())[2] == b"again"
        for task in dying:
            task.cancel()
        await asyncio.gather(*dying, return_exceptions=True)


async def test_a_new_connection_without_an_answer_speaks_against_its_server() -> None:
    async with Stage(servers=2) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        waiting = [asyncio.create_task(each.connection()) for each in stage.backends]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop().result()
        await first.head()
        first.close()
        second = await pending.pop()
        await second.head()
        second.close()
        assert (await browser.response())[0] == 502  # nobody is left to ask
        assert [each.accepted for each in stage.backends] == [1, 1]
        assert stage.log.lines[-1].outcome == "backend_gone"


async def test_without_a_budget_nothing_is_repeated() -> None:
    async with Stage(servers=2) as stage:
        budget = stage.gateway._pools["feed"].retries
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        waiting = [asyncio.create_task(each.connection()) for each in stage.backends]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        budget.tokens, budget._trickled_at = 0, 1e12
        first = done.pop().result()
        await first.head()
        first.close()
        assert (await browser.response())[0] == 502
        assert stage.traffic.pool("feed").retries == 0
        pending.pop().cancel()


@pytest.mark.parametrize("fault", ["dial", "gone", "broken"])
async def test_a_server_that_fails_is_left_alone_and_the_last_one_is_not(fault: str) -> None:
    async with Stage(servers=2, ejection=EjectionRule(failures=3)) as stage:
        cookie = stage.sessions.log_in("ada")
        bad, good = stage.backends
        if fault == "dial":
            bad.stop_listening()

        async def fail() -> None:
            while True:
                wire = await bad.connection()
                await wire.head()
                if fault == "broken":
                    await wire.send(b"nonsense\r\n\r\n")
                wire.close()

        async def serve() -> None:
            wire = await good.connection()
            while True:
                await wire.head()
                await wire.send(ok())

        playing = [asyncio.ensure_future(each()) for each in (fail, serve)]
        browser = await stage.browser()
        for _ in range(12):
            await browser.send(get(cookie=cookie))
            await browser.response()
        tried = bad.accepted or stage.traffic.pool("feed").dial_failures
        assert tried == 3
        ejected = [each.ejected for each in stage.gateway.statistics().pools["feed"]]
        assert sorted(ejected) == [False, True]
        (left,) = [each for each in stage.gateway._pools["feed"].servers if not each.ejected]
        for _ in range(9):
            left.failed()
        assert not left.ejected
        left.healthy = False  # then rather the ejected one than nobody
        await browser.send(get(cookie=cookie))
        assert (await browser.response())[0] == 502
        assert (bad.accepted or stage.traffic.pool("feed").dial_failures) == 4
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)


async def test_a_server_that_comes_back_gets_its_share_little_by_little() -> None:
    async with Stage(servers=2) as stage:
        pool = stage.gateway._pools["feed"]
        back, other = pool.servers
        back.healthy = False
        back.recovered()
        began = stage.gateway._ground.clock()
        other.in_flight = 4
        assert pool.choose(began + 3) is other  # 1 / 0.1 against 5 / 1
        assert pool.choose(began + 10) is back  # 1 / (1/3)
        other.in_flight = 0
        chosen = {pool.choose(began + 31) for _ in range(2)}
        assert chosen == {back, other}
        assert not pool.unsettled


async def test_least_connections_go_by_weight() -> None:
    async with Stage(servers=2, weights=(1, 3)) as stage:
        cookie = stage.sessions.log_in("ada")
        for _ in range(8):
            await (await stage.browser()).send(get(cookie=cookie))
        for backend, share in zip(stage.backends, (2, 6), strict=True):
            for _ in range(share):
                await (await backend.connection()).head()


async def test_a_server_gets_no_more_than_its_limit() -> None:
    async with Stage(servers=2, most=1) as stage:
        cookie = stage.sessions.log_in("ada")
        browsers = [await stage.browser() for _ in range(3)]
        for browser in browsers[:2]:
            await browser.send(get(cookie=cookie))
        wires = [await each.connection() for each in stage.backends]
        for wire in wires:
            await wire.head()
        await browsers[2].send(get(cookie=cookie))
        status, fields, _ = await browsers[2].response()
        assert status == 503
        assert b"retry-after" in fields
        assert stage.spending.cell("feed", "everyone").used == 2
        await wires[0].send(ok())
        answered = [asyncio.ensure_future(each.response()) for each in browsers[:2]]
        _, others = await asyncio.wait(answered, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await browsers[2].send(get("/third", cookie=cookie))
        assert (await wires[0].head()).startswith(b"GET /third ")


async def test_a_sticky_session_stays_websockets_included_and_moves_only_when_it_must() -> None:
    async with Stage(servers=3, sticky=True) as stage:
        cookie = stage.sessions.log_in("ada")
        pool = stage.gateway._pools["feed"]

        async def visit(*fields: str) -> str:
            """The server that sees a request, by its address; the request stays in flight."""
            await (await stage.browser()).send(get("/", *fields, cookie=cookie))
            waiting = {asyncio.ensure_future(b.connection()): b.address for b in stage.backends}
            done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            (seen,) = done
            await seen.result().head()
            return waiting[seen]

        upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Origin: https://feed.test:8443")
        home = await visit()
        assert {await visit(), await visit(*upgrade), await visit()} == {home}
        (server,) = [each for each in pool.servers if each.name == home]
        server.healthy = False
        other = await visit()
        assert other != home
        assert await visit(*upgrade) == other
        server.healthy = True
        assert await visit() == home


async def test_new_weights_are_taken_over_with_their_connections() -> None:
    async with Stage(servers=2) as stage:
        pool = stage.gateway._pools["feed"]
        before = set(pool.servers)
        stage.weights = (1, 5)
        stage.gateway.replace(stage.plan())
        pool.choose(stage.gateway._ground.clock())
        assert set(pool.servers) == before
        assert sorted(each.strength for each in pool.servers) == [1, 5]


@pytest.mark.parametrize("sticky", [False, True])
async def test_a_drained_server_ends_its_work_and_gets_no_more(sticky: bool) -> None:
    async with Stage(servers=2, sticky=sticky) as stage:
        cookie = stage.sessions.log_in("ada")
        busy, idle, browser = [await stage.browser() for _ in range(3)]
        await busy.send(get("/busy", cookie=cookie))
        waiting = [asyncio.create_task(each.connection()) for each in stage.backends]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (first,) = done
        old = stage.backends[waiting.index(first)]
        await first.result().head()
        stage.gateway.drain_server(old.address, drained=True)
        for number in range(3):
            await browser.send(get("/new", cookie=cookie))
            if not number:
                new = await pending.pop()
            assert (await new.head()).startswith(b"GET /new ")
            await new.send(ok())
            await browser.response()
        await first.result().send(ok(b"busy"))
        assert (await busy.response())[2] == b"busy"
        assert await first.result().is_closed()

        stage.gateway.replace(stage.plan())  # a reload forgets nothing
        servers = {each.name: each for each in stage.gateway.statistics().pools["feed"]}
        assert servers[old.address].draining
        assert not [each for each in servers.values() if each.name != old.address and each.draining]

        stage.gateway.drain_server(old.address, drained=False)
        await idle.send(get("/back", cookie=cookie))
        await browser.send(get("/back", cookie=cookie))
        if sticky:
            wire = await old.connection()
            assert (await wire.head()).startswith(b"GET /back ")
        (back,) = [s for s in stage.gateway._pools["feed"].servers if s.name == old.address]
        assert back.is_open
        assert stage.gateway._pools["feed"].unsettled  # it comes back slowly


async def test_a_server_drained_before_the_start_or_in_another_pool_gets_nothing() -> None:
    async with Stage(servers=2) as stage:
        cookie = stage.sessions.log_in("ada")
        drained, used = stage.backends
        stage.gateway.remember_drained({drained.address})
        feed = stage.plan()
        archive = replace(feed.pools["feed"], name="archive")
        stage.gateway.replace(replace(feed, pools={**feed.pools, "archive": archive}))
        for pool in ("feed", "archive"):
            found = stage.gateway.statistics().pools[pool]
            assert {each.name for each in found if each.draining} == {drained.address}
        browser = await stage.browser()
        for number in range(3):
            await browser.send(get(cookie=cookie))
            if not number:
                wire = await used.connection()
            await wire.head()
            await wire.send(ok())
            await browser.response()
        assert not drained.accepted


async def test_only_servers_of_applications_are_drained() -> None:
    async with Stage() as stage:
        for name in ("http://127.0.0.1:1", stage.portal.address):
            with pytest.raises(NotFound, match="no pool has a server http"):
                stage.gateway.drain_server(name, drained=True)


async def test_an_idle_connection_closed_by_its_server_costs_nothing() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        for number in range(4):
            await browser.send(get(cookie=cookie, method="POST"))
            backend = await stage.backend.connection()
            await backend.head()
            await backend.send(ok(b"%d" % number))
            assert (await browser.response())[2] == b"%d" % number
            backend.close()
            await asyncio.sleep(0.02)
        assert stage.gateway.statistics().pools["feed"][0].connections == 0


@pytest.mark.parametrize("phase", ["dial", "sent", "streaming", "queue"])
async def test_a_browser_that_leaves_frees_everything(phase: str) -> None:
    async with Stage(queue_timeout=5.0) as stage:
        cookie = stage.sessions.log_in("ada")
        if phase == "queue":
            stage.cell().cap = 0
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        if phase in ("sent", "streaming"):
            backend = await stage.backend.connection()
            await backend.head()
            if phase == "streaming":
                await backend.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                await browser.head()
        else:
            await asyncio.sleep(0.001)
        browser.reset()
        await stage.settled()
        if phase in ("sent", "streaming"):
            assert await backend.is_closed()
        assert stage.spending.cell("feed", "everyone").used == 0
        assert stage.sessions.people["ada"].in_flight == 0
        assert stage.gateway.statistics().pools["feed"][0].in_flight == 0
        assert stage.log.lines[-1].outcome == "browser_gone"


async def test_a_half_closed_browser_gets_its_answer() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        browser.writer.write_eof()
        backend = await stage.backend.connection()
        await backend.head()
        await asyncio.sleep(0.02)
        await backend.send(ok(b"still here"))
        assert (await browser.response())[2] == b"still here"
        assert await browser.is_closed()


async def test_revocation_ends_a_stream_at_once() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/live", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await browser.head()
        await browser.until(b"data: 1\n\n\r\n")
        stage.sessions.revoke(cookie)
        assert await browser.is_closed()
        assert await backend.is_closed()
        assert stage.spending.cell("feed", "everyone").used == 0


@pytest.mark.parametrize("body", [b"", b"a" * 1000])
async def test_revocation_ends_uploads_and_long_polls_too(body: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        fields = ("Content-Length: 100000",) if body else ()
        await browser.send(get("/", *fields, cookie=cookie, method="POST") + body)
        backend = await stage.backend.connection()
        await backend.head()
        assert await backend.exactly(len(body)) == body
        stage.sessions.revoke(cookie)
        assert await browser.is_closed()
        assert await backend.is_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_a_body_that_may_still_come_is_never_taken_for_the_next_answer(answer: bytes) -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(answer)
        await browser.head()
        assert await backend.is_closed()


async def test_a_flood_of_interim_responses_is_held_back() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 4000 + b"\r\n\r\n"
        backend.writer.write(hint * 8000)
        left = -1
        while left != backend.writer.transport.get_write_buffer_size():  # until nothing moves
            left = backend.writer.transport.get_write_buffer_size()
            await asyncio.sleep(0.2)
        (gate,) = stage.gateway._browsers
        assert gate.transport.get_write_buffer_size() <= 2 * STALLED
        assert backend.writer.transport.get_write_buffer_size() > 16 * 1024 * 1024
        browser.reset()


async def test_events_are_not_buffered() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/events", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        await backend.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await browser.head()
        for number in range(5):
            event = b"data: %d\n\n" % number
            await backend.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert await browser.until(b"\n\n\r\n") == b"%x\r\n%b\r\n" % (len(event), event)


async def test_a_lapsed_lease_closes_what_is_in_flight() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        stage.spending.cell("feed", "everyone").fence_at = 0.0
        assert (await browser.response())[0] == 503
        assert await backend.is_closed()
        assert stage.spending.cell("feed", "everyone").used == 0


async def test_draining_lets_what_is_in_flight_end() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        idle, busy = await stage.browser(), await stage.browser()
        await busy.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        draining = asyncio.create_task(stage.gateway.drain(5.0))
        assert await idle.is_closed()
        await backend.send(ok(b"last"))
        status, fields, body = await busy.response()
        assert (status, body, fields[b"connection"]) == (200, b"last", b"close")
        await draining
        with pytest.raises(ConnectionRefusedError):
            await stage.browser()


async def test_a_new_plan_moves_routes_and_keeps_what_is_in_flight() -> None:
    async with Stage(servers=2) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get("/old", cookie=cookie))
        waiting = [asyncio.create_task(each.connection()) for each in stage.backends]
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        (old,) = done
        left = stage.backends[1 - waiting.index(old)]
        stage.backends = [left]
        stage.gateway.replace(stage.plan())
        other = await stage.browser()
        for _ in range(3):
            await other.send(get("/new", cookie=cookie))
        await old.result().head()
        await old.result().send(ok(b"old"))
        assert (await browser.response())[2] == b"old"
        new = await pending.pop()
        for _ in range(3):
            assert (await new.head()).startswith(b"GET /new ")
            await new.send(ok(b"new"))
            assert (await other.response())[2] == b"new"
        assert await old.result().is_closed()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_nothing_leaks_from_exchanges_ended_at_random() -> None:
    chance = random.Random(11)

    async def serve(stage: Stage) -> None:
        while True:
            wire = await stage.backend.connection()
            tasks.add(asyncio.ensure_future(play(wire)))

    async def play(wire: object) -> None:
        from tests.support.stage import Wire

        assert isinstance(wire, Wire)
        try:
            while True:
                head = await wire.head()
                nonce = head.split(b" ")[1]
                end = chance.randrange(7)
                if end == 0:
                    wire.reset()
                    return
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(nonce) + 3))
                if end == 1:
                    wire.close()
                    return
                await asyncio.sleep(chance.random() * 0.003)
                await wire.send(nonce + b"end")
                if end == 2:
                    wire.close()
                    return
        except (asyncio.IncompleteReadError, ConnectionError, RuntimeError):
            wire.close()  # RuntimeError: uvloop's word for a transport that is closed

    async def visit(stage: Stage, cookie: bytes, number: int) -> None:
        browser = await stage.browser()
        nonce = f"/{number}-{chance.getrandbits(64):x}"
        data = get(nonce, cookie=cookie)
        cut = chance.randrange(len(data) * 2)
        await browser.send(data[:cut])
        if cut < len(data):
            await asyncio.sleep(chance.random() * 0.002)
            browser.reset()
            return
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() * 0.004)
            browser.reset()
            return
        try:
            status, _, body = await browser.response()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        assert status in (200, 502)
        if status == 200:
            assert body == nonce.encode() + b"end"
        browser.close()

    tasks: set[asyncio.Future[None]] = set()
    async with Stage() as stage:
        cookies = [stage.sessions.log_in(f"p{number}") for number in range(5)]
        serving = asyncio.create_task(serve(stage))
        base = open_files()
        for turn in range(20):
            async with asyncio.TaskGroup() as group:
                for number in range(20):
                    group.create_task(visit(stage, cookies[number % 5], turn * 20 + number))
        await stage.settled()
        now = stage.gateway.statistics()
        assert (now.exchanges, now.tasks) == (0, 0)
        assert stage.spending.cell("feed", "everyone").used == 0
        assert {person.in_flight for person in stage.sessions.people.values()} == {0}
        assert not [s for s in stage.sessions.known.values() if s.streams]
        (server,) = now.pools["feed"]
        assert server.in_flight == 0
        assert server.connections == server.idle
        for browser in stage.browsers:
            browser.writer.transport.abort()
        async with asyncio.timeout(5):
            while stage.gateway.statistics().browsers or open_files() > base + 2 * server.idle:
                await asyncio.sleep(0.01)
        assert len(stage.gateway._ground.deadlines) == server.idle
        serving.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(serving, *tasks, return_exceptions=True)
    assert stage.gateway.statistics().pools["feed"][0].connections == 0


async def test_how_long_an_exchange_held_its_connection_is_counted_once() -> None:
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada")
        pool = stage.traffic.pool("feed")
        browser = await stage.browser()
        await browser.send(get("/", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        began = boottime()
        assert (pool.held, stage.spending.cell("feed", "everyone").used) == (0, 1)
        await asyncio.sleep(0.05)
        longer = boottime() - began
        await backend.send(ok(b"done"))
        await browser.response()
        await stage.settled()
        assert pool.held == 1
        assert longer <= pool.held_seconds < longer + 5
        await browser.send(get("/.broker/healthz"))
        await browser.response()
        assert pool.held == 1, "what asks no server holds none"
