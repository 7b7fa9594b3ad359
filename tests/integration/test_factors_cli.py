"""``broker factors`` against the real admin application, on both ledgers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from broker.ledger.port import Factor, SessionRecord
from tests.support.admin_cli import command_line
from tests.support.ledgers import START_MS, LedgerClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.ledger.port import Ledger
    from tests.support.admin_cli import Run

WHO = "zoë łuk/x"
FACTOR = Factor("f1", "key.sealed", 100, ("aa", "bb"))


@pytest.fixture
async def run(
    ledger: Ledger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> AsyncIterator[Run]:
    async with command_line(ledger, tmp_path, monkeypatch, capsys) as running:
        yield running


async def test_enrolment_is_opened_seen_and_closed(ledger: Ledger, run: Run) -> None:
    assert (await run("factors", "show"))[1].startswith("Enrolment is closed")
    assert await run("factors", "open", "--for", "14d") == (
        0,
        "Enrolment is open for 14 days more.\n",
    )
    assert await ledger.enrolment() == 14 * 86_400_000
    assert (await run("factors", "show"))[1] == "Enrolment is open for 14 days more.\n"
    assert (await run("factors", "show", "--json"))[1].strip().startswith("{")
    assert (await run("factors", "close"))[1].startswith("Enrolment is closed")
    assert await ledger.enrolment() == 0
    told = [(entry.author, entry.action) for entry in await ledger.audit(most=9)]
    assert told == [("admin token", "opened"), ("admin token", "closed")]


async def test_a_factor_is_seen_and_reset(
    ledger: Ledger, ledger_clock: LedgerClock, run: Run
) -> None:
    assert await run("factors", "show", WHO) == (
        0,
        f"{WHO} has no second factor and may not set one up.\n",
    )
    await ledger.open_enrolment(1000)
    await ledger.enrol(WHO, FACTOR, "", START_MS)
    await ledger.open_enrolment(0)
    record = SessionRecord("s1", WHO, WHO, "sales", (), START_MS, START_MS + 10**7, factor="totp")
    await ledger.put_session(record, most=10)
    code, text = await run("factors", "show", WHO)
    assert code == 0
    assert "since 2020-09-13" in text
    assert "and 2 recovery codes" in text
    assert "key.sealed" not in (await run("factors", "show", WHO, "--json"))[1]
    _, listed = await run("sessions", "list", WHO, "--json")
    assert json.loads(listed)["sessions"][0]["factor"] == "totp"

    assert (await run("factors", "reset", WHO))[0] == 2, "nobody to ask"
    assert (await ledger.factor(WHO)).factor is not None
    code, text = await run("factors", "reset", WHO, "--for", "3h", "--yes")
    assert (code, text) == (
        0,
        f"{WHO} has no second factor any more, and may set one up for 3 h.\n",
    )
    view = await ledger.factor(WHO)
    assert (view.factor, view.may_enrol_ms) == (None, 3 * 3_600_000)
    assert await ledger.session("s1") is None, "whoever has the telephone may be logged in"
    assert "for 3 h more" in (await run("factors", "show", WHO))[1]
    left = await run("factors", "reset", WHO, "--yes", "--for", "0s")
    assert left == (0, f"{WHO} had none, and may not set one up.\n")
    assert (await ledger.factor(WHO)).may_enrol_ms == 0
    entries = await ledger.audit(most=9)
    assert [(each.action, each.subject) for each in entries] == [
        ("reset", f"second factor of {WHO}")
    ] * 2


@pytest.mark.parametrize(
    "words", [("open",), ("open", "--for", "soon"), ("reset", "x", "--yes", "--for", "-1")]
)
async def test_what_is_no_time_is_refused(run: Run, words: tuple[str, ...]) -> None:
    assert (await run("factors", *words))[0] == 2


async def test_a_time_beyond_a_year_is_refused(run: Run) -> None:
    code, text = await run("factors", "open", "--for", "400d")
    assert code == 1
    assert "at most a year" in text
