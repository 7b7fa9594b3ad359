"""Spending a grant on one worker: never above the cap nor after the fence, in order of arrival."""

from __future__ import annotations

import asyncio

import pytest

from broker.site.admission import Cell, Person, Spending


class Boot:
    """A boot-time clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def boot() -> Boot:
    return Boot()


@pytest.fixture
def person() -> Person:
    return Person("anna", "sales", "h")


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def cell(boot: Boot, asked: list[str]) -> Cell:
    spending = Spending(64, lambda: asked.append("sync"), boot)
    cell = spending.cell("feed", "sales")
    cell.fence_at = 200.0
    return cell


def test_a_cell_spends_its_cap_and_not_one_more(cell: Cell, person: Person) -> None:
    cell.cap = 2
    assert cell.take(person, 100.0) is not None
    assert cell.take(person, 100.0) is not None
    assert cell.take(person, 100.0) is None
    assert (cell.used, person.in_flight) == (2, 2)


def test_the_last_one_spent_asks_for_more(cell: Cell, person: Person, asked: list[str]) -> None:
    cell.cap = 2
    cell.take(person, 100.0)
    assert asked == []
    cell.take(person, 100.0)
    assert asked == ["sync"]


def test_releasing_twice_changes_nothing(cell: Cell, person: Person) -> None:
    cell.cap = 1
    hold = cell.take(person, 100.0)
    assert hold is not None
    hold.release()
    hold.release()
    assert (cell.used, person.in_flight) == (0, 0)


def test_behind_the_fence_nothing_is_spent(cell: Cell, person: Person) -> None:
    cell.cap = 1
    assert cell.take(person, 200.0) is None
    assert cell.take(person, 199.9) is not None


def test_a_lowered_cap_throws_nobody_out_and_lets_nobody_in(cell: Cell, person: Person) -> None:
    cell.cap = 3
    holds = [cell.take(person, 100.0) for _ in range(3)]
    cell.cap = 1
    assert all(holds)
    assert cell.take(person, 100.0) is None
    for hold in holds[:2]:
        assert hold is not None
        hold.release()
    assert cell.take(person, 100.0) is None
    assert cell.used == 1


async def test_who_waits_is_served_in_order_and_before_newcomers(
    cell: Cell, person: Person
) -> None:
    cell.cap = 1
    first = cell.take(person, 100.0)
    assert first is not None
    order: list[int] = []

    async def wait(number: int) -> None:
        hold = await cell.wait(person, 30)
        assert hold is not None
        order.append(number)
        hold.release()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(wait(number))
            await asyncio.sleep(0)
        assert len(cell.waiters) == 3
        first.release()
        assert cell.take(person, 100.0) is None
    assert order == [0, 1, 2]
    assert (cell.used, len(cell.waiters)) == (0, 0)


async def test_waiting_ends_with_nothing_when_its_time_has_passed(
    cell: Cell, person: Person
) -> None:
    assert await cell.wait(person, 0.0) is None
    assert not cell.waiters


async def test_one_who_leaves_while_being_served_gives_it_back(cell: Cell, person: Person) -> None:
    waiting = asyncio.create_task(cell.wait(person, 30))
    await asyncio.sleep(0)
    cell.cap = 1
    cell.serve_waiters()
    assert cell.used == 1
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (cell.used, person.in_flight) == (0, 0)
