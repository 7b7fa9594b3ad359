"""The admin API tried by its own OpenAPI document (Schemathesis), on a real Redis: whatever is
sent, the answer is one that the document knows, and never an accident."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts
from broker.policy.levels import in_force
from broker.telemetry.control import ControlClient
from tests.support.capacities import BARE, CAPACITY
from tests.support.ledgers import redis_ledger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)
TOKEN = "a-token-of-the-tests"
# A body may fit its schema and still make no sense at this moment (a level nobody configured, an
# end in the past): refusing it is right, so "valid data must be accepted" is not asked.
DOCUMENT = in_force(CAPACITY, BARE)
NOT_ASKED = "positive_data_acceptance"


@pytest.fixture
async def address(redis_url: str, tmp_path: Path) -> AsyncIterator[str]:
    ledger = await redis_ledger(redis_url)
    await ledger.publish(DOCUMENT, if_match=0, first_start=True)
    hosts: set[str] = set()
    plan = AdminPlan("acme", TOKEN, cast("frozenset[str]", hosts), tmp_path)
    clock = asyncio.get_running_loop().time
    app = make_app(
        plan, ledger, ControlClient(), lambda _: DOCUMENT, clock, lambda: 1_600_000_000.0
    )
    async with TestServer(app) as server:
        hosts |= allowed_hosts([f"127.0.0.1:{server.port}"], [])
        yield f"http://127.0.0.1:{server.port}/api/v1/openapi.json"
    await ledger.close()


async def test_every_operation_keeps_to_the_document(address: str, tmp_path: Path) -> None:
    trying = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", address,
        "--header", f"Authorization: Bearer {TOKEN}",
        "--exclude-checks", NOT_ASKED, "--phases", "examples,coverage,fuzzing",
        "--max-examples", "15", "--seed", "2020", "--no-shrink", "--continue-on-failure",
        "--generation-database", "none", "--request-timeout", "10", "--no-color",
        cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await trying.communicate()
    assert trying.returncode == 0, said.decode("utf-8", "replace")[-20_000:]


async def test_the_document_says_that_a_token_is_needed(address: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(address) as answer:
            assert answer.status == 401
        async with session.get(address, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            told: dict[str, Any] = await answer.json()
    assert told["security"] == [{"token": []}]
