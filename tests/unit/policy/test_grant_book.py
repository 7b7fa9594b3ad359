"""The book of grants: epochs, learning, leases, the dead."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.policy.grant_book import IDLE_WORKER_MS, SETTLING_MS, TOMBSTONE_MS, GrantBook, Told
from broker.policy.grants import Cell, Holding
from tests.support.grant_world import LEASE_MS, document

A: Cell = ("p", "c0")
NOW = 50_000


def told(
    who: str = "w",
    sequence: int = 1,
    *,
    epoch: str = "e",
    held: int = 0,
    used: int = 0,
    want: int = 0,
    age: int = 1,
    leaving: bool = False,
) -> Told:
    return Told(
        who,
        sequence,
        epoch,
        {A: Holding(held, used)},
        [(A, want, age)] if want else [],
        leaving=leaving,
    )


@pytest.fixture
def book() -> GrantBook:
    book = GrantBook("e", NOW)
    book.put_limits(document(1, 6, 1))
    book.start_first()
    return book


def test_grants_and_books(book: GrantBook) -> None:
    answer = book.sync(told(want=2), NOW)
    assert answer.caps == {A: 2}
    assert answer.leases == {"p": LEASE_MS}
    assert book.held() == {A: 2}


def test_what_was_reported_stays_booked_until_the_next_report(book: GrantBook) -> None:
    book.sync(told(want=4), NOW)
    book.put_limits(document(2, 1, 1))
    assert book.sync(told(sequence=2, held=4, used=4), NOW).caps == {}
    assert book.held() == {A: 4}
    book.sync(told(sequence=3, held=1, used=1), NOW)
    assert book.held() == {A: 1}


def test_without_limits_nothing_is_granted() -> None:
    book = GrantBook("e", NOW, learning=False)
    assert book.sync(told(want=2), NOW).caps == {}
    assert book.sync(told(sequence=2, held=1, used=1), NOW).leases == {}
    assert book.held() == {A: 1}


def test_a_leaving_worker_wakes_who_waits(book: GrantBook) -> None:
    book.sync(told("w", want=6), NOW)
    book.sync(told("v", want=1), NOW)
    assert book.sync(told("w", 2, held=0, leaving=True), NOW).wake
    assert book.held() == {}


def test_a_new_want_that_finds_nothing_wakes_the_others_once(book: GrantBook) -> None:
    book.sync(told("w", want=6), NOW)
    assert book.sync(told("v", 1, want=1), NOW).wake
    assert not book.sync(told("v", 2, want=1), NOW).wake


def test_wants_of_the_silent_reserve_nothing(book: GrantBook) -> None:
    book.sync(told("w", want=6), NOW)
    book.sync(told("v", want=6, age=900), NOW)
    book.sync(told("w", 2), NOW + 900)
    assert book.sync(told("w", 3, want=6), NOW + 900).caps == {A: 3}
    assert book.sync(told("w", 4, want=6), NOW + 1001).caps == {A: 6}


def test_a_lease_is_never_shortened(book: GrantBook) -> None:
    book.sync(told(want=1), NOW)
    limits = document(2, 6, 1)
    short = replace(limits, pools={"p": replace(limits.pools["p"], lease_ms=10)})
    book.put_limits(short)
    assert book.longest_lease_ms == LEASE_MS
    book.sync(told(sequence=2, held=1, used=1), NOW + 1)
    book.pass_time(NOW + 100)
    assert book.held()[A] >= 1
    book.pass_time(NOW + LEASE_MS + 1)
    assert book.held() == {}
    assert book.used() == {}


def test_a_pool_without_a_lease_of_its_own_has_the_longest(book: GrantBook) -> None:
    limits = document(2, 6, 1)
    book.sync(told(want=1), NOW)
    book.put_limits(replace(limits, pools={}))
    book.sync(told(sequence=2, held=1, used=1), NOW)
    assert book.leases == {("p", "w"): NOW + LEASE_MS}


def test_a_silent_worker_that_holds_nothing_is_forgotten(book: GrantBook) -> None:
    book.sync(told(), NOW)
    book.pass_time(NOW + IDLE_WORKER_MS)
    assert "w" in book.workers
    book.pass_time(NOW + IDLE_WORKER_MS + 1)
    assert not book.workers


def test_the_dead_are_refused_for_a_while(book: GrantBook) -> None:
    book.sync(told(want=2), NOW)
    assert book.bury("w", NOW)
    assert not book.bury("w", NOW)
    assert book.sync(told(sequence=2, want=2), NOW).caps == {}
    assert book.held() == {}
    book.pass_time(NOW + TOMBSTONE_MS + 1)
    assert not book.dead


def test_while_learning_nothing_is_granted_and_nothing_lapses(book: GrantBook) -> None:
    book.sync(told("w", want=2), NOW)
    book.sync(told("v", want=2), NOW)
    book.begin_epoch("f", NOW)
    book.pass_time(NOW + LEASE_MS)
    assert book.held() == {A: 4}
    assert book.sync(told("w", 2, epoch="f", held=2, used=2, want=3), NOW).caps == {A: 2}
    assert book.learning
    assert book.sync(told("v", 2, epoch="f"), NOW + SETTLING_MS).caps == {}
    assert not book.learning


def test_who_is_silent_keeps_the_ledger_learning_for_the_longest_lease(book: GrantBook) -> None:
    book.sync(told("w", want=2), NOW)
    book.sync(told("v"), NOW)
    book.begin_epoch("f", NOW)
    book.sync(told("v", 2, epoch="f"), NOW)
    seen = []
    for late in (0, 1):
        book.pass_time(NOW + LEASE_MS + late)
        seen.append(book.learning)
    assert seen == [True, False]


def test_a_report_from_before_is_booked_and_waited_for(book: GrantBook) -> None:
    book.sync(told("w"), NOW)
    book.begin_epoch("f", NOW)
    # The ledger remembers nothing of v, which joined after its last write.
    assert book.sync(told("v", 9, epoch="e", held=3, used=1), NOW).caps == {}
    seen = []
    for report in (told("w", 2, epoch="f"), told("v", 10, epoch="f", held=1, used=1)):
        book.sync(report, NOW + SETTLING_MS)
        seen.append((book.learning, book.held()))
    assert seen == [(True, {A: 3}), (False, {A: 1})]


def test_a_report_from_before_that_comes_late_changes_nothing(book: GrantBook) -> None:
    book.begin_epoch("f", NOW)
    book.sync(told("w", 4, epoch="f", held=1, used=1), NOW)
    book.sync(told("w", 3, epoch="e", held=5, used=5), NOW)
    assert book.held() == {A: 1}


def test_a_report_from_before_never_lowers_what_is_booked(book: GrantBook) -> None:
    book.sync(told("w", want=3), NOW)
    book.begin_epoch("f", NOW)
    book.sync(told("w", 1, epoch="e", held=1, used=1), NOW)
    assert book.held() == {A: 3}


def test_first_start_does_not_end_learning_where_workers_are_remembered(book: GrantBook) -> None:
    book.sync(told("w"), NOW)
    book.begin_epoch("f", NOW)
    book.start_first()
    assert book.learning


def test_a_doubled_report_is_answered_alike(book: GrantBook) -> None:
    first = book.sync(told(want=2), NOW)
    again = book.sync(told(want=2), NOW)
    assert (again.caps, again.leases) == (first.caps, first.leases)
    assert book.held() == {A: 2}
    assert book.sync(told(sequence=0, held=5, used=5), NOW).caps == {A: 2}


def test_a_report_from_before_after_learning_is_booked_only(book: GrantBook) -> None:
    book.sync(told("w", 1, epoch="long ago", held=2, used=2), NOW)
    assert not book.unheard
    assert book.held() == {A: 2}


def test_forgetting_ends_the_lease_too(book: GrantBook) -> None:
    book.sync(told(want=2), NOW)
    assert book.forget("w")
    assert not book.leases
    assert not book.forget("w")


def test_who_joined_after_the_last_write_that_was_kept_is_waited_for(book: GrantBook) -> None:
    book.sync(told("w"), NOW)
    book.begin_epoch("f", NOW)
    seen = []
    for report, late in (
        (told("w", 2, epoch="f"), 1),
        (told("v", 9, epoch="e", held=6, used=6), SETTLING_MS - 1),
        (told("w", 3, epoch="f", want=1), SETTLING_MS + 1),
        (told("v", 10, epoch="f", held=6, used=6), SETTLING_MS + 2),
        (told("w", 4, epoch="f", want=1), SETTLING_MS + 3),
    ):
        caps = book.sync(report, NOW + late).caps
        seen.append((book.learning, caps.get(A, 0)))
    assert seen == [(True, 0), (True, 0), (True, 0), (False, 6), (False, 0)]
