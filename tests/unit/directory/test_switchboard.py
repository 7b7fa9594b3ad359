"""Few lines, many askers: who gets one, in which order, and what happens when they leave."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, cast

import pytest

from broker.directory.cutoff import Cutoff
from broker.directory.switchboard import Statistics, Switchboard
from broker.errors import Busy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.directory.line import Line

PATIENCE = 20.0


class FakeLine:
    """A line whose conversation lasts until ``go`` or the cut."""

    def __init__(self) -> None:
        self.cutoff = Cutoff()
        self.go = threading.Event()
        self.closed = False

    def block(self) -> str:
        for _ in range(int(PATIENCE * 100)):
            if self.go.wait(0.01):
                return "went"
            if self.cutoff.passed:
                return "cut"
        raise AssertionError("nobody came")

    def close(self) -> None:
        self.closed = True


def block(line: Line) -> str:
    return cast("FakeLine", line).block()


def never() -> bool:
    return False


@pytest.fixture
def lines() -> list[FakeLine]:
    return [FakeLine(), FakeLine()]


@pytest.fixture
async def board(lines: list[FakeLine]) -> AsyncIterator[Switchboard]:
    switchboard = Switchboard(cast("list[Line]", lines), queue=1)
    yield switchboard
    async with asyncio.timeout(PATIENCE):
        await switchboard.close(PATIENCE)


async def test_an_answer_and_an_error_come_through(board: Switchboard) -> None:
    assert await board.talk(lambda line: 42, never) == 42
    with pytest.raises(ZeroDivisionError):
        await board.talk(lambda line: 1 // 0, never)
    assert await _home(board)


def test_places_are_bounded_and_given_back() -> None:
    board = Switchboard(cast("list[Line]", [FakeLine()]), queue=1)
    with board.place(), board.place():
        assert board.statistics() == Statistics(present=2, places=2, free=1, lines=1)
        with pytest.raises(Busy), board.place():
            raise AssertionError
    with board.place():
        pass


async def test_those_who_have_begun_go_first(board: Switchboard, lines: list[FakeLine]) -> None:
    order: list[str] = []

    async def ask(name: str, *, first: bool) -> None:
        await board.talk(lambda line: order.append(name), never, first=first)

    busy = [asyncio.create_task(board.talk(block, never)) for _ in lines]
    await asyncio.sleep(0)
    tasks = []
    for name, first in (("new 1", False), ("new 2", False), ("begun 1", True), ("begun 2", True)):
        tasks.append(asyncio.create_task(ask(name, first=first)))
        await asyncio.sleep(0)
    lines[1].go.set()  # one line comes home, the other stays busy
    await asyncio.gather(*tasks)
    assert order == ["begun 1", "begun 2", "new 1", "new 2"]
    lines[0].go.set()
    assert await asyncio.gather(*busy) == ["went", "went"]


async def test_one_who_leaves_cuts_the_line_and_it_comes_home(board: Switchboard) -> None:
    task = asyncio.create_task(board.talk(block, lambda: True))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await _home(board)
    assert await board.talk(lambda line: line.cutoff.passed, never) is False


async def test_one_who_leaves_while_waiting_is_forgotten(
    board: Switchboard, lines: list[FakeLine]
) -> None:
    busy = [asyncio.create_task(board.talk(block, never)) for _ in lines]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(board.talk(block, never))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    for line in lines:
        line.go.set()
    await asyncio.gather(*busy)
    assert await _home(board)


async def test_one_who_leaves_at_the_moment_the_line_is_handed_over(
    board: Switchboard, lines: list[FakeLine]
) -> None:
    busy = [asyncio.create_task(board.talk(block, never)) for _ in lines]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(board.talk(block, never))
    await asyncio.sleep(0)
    board._give_back(cast("Line", extra := FakeLine()))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert extra in cast("list[FakeLine]", board._free)
    board._free.clear()
    for line in lines:
        line.go.set()
    await asyncio.gather(*busy)


async def test_closing_ends_everything(board: Switchboard, lines: list[FakeLine]) -> None:
    tasks = [asyncio.create_task(board.talk(block, never)) for _ in range(3)]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await board.close(PATIENCE)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert answers[:2] == ["cut", "cut"]
    assert isinstance(answers[2], Busy)
    assert all(line.closed for line in lines)
    with pytest.raises(Busy):
        await board.talk(block, never)


async def test_closing_leaves_a_thread_behind_that_nothing_can_stop(
    lines: list[FakeLine], caplog: pytest.LogCaptureFixture
) -> None:
    board = Switchboard(cast("list[Line]", lines), queue=1)
    stuck = threading.Event()
    task = asyncio.create_task(board.talk(lambda line: stuck.wait(PATIENCE), never))
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE / 2):
        await board.close(patience=0.01)
    assert [line.closed for line in lines] == [False, True]
    assert caplog.messages == ["directory threads left behind: 1"]
    stuck.set()
    assert await task is True


async def _home(board: Switchboard) -> bool:
    async with asyncio.timeout(PATIENCE):
        while board.statistics().free < board.statistics().lines:
            await asyncio.sleep(0.001)
    return True
