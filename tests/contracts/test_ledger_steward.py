"""The steward's lease, the guard's figures and the audit trail, the same on both ledgers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.errors import Stale
from broker.ledger.port import AuditEntry
from broker.policy.guard import BOUNDS, Figures
from tests.support.ledgers import START_MS, LedgerClock, limits_document
from tests.support.workers import Worker

if TYPE_CHECKING:
    from broker.ledger.port import Ledger

FIGURES = {"feed": Figures((3,) * (len(BOUNDS) + 1), failed=2, undialled=1)}


async def test_one_steward_until_it_is_silent_for_its_lease(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    first = await ledger.steward("a/1/x", {}, lease_ms=5000)
    assert first.steward == "a/1/x"
    second = await ledger.steward("b/1/x", {}, lease_ms=5000)
    assert (second.steward, second.readings) == ("a/1/x", {})
    for _ in range(4):  # ledger time moves by at most a second a call
        ledger_clock.advance(1000)
        assert (await ledger.steward("b/1/x", {}, lease_ms=5000)).steward == "a/1/x"
    assert (await ledger.steward("a/1/x", {}, lease_ms=5000)).steward == "a/1/x"
    for _ in range(5):
        ledger_clock.advance(1000)
        taken = await ledger.steward("b/1/x", {}, lease_ms=5000)
    assert taken.steward == "b/1/x"
    assert (await ledger.steward("a/1/x", {}, lease_ms=5000)).steward == "b/1/x"


async def test_notes_outlive_the_steward_and_only_its_own_count(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    assert (await ledger.steward("a/1/x", {}, lease_ms=500, notes=b"one")).notes == b"one"
    await ledger.steward("b/1/x", {}, lease_ms=500, notes=b"forged")
    assert (await ledger.steward("a/1/x", {}, lease_ms=500)).notes == b"one"
    ledger_clock.advance(501)
    assert (await ledger.steward("b/1/x", {}, lease_ms=500)).notes == b"one"


async def test_the_steward_reads_the_figures_of_every_worker_known(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    worker = Worker("b/1/x", ledger, ledger_clock)
    await worker.join()
    await ledger.steward("a/1/x", {}, lease_ms=5000)
    await ledger.steward("b/1/x", FIGURES, lease_ms=5000)
    await ledger.steward("unknown", FIGURES, lease_ms=5000)
    ledger_clock.advance(700)
    seen = await ledger.steward("a/1/x", FIGURES, lease_ms=5000)
    assert seen.readings == {"a/1/x": (0, FIGURES), "b/1/x": (700, FIGURES)}
    await ledger.tombstone("b/1/x")
    assert (await ledger.steward("a/1/x", {}, lease_ms=5000)).readings == {"a/1/x": (0, {})}


async def test_civil_time_comes_along(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    ledger_clock.advance(3_600_000)
    seen = await ledger.steward("a/1/x", {}, lease_ms=5000)
    assert seen.wall_ms == START_MS + 3_600_000
    assert seen.ledger_ms < seen.wall_ms


async def test_an_entry_is_written_with_the_change_or_not_at_all(ledger: Ledger) -> None:
    version = (await ledger.usage()).limits.number
    entry = AuditEntry("anna", "raised", "site", 'lock "down"', "1x", "6x")
    published = await ledger.publish(limits_document(), if_match=version, entry=entry)
    with pytest.raises(Stale):
        await ledger.publish(limits_document(), if_match=version, entry=entry)
    assert await ledger.record(AuditEntry("ü", "revoked", "everybody")) == 2
    first, second = await ledger.audit(most=10)
    assert (first.number, first.version, first.civil_ms) == (1, published.number, START_MS)
    assert (first.author, first.reason, first.after) == ("anna", 'lock "down"', "6x")
    assert (second.number, second.author, second.before) == (2, "ü", "")


async def test_the_audit_trail_is_read_from_its_end(ledger: Ledger) -> None:
    assert await ledger.audit(most=5) == ()
    for number in range(7):
        await ledger.record(AuditEntry("anna", f"did {number}", "site"))
    assert [entry.number for entry in await ledger.audit(most=3)] == [5, 6, 7]
    assert [entry.number for entry in await ledger.audit(most=3, before=5)] == [2, 3, 4]
    assert [entry.number for entry in await ledger.audit(most=3, before=2)] == [1]
    assert await ledger.audit(most=3, before=1) == ()
