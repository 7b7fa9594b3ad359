"""The command line against the real admin application and both ledgers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from broker.ledger.port import SessionRecord, SyncReport
from tests.support.admin_cli import command_line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.ledger.port import Ledger
    from tests.support.admin_cli import Run


@pytest.fixture
async def broker(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Run]:
    async with command_line(ledger, tmp_path, monkeypatch, capsys) as run:
        yield run


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
    now = (await ledger.look("mia")).ledger_ms
    record = SessionRecord(
        "s1", "mia", "Mia", "sales", (), now, for_ever, now, "192.0.2.1", "Firefox"
    )
    await ledger.put_session(record, most=10)
    code, out = await broker("sessions", "list", "mia")
    assert code == 0
    assert re.search(r"s1 +mia +Mia +sales +0 min ago +192\.0\.2\.1 +Firefox", out)
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
