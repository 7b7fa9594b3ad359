"""Servers by IPv6, by Unix socket, and by names that have several addresses, move, are unknown."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from typing import TYPE_CHECKING

import pytest

from broker.gateway import addresses
from broker.gateway.plan import DeadlinesPlan, HealthPlan, ServerPlan
from broker.policy.ejection import EjectionRule
from tests.support.stage import PATIENCE, Backend, Stage, Wire, get, ok
from tests.support.tls_backend import ListeningBackend, served_by

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

ONCE = EjectionRule(failures=1)


class Resolver:
    """What names mean, as a test wants it; None: the resolver fails."""

    def __init__(self) -> None:
        self.names: dict[str, tuple[str, ...] | None] = {}
        self.silent: set[str] = set()
        self.asked = 0

    async def look_up(self, host: str) -> tuple[str, ...]:
        self.asked += 1
        if host in self.silent:
            await asyncio.Event().wait()
        found = self.names.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return found


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(addresses, "look_up", made.look_up)
    return made


@pytest.fixture
async def two_places() -> AsyncIterator[tuple[ListeningBackend, ListeningBackend]]:
    """Two backends on the same port of different addresses."""
    first = await ListeningBackend(host="127.0.0.1").start()
    second = ListeningBackend(host="127.0.0.2")
    second.port = first.port
    await second.start()
    yield first, second
    await first.close()
    await second.close()


async def answered(browser: Wire, cookie: bytes, backend: Backend | Wire) -> Wire:
    """One exchange through this backend: a new connection to it, or the one given."""
    await browser.send(get(cookie=cookie))
    wire = backend if isinstance(backend, Wire) else await backend.connection()
    await wire.head()
    await wire.send(ok())
    assert (await browser.response())[0] == 200
    return wire


@pytest.mark.parametrize("where", ["::1", "unix", "localhost"])
async def test_other_kinds_of_address(where: str, tmp_path: Path) -> None:
    """The last one is really resolved, and on a machine with IPv6 has an address too many."""
    path = str(tmp_path / "app.sock") if where == "unix" else ""
    host = where if ":" in where else "127.0.0.1"
    backend = await ListeningBackend(host=host, path=path).start()
    address = backend.address
    if where == "localhost":
        address = address.replace("127.0.0.1", where)
    try:
        async with Stage() as stage:
            health = HealthPlan(every=60)
            stage.gateway.replace(served_by(stage, [ServerPlan.parse(address)], health=health))
            check = await backend.connection()
            name = "localhost" if path else f"{address.removeprefix('http://')}"
            assert f"\r\nHost: {name}\r\n".encode() in await check.head()
            cookie = stage.sessions.log_in("ada")
            browser = await stage.browser()
            kept = await answered(browser, cookie, backend)
            await answered(browser, cookie, kept)
            assert stage.log.lines[-1].server == address
    finally:
        await backend.close()


async def test_a_name_that_moves_is_followed(
    resolver: Resolver, two_places: tuple[ListeningBackend, ListeningBackend]
) -> None:
    first, second = two_places
    async with Stage() as stage:
        server = ServerPlan.parse(f"http://app.test:{first.port}")
        resolver.names["app.test"] = ("127.0.0.1",)
        stage.gateway.replace(served_by(stage, [server], resolve_every=0.0))
        cookie = stage.sessions.log_in("ada")
        browser, busy = await stage.browser(), await stage.browser()
        kept = await answered(browser, cookie, first)
        await busy.send(get("/busy", cookie=cookie))
        await kept.head()
        resolver.names["app.test"] = ("127.0.0.2",)
        wire = await answered(browser, cookie, first)  # as last known; meanwhile the name is asked
        assert await wire.is_closed(), "kept, and no longer the name's"
        await answered(browser, cookie, second)
        await kept.send(ok(b"busy"))
        assert (await busy.response())[2] == b"busy", "what is in flight ends where it is"
        assert await kept.is_closed()


async def busy_with(stage: Stage, cookie: bytes, kept: Wire) -> None:
    """Occupy a kept connection, so that the next exchange has to dial."""
    await (await stage.browser()).send(get("/busy", cookie=cookie))
    await kept.head()


async def test_a_resolver_that_fails_is_not_the_server_s_fault(
    resolver: Resolver, two_places: tuple[ListeningBackend, ListeningBackend]
) -> None:
    first, _ = two_places
    async with Stage(ejection=ONCE) as stage:
        known, unknown = (
            ServerPlan.parse(f"http://{name}.test:{first.port}") for name in ("known", "unknown")
        )
        resolver.names["known.test"] = ("127.0.0.1",)
        stage.gateway.replace(served_by(stage, [known], resolve_every=0.0))
        cookie = stage.sessions.log_in("ada")
        browser = await stage.browser()
        wire = await answered(browser, cookie, first)
        resolver.names["known.test"] = None
        before = resolver.asked
        for _ in range(3):
            await busy_with(stage, cookie, wire)
            wire = await answered(browser, cookie, first)
        assert resolver.asked > before
        # A name that never had an address: its server gets nothing, and is not blamed.
        stage.gateway.replace(served_by(stage, [known, unknown], resolve_every=0.0))
        wires = [wire]
        for _ in range(4):
            await browser.send(get(cookie=cookie))
            waiting = asyncio.ensure_future(first.connection())
            answer = asyncio.ensure_future(browser.response())
            await wires[-1].head()
            await wires[-1].send(ok())
            assert (await answer)[0] == 200
            waiting.cancel()
        assert not any(each.ejected for each in stage.gateway.statistics().pools["feed"])
        stage.gateway.replace(served_by(stage, [unknown]))
        await browser.send(get(cookie=cookie))
        assert (await browser.response())[0] == 502
        assert not any(each.ejected for each in stage.gateway.statistics().pools["feed"])
        resolver.names["unknown.test"] = ("127.0.0.1",)
        async with asyncio.timeout(PATIENCE):  # asked again a second later
            while True:
                await browser.send(get(cookie=cookie))
                waiting = asyncio.ensure_future(first.connection())
                answer = asyncio.ensure_future(browser.response())
                done, _ = await asyncio.wait((waiting, answer), return_when="FIRST_COMPLETED")
                if waiting in done:
                    await waiting.result().head()
                    await waiting.result().send(ok())
                    assert (await answer)[0] == 200
                    return
                waiting.cancel()
                assert answer.result()[0] == 502
                await asyncio.sleep(0.05)


async def test_a_resolver_that_says_nothing_stops_nobody(resolver: Resolver) -> None:
    async with Stage(ejection=ONCE, deadlines=DeadlinesPlan(dial=0.2)) as stage:
        resolver.silent.add("app.test")
        silent = ServerPlan.parse("http://app.test:1")
        here = ServerPlan.parse(stage.backend.address)
        stage.gateway.replace(served_by(stage, [silent, here]))
        cookie = stage.sessions.log_in("ada")
        wire = await answered(await stage.browser(), cookie, stage.backend)
        for _ in range(5):
            await answered(await stage.browser(), cookie, wire)
        assert resolver.asked == 1, "one question at a time"
        assert not any(each.ejected for each in stage.gateway.statistics().pools["feed"])


async def test_a_server_without_an_address_is_not_chosen_where_servers_are_checked(
    resolver: Resolver,
) -> None:
    async with Stage() as stage:
        nowhere = ServerPlan.parse("http://app.test:1")
        health = HealthPlan(every=0.02)
        stage.gateway.replace(served_by(stage, [nowhere], health=health, resolve_every=0.0))

        async def until(healthy: bool) -> None:
            async with asyncio.timeout(PATIENCE):
                while stage.gateway.statistics().pools["feed"][0].healthy is not healthy:
                    await asyncio.sleep(0.01)

        await until(healthy=False)
        async with ServerThatAnswers() as port:
            resolver.names["other.test"] = ("127.0.0.1",)
            named = ServerPlan.parse(f"http://other.test:{port}")
            stage.gateway.replace(served_by(stage, [named], health=health))
            await until(healthy=True)


class ServerThatAnswers:
    """200 to whatever it is asked."""

    async def __aenter__(self) -> int:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ok())
            writer.close()

        self._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()


async def test_several_addresses_take_turns_and_a_dead_one_stands_last(
    resolver: Resolver, two_places: tuple[ListeningBackend, ListeningBackend]
) -> None:
    first, second = two_places
    async with Stage(ejection=ONCE) as stage:
        resolver.names["app.test"] = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        server = ServerPlan.parse(f"http://app.test:{first.port}")
        stage.gateway.replace(served_by(stage, [server]))
        cookie = stage.sessions.log_in("ada")

        async def fetch() -> None:
            browser = await stage.browser()
            await browser.send(get(cookie=cookie))
            waiting = [asyncio.ensure_future(each.connection()) for each in two_places]
            done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            wire = done.pop().result()
            await wire.head()
            await wire.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            assert (await browser.response())[0] == 200

        for _ in range(8):
            await fetch()
        assert min(first.accepted, second.accepted) >= 3
        (used,) = stage.gateway._pools["feed"].servers
        assert used.addresses is not None
        assert (await used.addresses.get(1))[-1] == "127.0.0.3"
        assert not used.ejected
        assert stage.traffic.pool("feed").dial_failures == 0, "each exchange found a server"
        first.stop_listening()
        second.stop_listening()
        browser = await stage.browser()
        await browser.send(get(cookie=cookie))
        assert (await browser.response())[0] == 502
        assert used.standing.failures == 1, "all of its addresses, one failure"


async def test_a_silent_address_leaves_time_for_the_next(
    resolver: Resolver,
) -> None:
    """Listening, with a full queue: what a host that is gone looks like."""
    async with contextlib.AsyncExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.3", 0), backlog=0))
        port = full.getsockname()[1]
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            assert one.connect_ex(("127.0.0.3", port)) in (0, errno.EINPROGRESS)
        backend = ListeningBackend(host="127.0.0.1")
        backend.port = port
        stack.push_async_callback((await backend.start()).close)
        async with Stage(deadlines=DeadlinesPlan(dial=0.6)) as stage:
            resolver.names["app.test"] = ("127.0.0.3", "127.0.0.1")
            server = ServerPlan.parse(f"http://app.test:{port}")
            stage.gateway.replace(served_by(stage, [server]))
            cookie = stage.sessions.log_in("ada")
            for _ in range(3):
                wire = await answered(await stage.browser(), cookie, backend)
                wire.close()
                await wire.rest()
