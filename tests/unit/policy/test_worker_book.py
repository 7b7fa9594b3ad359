"""One worker's half of escrow: debits, caps, fences, epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from broker.policy.grants import Cell, Holding
from broker.policy.worker_book import FENCE_MARGIN, Accepted, CellUse, WorkerBook

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.policy.limits import LimitsDocument

A: Cell = ("p", "a")


@dataclass(frozen=True)
class Reply:
    sequence: int
    caps: Mapping[Cell, int] = field(default_factory=dict)
    epoch: str = "e"
    learning: bool = False
    leases: Mapping[str, int] = field(default_factory=lambda: {"p": 10_000})
    limits: LimitsDocument | None = None
    starved: tuple[Cell, ...] = ()
    bases: Mapping[Cell, int] = field(default_factory=dict)


@pytest.fixture
def book() -> WorkerBook:
    """Knows the epoch, holds nothing."""
    book = WorkerBook("w")
    book.report(0.0, [])
    assert book.accept(Reply(1)) is Accepted.EPOCH
    return book


def grant(book: WorkerBook, now: float, cap: int, **more: object) -> Accepted:
    book.report(now, [])
    return book.accept(Reply(book.sequence, {A: cap}, **more))  # type: ignore[arg-type]


def use(used: int, *, peak: int = 0, waiting: int = 0, since: float | None = None) -> CellUse:
    return CellUse("p", "a", used=used, peak=peak, waiting=waiting, oldest_wait=since)


def test_the_lease_counts_from_before_sending(book: WorkerBook) -> None:
    assert book.fence_at("p") == 0.0
    assert grant(book, 100.0, 3) is Accepted.CAPS
    assert book.cap(*A) == 3
    assert book.fence_at("p") == 110.0 - FENCE_MARGIN
    assert list(book.cells()) == [A]


def test_unused_slices_are_debited_before_the_report(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    told = book.report(1.25, [use(2, peak=3)])
    assert told.cells[A] == Holding(held=3, used=2)
    assert book.cap(*A) == 3


def test_a_peak_counts_for_a_tick(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    book.report(1.0, [use(2, peak=4)])
    book.accept(Reply(book.sequence, {A: 4}))
    assert book.report(1.1, [use(1, peak=2)]).cells[A].held == 4
    book.accept(Reply(book.sequence, {A: 4}))
    assert book.report(1.3, [use(1, peak=2)]).cells[A].held == 2


def test_a_cell_nobody_uses_goes_home(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    assert book.report(2.0, []).cells[A] == Holding(0, 0)
    assert not list(book.cells())


def test_the_base_is_kept(book: WorkerBook) -> None:
    grant(book, 1.0, 5, bases={A: 2})
    assert book.report(2.0, [use(1)]).cells[A].held == 3


def test_a_base_that_is_wanted_elsewhere_is_due(book: WorkerBook) -> None:
    seen = []
    for bases in ({A: 2}, {}, {}):
        grant(book, 1.0, 2, bases=bases)
        seen.append(book.due)
    assert seen == [False, True, False]
    assert book.report(2.1, []).cells[A].held == 0


def test_while_others_starve_only_what_is_in_use_is_kept(book: WorkerBook) -> None:
    grant(book, 1.0, 5, starved=(A,))
    told = book.report(1.1, [use(2, peak=5)])
    assert told.cells[A].held == 2
    assert not told.wants


def test_nothing_is_debited_while_the_ledger_is_silent(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    assert book.report(2.0, [use(3)]).cells[A].held == 3
    assert book.report(3.0, [use(0)]).cells[A].held == 3
    assert book.cap(*A) == 3


def test_a_cap_below_use_returns_what_ends(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    book.report(1.1, [use(5)])
    book.accept(Reply(book.sequence, {A: 2}))
    assert book.report(1.2, [use(4)]).cells[A] == Holding(held=4, used=4)
    assert book.cap(*A) == 2


def test_only_the_latest_reply_counts(book: WorkerBook) -> None:
    book.report(1.0, [])
    book.report(1.1, [])
    assert book.accept(Reply(book.sequence - 1, {A: 9})) is Accepted.STALE
    assert book.cap(*A) == 0


def test_a_new_epoch_changes_neither_caps_nor_fences(book: WorkerBook) -> None:
    grant(book, 1.0, 3)
    fence = book.fence_at("p")
    book.report(2.0, [use(3)])
    assert book.accept(Reply(book.sequence, {A: 9}, epoch="f", learning=True)) is Accepted.EPOCH
    assert (book.cap(*A), book.fence_at("p"), book.epoch) == (3, fence, "f")
    assert book.limits_known == 0
    assert book.learning


def test_past_the_fence_nothing_is_held_but_what_is_in_use(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    told = book.report(book.fence_at("p"), [use(2)])
    assert told.cells[A] == Holding(held=2, used=2)
    assert book.cap(*A) == 0


def test_wants_of_who_waits_carry_their_age(book: WorkerBook) -> None:
    told = book.report(2.0, [use(0, waiting=3, since=1.5)])
    assert told.wants == [(A, 3, 500)]
    assert book.report(2.0, [use(0, waiting=3)]).wants == [(A, 3, 1)]


def test_nearly_spent_foresees_a_quarter_more(book: WorkerBook) -> None:
    grant(book, 1.0, 16)
    assert book.report(1.1, [use(15, peak=16)]).wants == [(A, 3, 0)]
    book.accept(Reply(book.sequence, {A: 16}))
    assert not book.report(1.2, [use(8, peak=16)]).wants


def test_leaving_gives_all_back_and_wants_nothing(book: WorkerBook) -> None:
    grant(book, 1.0, 5)
    told = book.report(1.1, [use(1, waiting=4, since=1.0)], leaving=True)
    assert told.cells[A] == Holding(1, 1)
    assert not told.wants
    assert told.leaving


def test_knows_the_limits_that_came_with_its_caps(book: WorkerBook) -> None:
    from tests.support.grant_world import document

    grant(book, 1.0, 1, limits=document(7, 1, 1))
    assert book.limits_known == 7
