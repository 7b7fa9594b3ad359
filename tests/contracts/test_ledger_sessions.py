"""Sessions, revocations and things used once: what the port promises, on twin and Redis alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.errors import LedgerLearning
from broker.ledger.port import Revocation, SessionRecord, SyncReport

if TYPE_CHECKING:
    from broker.ledger.port import Ledger, RevocationKind
    from tests.support.ledgers import LedgerClock

HOURS_12 = 43_200_000


async def ledger_now(ledger: Ledger) -> int:
    return (await ledger.usage()).ledger_ms


async def log_in(
    ledger: Ledger,
    session_id: str,
    employee: str = "zoë",
    population: str = "sales",
    *,
    lifetime: int = HOURS_12,
    most: int = 10,
) -> SessionRecord:
    created = await ledger_now(ledger)
    record = SessionRecord(
        id=session_id,
        employee=employee,
        display_name="Zoë Łuk",
        population=population,
        groups=("cn=sales,dc=example,dc=org", "cn=all,dc=example,dc=org"),
        created_ms=created,
        ends_ms=created + lifetime,
        address="192.0.2.7",
        agent='Mozilla/5.0 "quoted"',
    )
    await ledger.put_session(record, most=most)
    return record


async def revocations(ledger: Ledger, known: int = 0) -> tuple[Revocation, ...]:
    """What a worker hears that knows the first ``known``."""
    first = await ledger.sync(SyncReport("w1", 1, ""))
    report = SyncReport("w1", 2, first.epoch, revocations_known=known)
    return (await ledger.sync(report)).revocations


async def test_a_record_comes_back_as_it_was_stored(ledger: Ledger) -> None:
    record = await log_in(ledger, "s1")
    assert await ledger.session("s1") == record
    assert list(await ledger.sessions("zoë")) == [record]
    assert await ledger.session("unknown") is None
    assert list(await ledger.sessions("nobody")) == []


async def test_the_oldest_beyond_the_most_is_evicted_and_revoked(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    for number in range(3):
        ledger_clock.advance(1)
        await log_in(ledger, f"s{number}")
    ledger_clock.advance(1)
    now = await ledger_now(ledger)
    newest = SessionRecord("s3", "zoë", "", "sales", (), now, now + HOURS_12)
    assert await ledger.put_session(newest, most=2) == ("s0", "s1")
    assert [record.id for record in await ledger.sessions("zoë")] == ["s2", "s3"]
    assert [(r.kind, r.subject) for r in await revocations(ledger)] == [
        ("session", "s0"),
        ("session", "s1"),
    ]


async def test_a_session_ends_by_its_absolute_lifetime_and_gives_the_last_seat_back(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await log_in(ledger, "s1", lifetime=2500)
    await ledger.admit("zoë", "sales")
    for _ in range(3):
        assert await ledger.session("s1") is not None
        ledger_clock.advance(1000)
    assert await ledger.session("s1") is None
    await ledger.sync(SyncReport("w1", 1, ""))
    assert (await ledger.look("zoë")).state == "gone"


async def test_logging_out_the_last_browser_gives_the_seat_back(ledger: Ledger) -> None:
    await log_in(ledger, "s1")
    await log_in(ledger, "s2")
    await ledger.admit("zoë", "sales")
    assert await ledger.end_session("s1")
    assert (await ledger.look("zoë")).state == "seated"
    assert await ledger.end_session("s2")
    assert (await ledger.look("zoë")).state == "gone"
    assert not await ledger.end_session("s2")
    assert [r.subject for r in await revocations(ledger)] == ["s1", "s2"]


async def test_logging_out_a_session_that_the_ledger_forgot_is_told_all_the_same(
    ledger: Ledger,
) -> None:
    assert not await ledger.end_session("forgotten")
    assert [(r.kind, r.subject) for r in await revocations(ledger)] == [("session", "forgotten")]


async def test_revoking_frees_seats_and_is_told_in_the_order_of_its_numbers(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    people = {"ann": "managers", "bob": "sales", "carl": "sales", "dora": "managers"}
    for employee, population in people.items():
        await log_in(ledger, f"s-{employee}", employee, population)
        await ledger.admit(employee, population)

    async def seated() -> list[str]:
        return [e for e in people if (await ledger.look(e)).state == "seated"]

    named: list[tuple[RevocationKind, str]] = [
        ("session", "s-ann"),
        ("employee", "bob"),
        ("population", "sales"),
        ("everybody", ""),
    ]
    left = []
    for number, (kind, subject) in enumerate(named, 1):
        assert await ledger.revoke(kind, subject) == number
        left.append(await seated())
    assert left == [["bob", "carl", "dora"], ["carl", "dora"], ["dora"], []]
    assert [(r.number, r.kind, r.subject) for r in await revocations(ledger, known=1)] == [
        (2, "employee", "bob"),
        (3, "population", "sales"),
        (4, "everybody", ""),
    ]
    assert await ledger.session("s-dora") is None
    ledger_clock.advance(1)
    await log_in(ledger, "s-new", "dora", "managers")  # a login after it is not concerned
    assert await ledger.session("s-new") is not None


async def test_a_revocation_of_many_reaches_all_of_them(ledger: Ledger) -> None:
    for number in range(620):
        await log_in(ledger, f"s{number}", f"e{number}")
    await ledger.revoke("everybody", "")
    assert await ledger.session("s0") is None
    assert await ledger.session("s619") is None
    assert list(await ledger.sessions("e300")) == []


async def test_what_a_revocation_names_cannot_be_stored_again(ledger: Ledger) -> None:
    record = await log_in(ledger, "s1")
    await ledger.end_session("s1")
    assert await ledger.put_session(record, most=10) == ("s1",)
    assert await ledger.session("s1") is None


async def test_revocations_are_kept_as_long_as_a_session_may_live(
    virgin_ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    """What a worker writes back from long ago is dropped again; what is recent stays."""
    now = await ledger_now(virgin_ledger)
    old = Revocation(1, "session", "old", now - HOURS_12 - 1)
    recent = Revocation(2, "session", "recent", now - HOURS_12 + 60_000)
    await virgin_ledger.restore((old, recent), (), ())
    await virgin_ledger.revoke("session", "new")
    assert [r.subject for r in await revocations(virgin_ledger)] == ["recent", "new"]


async def test_writing_back_restores_what_is_absent_and_nothing_that_was_revoked(
    virgin_ledger: Ledger,
) -> None:
    ledger = virgin_ledger
    now = await ledger_now(ledger)

    def record(session_id: str, employee: str, ends: int = HOURS_12) -> SessionRecord:
        return SessionRecord(session_id, employee, "", "sales", (), now - 5_000, now - 5_000 + ends)

    kept, revoked, past = record("s1", "ann"), record("s2", "bob"), record("s3", "carl", 10)
    seats = (("ann", "sales", 0), ("bob", "sales", 0), ("carl", "sales", 0))
    heard = Revocation(77, "employee", "bob", now - 1_000)
    await ledger.restore((heard,), (kept, revoked, past), seats)
    await ledger.restore((heard,), (kept,), ())  # another worker knows the same
    assert await ledger.session("s1") == kept
    for session_id in ("s2", "s3"):
        # Not stored; but while it learns the ledger cannot say so: it may come with another worker.
        with pytest.raises(LedgerLearning):
            await ledger.session(session_id)
    assert (await ledger.usage()).occupied.get("sales") == 1
    assert [(r.kind, r.subject, r.ledger_ms) for r in await revocations(ledger)] == [
        ("employee", "bob", now - 1_000)
    ]


async def test_things_used_once_are_stored_once_taken_once_and_end(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    value = b"\x00 any bytes \xff"
    assert await ledger.put_once("code", "k", value, 1500)
    assert not await ledger.put_once("code", "k", b"other", 1500)
    assert await ledger.peek_once("code", "k") == value
    assert await ledger.take_once("code", "k") == value
    assert await ledger.take_once("code", "k") is None
    assert await ledger.put_once("code", "k", b"", 1500)
    assert await ledger.peek_once("form", "k") is None
    ledger_clock.advance(1000)
    assert await ledger.peek_once("code", "k") == b""
    ledger_clock.advance(1000)
    assert await ledger.take_once("code", "k") is None


async def test_of_what_strangers_can_make_the_latest_are_kept(ledger: Ledger) -> None:
    for number in range(5):
        assert await ledger.put_once("return", f"r{number}", b"%d" % number, 60_000, most=3)
    assert not await ledger.put_once("return", "r4", b"again", 60_000, most=3)
    kept = [await ledger.peek_once("return", f"r{number}") for number in range(5)]
    assert kept == [None, None, b"2", b"3", b"4"]
    assert await ledger.put_once("code", "r9", b"other kind", 60_000)
    assert await ledger.peek_once("return", "r2") == b"2"


async def test_every_end_of_a_session_wakes_the_workers(ledger: Ledger) -> None:
    """Other workers still serve the session until they hear of it: a page is faster than a tick."""
    await log_in(ledger, "s1")
    await log_in(ledger, "s2")
    wakeups = await ledger.wakeups()
    try:
        await log_in(ledger, "s3", most=3)
        assert not await wakeups.next(0.05), "nothing ended"
        await log_in(ledger, "s4", most=3)  # the oldest is evicted
        assert await wakeups.next(5.0)
        await ledger.end_session("s2")
        assert await wakeups.next(5.0)
        await ledger.end_session("s2")
        assert not await wakeups.next(0.05), "it had ended already"
        await ledger.revoke("session", "s3")
        assert await wakeups.next(5.0)
    finally:
        await wakeups.close()


async def test_lists_say_when_a_session_was_used_last(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await log_in(ledger, "s1")
    await log_in(ledger, "s2")
    for _ in range(3):
        ledger_clock.advance(900)
        await ledger.look("zoë")
    now = await ledger_now(ledger)
    await ledger.sync(SyncReport("w1", 1, "", sessions_used=("s1", "unknown")))
    used = {record.id: record.last_seen_ms for record in await ledger.sessions("zoë")}
    assert used == {"s1": now, "s2": 0}
    _, listed = await ledger.list_sessions("everybody", "", 10)
    assert {record.id: record.last_seen_ms for record in listed} == used
    await ledger.end_session("s1")
    restored = SessionRecord("s3", "zoë", "", "sales", (), now, now + HOURS_12)
    await ledger.put_session(restored, most=10)
    assert {record.id: record.last_seen_ms for record in await ledger.sessions("zoë")} == {
        "s2": 0,
        "s3": 0,
    }


@pytest.mark.parametrize("refuse", [False, True])
async def test_a_session_that_replaces_another_keeps_the_seat(
    ledger: Ledger, ledger_clock: LedgerClock, refuse: bool
) -> None:
    """Although somebody waits for it, and although one more would be too many."""
    await log_in(ledger, "s1", "zoë")
    await ledger.admit("zoë", "sales")
    for other in range(20):
        await ledger.admit(f"other{other}", "sales")
    ledger_clock.advance(1)
    now = await ledger_now(ledger)
    again = SessionRecord("s2", "zoë", "", "sales", (), now, now + HOURS_12)
    assert await ledger.put_session(again, most=1, refuse=refuse, replaced="s1") == ()
    assert [record.id for record in await ledger.sessions("zoë")] == ["s2"]
    assert [(r.kind, r.subject) for r in await revocations(ledger)] == [("session", "s1")]
    assert (await ledger.look("zoë")).state == "seated"


async def test_a_session_that_replaces_another_keeps_the_place(ledger: Ledger) -> None:
    await log_in(ledger, "s1", "zoë")
    for other in range(20):
        await ledger.admit(f"other{other}", "sales")
    before = await ledger.admit("zoë", "sales")
    assert before.state == "waiting"
    await ledger.admit("later", "sales")
    now = await ledger_now(ledger)
    again = SessionRecord("s2", "zoë", "", "sales", (), now, now + HOURS_12)
    await ledger.put_session(again, most=10, replaced="s1")
    assert (await ledger.admit("zoë", "sales")).position == before.position


async def test_nobody_replaces_a_session_of_somebody_else(ledger: Ledger) -> None:
    await log_in(ledger, "s1", "zoë")
    now = await ledger_now(ledger)
    mine = SessionRecord("s2", "eve", "", "sales", (), now, now + HOURS_12)
    await ledger.put_session(mine, most=10, replaced="s1")
    assert [record.id for record in await ledger.sessions("zoë")] == ["s1"]
    assert await revocations(ledger) == ()


async def test_a_look_says_for_how_long_the_seat_was_idle(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await ledger.admit("zoë", "sales")
    for _ in range(3):
        ledger_clock.advance(900)
        await ledger.usage()
    assert (await ledger.look("zoë")).idle_ms == 2700
    assert (await ledger.admit("zoë", "sales")).idle_ms is None
    assert (await ledger.look("zoë")).idle_ms == 0
    assert (await ledger.look("nobody")).idle_ms is None
