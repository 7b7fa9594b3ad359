"""Limits and deadlines of the door: what is beyond them ends, and nobody else notices."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest

from broker.gateway.plan import DeadlinesPlan, DoorPlan, RoutePlan
from tests.support.stage import STALLED, Stage, get, ok

CROWD = 1000


async def test_each_route_has_its_own_limit_of_the_body() -> None:
    routes = (
        RoutePlan(b"/", "feed", body_limit=10),
        RoutePlan(b"/films", "feed", body_limit=1000),
        RoutePlan(b"/films/small", "feed", body_limit=20),
    )
    async with Stage(routes=routes) as stage:
        cookie = stage.sessions.log_in("ada")
        for path, size, status in (
            ("/", 10, 200), ("/", 11, 413), ("/films", 1000, 200), ("/films", 1001, 413),
            ("/films/small", 20, 200), ("/films/small/x", 21, 413), ("/filmsX", 11, 413),
        ):  # fmt: skip
            for framing in ("length", "chunked"):
                browser = await stage.browser()
                fields = f"Content-Length: {size}"
                body = b"x" * size
                if framing == "chunked":
                    fields = "Transfer-Encoding: chunked"
                    body = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
                await browser.send(get(path, fields, method="POST", cookie=cookie) + body)
                if status == 200:
                    backend = await stage.backend.connection()
                    await backend.head()
                    await backend.exactly(len(body))
                    await backend.send(ok(b"", "Connection: close"))
                assert (await browser.response())[0] == status, (path, size, framing)


async def test_limits_are_the_plan_s_and_change_with_it() -> None:
    async with Stage(door=DoorPlan(head_limit=300, header_count=5, request_line_limit=40)) as stage:
        long, many = "X: " + "a" * 300, ["A: b"] * 5
        for request, status in (
            (get("/" + "a" * 40), 414), (get("/", long), 431), (get("/", *many), 431),
        ):  # fmt: skip
            browser = await stage.browser()
            await browser.send(request)
            assert (await browser.response())[0] == status
            assert await browser.is_closed()
        stage.door = DoorPlan(head_limit=1000, header_count=9, request_line_limit=90)
        stage.gateway.replace(stage.plan())
        for request in (get("/" + "a" * 40), get("/", long), get("/", *many)):
            browser = await stage.browser()
            await browser.send(request)
            assert (await browser.response())[0] == 401, "nobody is logged in"


async def test_a_kept_connection_ends_when_it_is_idle_for_too_long() -> None:
    async with Stage(door=DoorPlan(keep_alive=0.3)) as stage:
        browser = await stage.browser()
        await browser.send(get("/.broker/healthz"))
        assert (await browser.response())[0] == 200
        assert await browser.is_closed()


async def test_a_head_that_drips_ends_in_time_whatever_comes() -> None:
    """Each byte would start a deadline anew that was counted from the last one."""
    async with Stage(door=DoorPlan(head_timeout=0.5)) as stage:
        browser = await stage.browser()
        head = get("/", "X: " + "a" * 5000)

        async def drip() -> None:
            for byte in head:
                await browser.send(bytes((byte,)))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await browser.response())[0] == 408
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_a_browser_that_never_reads_is_given_up() -> None:
    async with Stage(door=DoorPlan(stall_timeout=0.5)) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        browser.writer.transport.pause_reading()  # type: ignore[attr-defined]
        backend = await stage.backend.connection()
        await backend.head()
        backend.writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"z" * (32 << 20)
        )
        assert await backend.is_closed()
        await stage.settled()
        assert stage.spending.cell("feed", "everyone").used == 0
        assert stage.log.lines[-1].outcome == "browser_gone"


async def test_a_server_that_does_not_accept_costs_the_dial_deadline_and_no_more() -> None:
    """Its queue is full, so that the kernel answers no SYN."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        filling = [socket.socket() for _ in range(4)]
        for each in filling:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        async with Stage(deadlines=DeadlinesPlan(dial=0.3)) as stage:
            stage.backend.address = f"http://127.0.0.1:{port}"
            stage.gateway.replace(stage.plan())
            cookie = stage.sessions.log_in("ada")
            browser = await stage.browser()
            await browser.send(get(cookie=cookie))
            status, _, _ = await browser.response()
            assert status == 502
            assert stage.traffic.pool("feed").dial_failures == 1
            assert stage.log.lines[-1].outcome == "no_server"
        for each in filling:
            each.close()


async def test_a_server_that_does_not_take_a_body_gets_no_more_time_than_for_an_answer() -> None:
    async with Stage(deadlines=DeadlinesPlan(first_byte=0.5)) as stage:
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        size = 64 << 20
        await browser.send(get("/", f"Content-Length: {size}", method="PUT", cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        backend.writer.transport.pause_reading()  # type: ignore[attr-defined]
        browser.writer.write(b"x" * size)
        assert (await browser.response())[0] == 504
        await stage.settled()
        assert stage.log.lines[-1].outcome == "backend_slow"
        assert stage.spending.cell("feed", "everyone").used == 0


@pytest.mark.parametrize("deadline", ["first_byte", "between_bytes"])
async def test_each_pool_has_its_own_deadlines(deadline: str) -> None:
    routes = (RoutePlan(b"/", "feed"), RoutePlan(b"/slow", "slow"))
    async with Stage(routes=routes) as stage:
        plan = stage.plan()
        quick = replace(plan.pools["feed"], deadlines=replace(DeadlinesPlan(), **{deadline: 0.3}))
        stage.gateway.replace(replace(plan, pools={**plan.pools, "feed": quick}))
        cookie = stage.sessions.log_in("ada")
        patient, hasty = await stage.browser(), await stage.browser()
        await patient.send(get("/slow", cookie=cookie))
        slow = await stage.backend.connection()
        await slow.head()
        await hasty.send(get("/", cookie=cookie))
        fast = await stage.backend.connection()
        await fast.head()
        if deadline == "between_bytes":
            for wire in (slow, fast):
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
            assert (await hasty.rest()).endswith(b"\r\n\r\nabc")
            await slow.send(b"def")
        else:
            assert (await hasty.response())[0] == 504
            await slow.send(ok(b"abcdef"))
        assert (await patient.response())[2] == b"abcdef"


async def test_a_thousand_slow_clients_hang_on_and_others_keep_working() -> None:
    """A third does not end its head, a third not its body, a third does not read its answer."""
    async with Stage(per_employee=CROWD, grant=2 * CROWD) as stage:
        cookie = stage.sessions.log_in("mallory")

        async def serve() -> None:
            while True:
                wire = await stage.backend.connection()
                head = await wire.head()
                if head.startswith(b"GET /large"):
                    wire.writer.write(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 << 20)
                        + b"z" * (1 << 20)
                    )
                elif head.startswith(b"GET "):
                    path = head.split(b" ")[1]
                    await wire.send(ok(path, "Connection: close"))

        serving = asyncio.create_task(serve())
        requests = (
            b"GET /head HTTP/1.1\r\nHost: feed.test:8443\r\nX: ",
            get("/body", "Content-Length: 100000", method="POST", cookie=cookie) + b"x" * 10,
            get("/large", cookie=cookie),
        )
        for number in range(CROWD):
            slow = await stage.browser()
            slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await slow.send(requests[number % 3])
        async with asyncio.timeout(30):
            while (now := stage.gateway.statistics()).exchanges < CROWD * 2 // 3 or now.tasks:
                await asyncio.sleep(0.05)
        ada = stage.sessions.log_in("ada")
        for number in range(50):
            browser = await stage.browser()
            await browser.send(get(f"/{number}", cookie=ada))
            assert (await browser.response())[2] == b"/%d" % number
        assert stage.gateway.statistics().browsers >= CROWD, "the slow ones are still there"
        buffered = [b.transport.get_write_buffer_size() for b in stage.gateway._browsers]
        assert max(buffered) <= STALLED
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
