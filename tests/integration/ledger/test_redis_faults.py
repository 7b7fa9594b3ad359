"""What Redis does to a ledger when it is killed, restarted, slow, or unfit."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

import pytest

from broker.errors import LedgerAway
from broker.ledger.redis_ledger import RedisLedger
from broker.ledger.requirements import faults
from broker.policy.worker_book import Accepted
from tests.support.ledgers import LedgerClock, limits_document, redis_ledger
from tests.support.redis_server import RedisServer
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

FEED = ("feed", "sales")


@pytest.fixture
def own_server(redis_server: RedisServer) -> Iterator[RedisServer]:
    """A Redis of this test's own, to be killed and slowed."""
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
async def own_ledger(own_server: RedisServer) -> AsyncIterator[RedisLedger]:
    ledger = await redis_ledger(own_server.url)
    await ledger.publish(limits_document(connections=20), if_match=0, first_start=True)
    yield ledger
    await ledger.close()


async def test_killed_and_restarted_without_its_memory(
    own_server: RedisServer, own_ledger: RedisLedger
) -> None:
    clock = LedgerClock()  # only the worker's: Redis runs by its own
    worker = Worker("h/b/1", own_ledger, clock)
    await worker.join()
    assert await worker.take(FEED, 5) == 5
    own_server.kill()
    with pytest.raises(LedgerAway):
        await worker.sync_once()
    assert worker.book.cap(*FEED) == 5
    own_server.start()

    accepted, reply = await worker.sync()
    assert accepted is Accepted.EPOCH
    assert reply.learning
    worker.want(FEED, 3)
    await worker.sync()
    assert worker.used[FEED] == 5
    assert (await own_ledger.usage()).held == {FEED: 5}


async def test_restarted_with_its_memory_it_learns_from_who_it_knows(
    own_server: RedisServer, own_ledger: RedisLedger
) -> None:
    worker = Worker("h/b/1", own_ledger, LedgerClock())
    await worker.join()
    await worker.take(FEED, 5)
    with own_server.client() as client:
        client.save()
    own_server.kill()
    own_server.start()
    with contextlib.suppress(LedgerAway):  # the connection of before, if it looked alive
        await worker.sync_once()
    assert (await worker.sync())[0] is Accepted.EPOCH
    worker.want(FEED, 3)
    async with asyncio.timeout(20):
        while worker.used[FEED] < 8:
            await worker.sync()
            await asyncio.sleep(0.05)
    assert not (await own_ledger.usage()).learning


async def test_every_call_has_a_deadline(own_server: RedisServer) -> None:
    ledger = await RedisLedger.connect(own_server.url, "test", deadline=0.1)
    try:
        await ledger.limits()
        with own_server.client() as client:
            client.client_pause(1500)
            async with asyncio.timeout(1.0):
                with pytest.raises(LedgerAway):
                    await ledger.limits()
            client.client_unpause()
        # The answer that came too late is not taken for that of the next call.
        for _ in range(3):
            assert await ledger.limits() is None
            assert (await ledger.usage()).limits.number == 0
    finally:
        await ledger.close()


async def test_scripts_are_sent_again_when_redis_has_forgotten_them(
    own_server: RedisServer, own_ledger: RedisLedger
) -> None:
    with own_server.client() as client:
        client.script_flush()
    assert await own_ledger.limits() is not None


async def test_wakeups_survive_a_restart(own_server: RedisServer, own_ledger: RedisLedger) -> None:
    wakeups = await own_ledger.wakeups()
    try:
        own_server.kill()
        assert not await wakeups.next(0.05)
        own_server.start()
        async with asyncio.timeout(10):
            number = 0
            while True:
                published = await own_ledger.publish(limits_document(), if_match=number)
                number = published.number
                if await wakeups.next(0.2):
                    break
    finally:
        await wakeups.close()


class TestRequirements:
    async def test_without_persistence_is_a_warning(self, redis_url: str) -> None:
        (fault,) = await faults(redis_url)
        assert fault.severity == "warning"
        assert "disk" in fault.text

    async def test_with_persistence_all_is_well(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.config_set("save", "60 1")
        assert await faults(own_server.url) == []

    async def test_an_old_redis_is_a_fault(self, own_server: RedisServer, tmp_path: Path) -> None:
        """A real Redis, whose version is rewritten on the way."""
        pretended = b"redis_version:6.0."

        async def one_way(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(1 << 20):
                    target.write(re.sub(rb"redis_version:\d\.\d\.", pretended, data))
            target.close()
            with contextlib.suppress(ConnectionError):
                await target.wait_closed()

        async def relay(client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
            async with relays:
                answers, server = await asyncio.open_unix_connection(str(own_server.socket))
                await asyncio.gather(one_way(client, server), one_way(answers, back))

        relays = asyncio.Semaphore(1)
        async with await asyncio.start_unix_server(relay, str(tmp_path / "s")):
            texts = [fault.text for fault in await faults(f"unix://{tmp_path / 's'}")]
            async with relays:  # the connection is closed on both sides
                pass
        assert any(re.match(r"Redis 6\.0\.\d+ is too old", text) for text in texts), texts

    async def test_eviction_is_a_fault(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        found = [fault for fault in await faults(own_server.url) if fault.severity == "fault"]
        assert len(found) == 1
        assert "noeviction" in found[0].text

    async def test_a_replica_is_a_fault(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", 1)
        assert any("primary" in fault.text for fault in await faults(own_server.url))

    async def test_a_wrong_password_is_a_fault(self, own_server: RedisServer) -> None:
        with own_server.client() as client:
            client.config_set("requirepass", "s3cret")
        (fault,) = await faults(own_server.url)
        assert fault.severity == "fault"
        assert "password" in fault.text

    async def test_nobody_there_is_a_fault(self, own_server: RedisServer) -> None:
        own_server.kill()
        (fault,) = await faults(own_server.url)
        assert fault.severity == "fault"
        assert "reached" in fault.text or "used" in fault.text


@pytest.mark.parametrize("connected", [True, False])
async def test_who_calls_in_a_loop_hears_of_its_cancellation(
    own_ledger: RedisLedger, own_server: RedisServer, connected: bool
) -> None:
    """At whatever step of a call it comes: one that is kept would leave a worker that never ends.
    (redis-py sends with ``asyncio.wait_for``, which on Python 3.11 keeps some.)"""

    async def call_for_ever(ledger: RedisLedger) -> None:
        while True:
            with contextlib.suppress(LedgerAway):
                await ledger.usage()
            await asyncio.sleep(0)

    for steps in range(40):
        ledger = own_ledger if connected else await redis_ledger(own_server.url)
        calling = asyncio.create_task(call_for_ever(ledger))
        for _ in range(steps):
            await asyncio.sleep(0)
        calling.cancel()
        done, _ = await asyncio.wait({calling}, timeout=2)
        calling.cancel()
        if not connected:
            await ledger.close()
        assert done, f"cancelled after {steps} steps it goes on calling"
        assert calling.cancelled()
