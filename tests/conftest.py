"""Fixtures of all suites: a real Redis, and the ledger in both its forms.

A server that is missing fails in CI and skips elsewhere. Each pytest-xdist worker has its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from broker.ledger.memory import MemoryLedger
from tests.support.ledgers import LedgerClock, limits_document, redis_ledger
from tests.support.redis_server import RedisServer, find_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from broker.ledger.port import Ledger
    from broker.ledger.redis_ledger import RedisLedger

# No test asserts a time: not Hypothesis on our behalf either.
settings.register_profile("broker", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("broker")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real server for the session of this test process."""
    if find_server() is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is missing: apt-get install redis-server")
        pytest.skip("redis-server is missing: apt-get install redis-server")
    server = RedisServer()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    with redis_server.client() as client:
        client.flushall()
        client.script_flush()
    return redis_server.url


@pytest.fixture
def ledger_clock(request: pytest.FixtureRequest) -> LedgerClock:
    """The wall clock that the ledger of this test sees, in milliseconds."""
    return LedgerClock()


@pytest.fixture(params=["memory", "redis"])
async def virgin_ledger(
    request: pytest.FixtureRequest, ledger_clock: LedgerClock
) -> AsyncIterator[Ledger]:
    """A ledger that was never used, in memory and on Redis."""
    if request.param == "memory":
        yield MemoryLedger(lambda: ledger_clock.now_ms)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    url: str = request.getfixturevalue("redis_url")
    with server.client() as client:
        ledger_clock.drive(client)
        ledger: RedisLedger = await redis_ledger(url, ledger_clock)
        try:
            yield ledger
        finally:
            await ledger.close()


@pytest.fixture
async def ledger(virgin_ledger: Ledger) -> Ledger:
    """A ledger in its usual state: limits published, not learning."""
    await virgin_ledger.publish(limits_document(), if_match=0, first_start=True)
    return virgin_ledger
