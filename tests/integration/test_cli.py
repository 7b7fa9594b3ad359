"""The command line against the real admin application and both ledgers."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts
from broker.cli.main import main
from broker.ledger.port import SessionRecord, SyncReport
from broker.telemetry.control import ControlClient
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from broker.ledger.port import Ledger

    Run = Callable[..., Awaitable[tuple[int, str]]]

TOKEN = "a token of the tests"


@pytest.fixture
async def broker(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Run]:
    """``await broker("status")`` runs a command: its exit code, and all that it wrote."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    plan = AdminPlan("test", TOKEN, allowed_hosts([f"127.0.0.1:{port}"], []), tmp_path)
    runner = web.AppRunner(
        make_app(
            plan,
            ledger,
            ControlClient(),
            lambda _: limits_document(seats=20),
            lambda: 0.0,
            lambda: 0.0,
        )
    )
    await runner.setup()
    await web.SockSite(runner, listening).start()
    monkeypatch.setenv("BROKER_ADMIN_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("BROKER_ADMIN_TOKEN", TOKEN)

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, list(arguments))
        written = capsys.readouterr()
        return code, written.out + written.err

    yield run
    await runner.cleanup()


async def test_seats_and_waiting_are_seen(broker: Run, ledger: Ledger) -> None:
    for number in range(12):
        await ledger.admit(f"e{number}", "sales")
    code, out = await broker("status")
    assert code == 0, out
    assert "seats 10 of 10" in out
    assert "waiting 2" in out
    code, out = await broker("waiting", "list")
    assert re.search(r"sales +2 +0", out)


async def test_workers_are_seen_and_a_live_one_is_not_forgotten(
    broker: Run, ledger: Ledger
) -> None:
    await ledger.sync(SyncReport("host/boot/1", 1, ""))
    code, out = await broker("workers", "list", "--json")
    assert code == 0, out
    assert [worker["id"] for worker in json.loads(out)["workers"]] == ["host/boot/1"]
    code, out = await broker("workers", "forget", "host/boot/1", "--yes")
    assert code == 1
    assert "it is not dead" in out
    assert await ledger.workers()
    code, out = await broker("workers", "forget", "host/boot/2", "--yes")
    assert code == 1
    assert "knows no worker host/boot/2" in out


async def test_sessions_are_seen_and_revoked(broker: Run, ledger: Ledger) -> None:
    for_ever = 10**14
    record = SessionRecord("s1", "mia", "Mia", "sales", (), 1, for_ever, 1, "192.0.2.1", "Firefox")
    await ledger.put_session(record, most=10)
    code, out = await broker("sessions", "list", "mia")
    assert code == 0
    assert re.search(r"s1 +Mia +sales +192\.0\.2\.1 +Firefox", out)
    code, out = await broker("sessions", "revoke", "--employee", "mia", "--yes")
    assert code == 0, out
    assert not await ledger.sessions("mia")
    code, out = await broker("sessions", "revoke", "s1")
    assert code == 0
    assert "did not know" in out


async def test_publishing_makes_the_file_s_limits_the_site_s(broker: Run, ledger: Ledger) -> None:
    """Nothing keeps processes here, so that reloading them is refused, and nothing is published."""
    before = await ledger.limits()
    code, out = await broker("reload", "--publish", "--yes")
    assert code != 0
    assert "supervisor" in out
    assert await ledger.limits() == before
