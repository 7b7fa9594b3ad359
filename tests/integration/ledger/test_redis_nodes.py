"""The ledger behind Sentinel and in a Cluster: found, followed after a failover, looked at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker.errors import LedgerAway
from broker.ledger.redis_ledger import RedisLedger
from broker.ledger.requirements import faults
from broker.policy.worker_book import Accepted
from tests.support.ledgers import SITE, LedgerClock, limits_document, redis_ledger
from tests.support.redis_nodes import NAME, SentinelSite, cluster_of_one, free_port
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.ledger.port import Wakeups
    from tests.support.redis_server import RedisServer

FEED = ("feed", "sales")


@pytest.fixture
async def guarded(redis_server: RedisServer) -> AsyncIterator[SentinelSite]:
    site = SentinelSite()
    try:
        await site.start()
        yield site
    finally:
        site.close()


@pytest.fixture
async def cluster(redis_server: RedisServer) -> AsyncIterator[tuple[RedisServer, str]]:
    """Its server, and its URL, in which the first node is not there."""
    server, port = await cluster_of_one()
    yield server, f"cluster://127.0.0.1:{free_port()},127.0.0.1:{port}"
    server.close()


async def fault_texts(url: str) -> list[str]:
    return [fault.text for fault in await faults(url) if fault.severity == "fault"]


class TestSentinel:
    async def test_after_a_failover_it_goes_on_in_a_new_epoch(self, guarded: SentinelSite) -> None:
        ledger = await redis_ledger(guarded.url)
        wakeups = await ledger.wakeups()
        try:
            await ledger.publish(limits_document(connections=20), if_match=0, first_start=True)
            worker = Worker("h/b/1", ledger, LedgerClock())
            await worker.join()
            assert await worker.take(FEED, 5) == 5
            before = worker.book.epoch
            with guarded.primary.client() as client:
                client.wait(1, 5000)  # the replica has it all
            await guarded.fail_over()

            accepted, learning = await _next_answer(worker)
            assert accepted is Accepted.EPOCH
            assert learning
            assert worker.book.epoch != before
            worker.want(FEED, 3)
            async with asyncio.timeout(30):
                while worker.used[FEED] < 8:
                    await _next_answer(worker)
                    await asyncio.sleep(0.05)
            assert (await ledger.usage()).held == {FEED: 8}
            with guarded.replica.client() as client:
                assert client.hlen(f"broker:{{{SITE}}}:workers") == 1
            await _until_woken(ledger, wakeups)
        finally:
            await wakeups.close()
            await ledger.close()

    async def test_a_primary_without_its_replica_gives_nothing(self, guarded: SentinelSite) -> None:
        ledger = await redis_ledger(guarded.url)
        try:
            await ledger.publish(limits_document(connections=20), if_match=0, first_start=True)
            assert (await ledger.admit("anna", "sales")).state == "seated"
            guarded.replica.kill()
            async with asyncio.timeout(20):
                while await _answers(ledger):
                    await asyncio.sleep(0.05)
            with pytest.raises(LedgerAway):
                await ledger.admit("berta", "sales")
            guarded.replica.start()
            async with asyncio.timeout(20):
                while not await _answers(ledger):
                    await asyncio.sleep(0.05)
        finally:
            await ledger.close()

    async def test_a_sentinel_that_is_not_there_leaves_the_others(
        self, guarded: SentinelSite
    ) -> None:
        url = guarded.url.replace("sentinel://", f"sentinel://127.0.0.1:{free_port()},")
        ledger = await RedisLedger.connect(url, SITE, deadline=5.0)
        try:
            assert await ledger.limits() is None
        finally:
            await ledger.close()

    async def test_fit_but_for_the_disk(self, guarded: SentinelSite) -> None:
        found = await faults(guarded.url)
        assert [fault.severity for fault in found] == ["warning", "warning"]
        assert found[0].text.startswith(f"primary 127.0.0.1:{guarded.primary_port}: ")
        assert found[1].text.startswith(f"replica 127.0.0.1:{guarded.replica_port}: ")

    async def test_no_replica_needed_to_write_is_a_fault(self, guarded: SentinelSite) -> None:
        with guarded.primary.client() as client:
            client.config_set("min-replicas-to-write", 0)
        (text,) = await fault_texts(guarded.url)
        assert text.startswith("primary ")
        assert "min-replicas-to-write is 0" in text

    @pytest.mark.parametrize("lag", [0, 2, 10])
    async def test_a_lag_that_outlasts_the_margin_is_a_fault(
        self, guarded: SentinelSite, lag: int
    ) -> None:
        with guarded.replica.client() as client:
            client.config_set("min-replicas-max-lag", lag)
        (text,) = await fault_texts(guarded.url)
        assert text.startswith("replica ")
        assert f"min-replicas-max-lag is {lag}" in text
        assert "2 s by which workers stop early" in text

    async def test_a_name_that_no_sentinel_knows_is_a_fault(self, guarded: SentinelSite) -> None:
        (text,) = await fault_texts(guarded.url.replace(NAME, "nobody"))
        assert "healthy primary for nobody" in text


class TestCluster:
    async def test_it_runs_the_same_scripts(self, cluster: tuple[RedisServer, str]) -> None:
        server, url = cluster
        ledger = await redis_ledger(url)
        wakeups = await ledger.wakeups()
        try:
            await ledger.publish(limits_document(connections=20), if_match=0, first_start=True)
            worker = Worker("h/b/1", ledger, LedgerClock())
            await worker.join()
            assert await worker.take(FEED, 3) == 3
            assert (await ledger.admit("anna", "sales")).state == "seated"
            assert await ledger.tombstone("h/b/1")
            assert await wakeups.next(5)
            with server.client() as client:
                client.script_flush()
            assert await ledger.limits() is not None
        finally:
            await wakeups.close()
            await ledger.close()

    async def test_killed_and_restarted(self, cluster: tuple[RedisServer, str]) -> None:
        server, url = cluster
        ledger = await redis_ledger(url)
        wakeups = await ledger.wakeups()
        try:
            await ledger.publish(limits_document(connections=20), if_match=0, first_start=True)
            worker = Worker("h/b/1", ledger, LedgerClock())
            await worker.join()
            assert await worker.take(FEED, 3) == 3
            server.kill()
            with pytest.raises(LedgerAway):
                await worker.sync_once()
            async with asyncio.timeout(10):
                while await wakeups.next(0.05):
                    pass  # what came before
            server.start()
            accepted, learning = await _next_answer(worker)
            assert accepted is Accepted.EPOCH
            assert learning
            await _next_answer(worker)
            assert (await ledger.usage()).held == {FEED: 3}
            await _until_woken(ledger, wakeups)
        finally:
            await wakeups.close()
            await ledger.close()

    async def test_every_call_has_a_deadline(self, cluster: tuple[RedisServer, str]) -> None:
        server, url = cluster
        ledger = await RedisLedger.connect(url, SITE, deadline=1.0)
        try:
            assert await ledger.limits() is None
            with server.client() as client:
                client.client_pause(2500)
                async with asyncio.timeout(5):
                    with pytest.raises(LedgerAway):
                        await ledger.limits()
                client.client_unpause()
            async with asyncio.timeout(10):
                while not await _answers(ledger):
                    await asyncio.sleep(0.05)
            for _ in range(3):
                assert await ledger.limits() is None
                assert (await ledger.usage()).limits.number == 0
        finally:
            await ledger.close()

    async def test_eviction_is_a_fault_of_its_node(self, cluster: tuple[RedisServer, str]) -> None:
        server, url = cluster
        assert await fault_texts(url) == []
        with server.client() as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        (text,) = await fault_texts(url)
        assert text.startswith("primary 127.0.0.1:")
        assert "noeviction" in text

    async def test_a_single_node_is_not_a_cluster(self) -> None:
        (text,) = await fault_texts(f"cluster://127.0.0.1:{free_port()}")
        assert "cannot be used" in text


async def _next_answer(worker: Worker) -> tuple[Accepted, bool]:
    """Of the first sync that is answered, as the site would do it: each tick once more."""
    async with asyncio.timeout(30):
        while True:
            try:
                accepted, reply = await worker.sync_once()
                return accepted, reply.learning
            except LedgerAway:
                await asyncio.sleep(0.05)


async def _until_woken(ledger: RedisLedger, wakeups: Wakeups) -> None:
    """Publish until the subscription, which was lost, is back and hears of it."""
    async with asyncio.timeout(20):
        while True:
            present = await ledger.limits()
            number = 0 if present is None else present.number
            await ledger.publish(limits_document(connections=20), if_match=number)
            if await wakeups.next(0.2):
                return


async def _answers(ledger: RedisLedger) -> bool:
    try:
        await ledger.limits()
    except LedgerAway:
        return False
    return True
