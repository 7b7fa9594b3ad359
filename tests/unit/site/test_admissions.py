"""Admissions that share a call: whoever leaves, or whatever goes wrong, the others are answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from broker.errors import LedgerAway
from broker.ledger.port import SeatAnswer
from broker.site.claims import Admissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.ledger.port import Ledger

PATIENCE = 5.0


class GatedLedger:
    """Answers a call when it is told to, with a fault if there is one."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.gates: list[asyncio.Future[Exception | None]] = []

    async def admit_all(self, asked: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        self.calls.append([employee for employee, _ in asked])
        gate: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.gates.append(gate)
        fault = await gate
        if fault is not None:
            raise fault
        return [SeatAnswer("seated", population=employee) for employee, _ in asked]


class Desk:
    def __init__(self) -> None:
        self.ledger = GatedLedger()
        self.admissions = Admissions(cast("Ledger", self.ledger))

    async def ask(self, employee: str) -> asyncio.Task[SeatAnswer]:
        task = asyncio.create_task(self.admissions.admit(employee, "sales"))
        await asyncio.sleep(0)
        return task

    async def called(self, times: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.ledger.calls) < times:
                await asyncio.sleep(0)


async def answer(task: asyncio.Task[SeatAnswer]) -> str:
    async with asyncio.timeout(PATIENCE):
        return (await task).population


async def test_those_who_ask_meanwhile_share_the_next_call() -> None:
    desk = Desk()
    tasks = [await desk.ask(name) for name in "abc"]
    desk.ledger.gates[0].set_result(None)
    await desk.called(2)
    desk.ledger.gates[1].set_result(None)
    assert [await answer(task) for task in tasks] == ["a", "b", "c"]
    assert desk.ledger.calls == [["a"], ["b", "c"]]


async def test_one_who_leaves_as_the_answer_comes_keeps_nobody_waiting() -> None:
    """Cancelled in the turn in which the next call is to be handed to him."""
    desk = Desk()
    first, leaving, last = [await desk.ask(name) for name in "abc"]
    desk.ledger.gates[0].set_result(None)
    leaving.cancel()
    assert await answer(first) == "a"
    await desk.called(2)
    desk.ledger.gates[1].set_result(None)
    assert await answer(last) == "c"
    later = await desk.ask("d")
    desk.ledger.gates[2].set_result(None)
    assert await answer(later) == "d"


async def test_one_who_leaves_while_carrying_hands_on() -> None:
    desk = Desk()
    first, second = [await desk.ask(name) for name in "ab"]
    first.cancel()
    await desk.called(2)
    desk.ledger.gates[1].set_result(None)
    assert await answer(second) == "b"


async def test_a_fault_that_nobody_expected_is_that_callers_alone() -> None:
    desk = Desk()
    first, second, third = [await desk.ask(name) for name in "abc"]
    desk.ledger.gates[0].set_result(None)
    assert await answer(first) == "a"
    await desk.called(2)
    desk.ledger.gates[1].set_result(RuntimeError("a bug"))
    with pytest.raises(RuntimeError):
        await answer(second)
    await desk.called(3)
    desk.ledger.gates[2].set_result(None)
    assert await answer(third) == "c"


async def test_a_ledger_that_is_away_is_told_to_all_who_shared_the_call() -> None:
    desk = Desk()
    first, second, third = [await desk.ask(name) for name in "abc"]
    desk.ledger.gates[0].set_result(None)
    await answer(first)
    await desk.called(2)
    desk.ledger.gates[1].set_result(LedgerAway("away"))
    for task in (second, third):
        with pytest.raises(LedgerAway):
            await answer(task)
