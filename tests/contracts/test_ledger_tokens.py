"""Tokens of the admin API, the same on both ledgers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.ledger.port import AdminToken, AuditEntry
from broker.policy.guard import Figures
from tests.support.ledgers import START_MS

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from tests.support.ledgers import LedgerClock

CI = AdminToken("ci", "viewer", "ab" * 32, START_MS, "admin token", START_MS + 1000)
CREATED = AuditEntry("admin token", "created", "token ci")
REVOKED = AuditEntry("ci", "revoked", "token ci")


async def actions(ledger: Ledger) -> list[tuple[str, str]]:
    return [(entry.author, entry.action) for entry in await ledger.audit(most=10)]


async def test_a_token_is_let_in_by_its_name_once(ledger: Ledger) -> None:
    assert await ledger.tokens() == []
    assert await ledger.put_token(CI, CREATED)
    assert not await ledger.put_token(replace(CI, role="operator"), CREATED)
    anna = AdminToken("anna", "operator", "cd" * 32, START_MS, "ci")
    assert await ledger.put_token(anna, CREATED)
    assert await ledger.tokens() == [anna, CI]


async def test_a_revoked_token_is_gone_and_its_name_free(ledger: Ledger) -> None:
    await ledger.put_token(CI, CREATED)
    assert await ledger.drop_token("ci", REVOKED)
    assert not await ledger.drop_token("ci", REVOKED)
    assert await ledger.tokens() == []
    assert await ledger.put_token(CI, CREATED)


async def test_what_was_done_stands_in_the_audit_trail_and_what_was_not_does_not(
    ledger: Ledger,
) -> None:
    await ledger.put_token(CI, CREATED)
    await ledger.put_token(CI, CREATED)
    await ledger.drop_token("ci", REVOKED)
    await ledger.drop_token("ci", REVOKED)
    assert await actions(ledger) == [("admin token", "created"), ("ci", "revoked")]


async def test_anybody_may_read_what_the_workers_told(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    assert await ledger.figures() == {}
    figures = {"feed": Figures(failed=3)}
    await ledger.steward("a/1/x", figures, lease_ms=5000)
    ledger_clock.advance(400)
    await ledger.steward("b/1/x", {}, lease_ms=5000)
    assert await ledger.figures() == {"a/1/x": (400, figures), "b/1/x": (0, {})}
