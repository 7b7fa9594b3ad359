"""Whose entry is to be read again, changed records, and lists of many, on twin and Redis alike."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.errors import SessionsFull
from tests.contracts.test_ledger_sessions import log_in, revocations

if TYPE_CHECKING:
    from broker.ledger.port import Ledger
    from tests.support.ledgers import LedgerClock

EVERY = 900


async def test_an_employee_is_due_once_after_each_while(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await log_in(ledger, "s1", "zoë")
    await log_in(ledger, "s2", "zoë")
    assert await ledger.due_employees(10, EVERY) == ()
    ledger_clock.advance(EVERY)
    assert await ledger.due_employees(10, EVERY) == ("zoë",)
    assert await ledger.due_employees(10, EVERY) == (), "another portal has nothing to do"
    ledger_clock.advance(EVERY)
    assert await ledger.due_employees(10, EVERY) == ("zoë",)


async def test_the_longest_unread_come_first(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    for name in ("b", "c", "a"):
        await log_in(ledger, f"s-{name}", name)
        ledger_clock.advance(1)
    ledger_clock.advance(EVERY)
    assert await ledger.due_employees(2, EVERY) == ("b", "c")
    assert await ledger.due_employees(2, EVERY) == ("a",)


async def test_who_has_no_session_is_not_due(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    await log_in(ledger, "s1", "zoë")
    await ledger.end_session("s1")
    ledger_clock.advance(EVERY)
    assert await ledger.due_employees(10, EVERY) == ()
    assert await ledger.mark_due("employee", "zoë") == 0
    assert await ledger.mark_due("session", "s1") == 0
    await log_in(ledger, "s2", "zoë")
    assert await ledger.due_employees(10, EVERY) == ()


@pytest.mark.parametrize(
    ("kind", "subject", "due"),
    [
        ("session", "s1", ("anna",)),
        ("employee", "anna", ("anna",)),
        ("population", "sales", ("anna", "bert")),
        ("everybody", "", ("anna", "bert", "cleo")),
        ("employee", "nobody", ()),
        ("population", "none", ()),
    ],
)
async def test_who_is_named_is_due_at_once(
    ledger: Ledger, kind: str, subject: str, due: tuple[str, ...]
) -> None:
    await log_in(ledger, "s1", "anna")
    await log_in(ledger, "s2", "anna")
    await log_in(ledger, "s3", "bert")
    await log_in(ledger, "s4", "cleo", "managers")
    assert await ledger.mark_due(kind, subject) == len(due)  # type: ignore[arg-type]
    assert await ledger.mark_due(kind, subject) == 0, "wanted already"  # type: ignore[arg-type]
    assert await ledger.due_employees(10, EVERY) == due
    assert await ledger.due_employees(10, EVERY) == ()


async def test_more_than_one_portion_is_marked(ledger: Ledger) -> None:
    for number in range(1203):
        await log_in(ledger, f"s{number}", f"e{number}")
    assert await ledger.mark_due("population", "sales") == 1203
    assert len(await ledger.due_employees(5000, EVERY)) == 1203


async def test_changed_records_are_told_and_end_nothing(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    first = await log_in(ledger, "s1", "zoë")
    await ledger.admit("zoë", "sales")
    ledger_clock.advance(5)
    changed = replace(
        first, groups=("cn=new",), population="managers", display_name="Zoë Ł", ends_ms=1
    )
    gone = replace(first, id="gone")
    other = replace(first, id="s1", employee="bert")
    assert await ledger.update_sessions("zoë", [changed, gone]) == 1
    assert await ledger.update_sessions("bert", [other]) == 0
    assert await ledger.update_sessions("zoë", [gone]) == 0
    found = await ledger.session("s1")
    assert found is not None
    assert (found.groups, found.population, found.display_name) == (
        ("cn=new",),
        "managers",
        "Zoë Ł",
    )
    (told,) = await revocations(ledger)
    assert (told.kind, told.subject) == ("changed", "zoë")
    assert (await ledger.look("zoë")).state == "seated"
    # The record is the new population's now, for revocations too.
    await ledger.revoke("population", "sales")
    assert await ledger.session("s1") is not None
    await ledger.revoke("population", "managers")
    assert await ledger.session("s1") is None


async def test_what_changed_ends_no_later_revocation_and_survives_none(ledger: Ledger) -> None:
    record = await log_in(ledger, "s1", "zoë")
    await ledger.revoke("employee", "zoë")
    assert await ledger.update_sessions("zoë", [record]) == 0
    assert await ledger.session("s1") is None


async def test_the_youngest_of_many(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    for number in range(5):
        ledger_clock.advance(1)
        await log_in(ledger, f"s{number}", f"e{number}", "sales" if number else "managers")
    total, found = await ledger.list_sessions("population", "sales", 2)
    assert (total, [record.id for record in found]) == (4, ["s4", "s3"])
    total, found = await ledger.list_sessions("everybody", "", 100)
    assert (total, [record.id for record in found]) == (5, ["s4", "s3", "s2", "s1", "s0"])
    assert await ledger.list_sessions("population", "none", 2) == (0, ())


async def test_one_more_session_than_allowed_may_be_refused_instead(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    first = await log_in(ledger, "s1", lifetime=500)
    second = await log_in(ledger, "s2")
    third = replace(second, id="s3")
    with pytest.raises(SessionsFull):
        await ledger.put_session(third, most=2, refuse=True)
    assert await ledger.session("s3") is None
    assert await ledger.session(first.id) is not None, "nobody was evicted"
    assert await ledger.put_session(second, most=2, refuse=True) == (), "the same once more"
    ledger_clock.advance(500)
    assert await ledger.put_session(third, most=2, refuse=True) == ("s1",), "it has ended"
