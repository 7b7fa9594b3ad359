"""One at a time per key, in order, and nothing remembered afterwards."""

from __future__ import annotations

import asyncio

import pytest

from broker.directory.turns import Turns
from broker.errors import Busy


async def test_one_at_a_time_in_order_of_arrival() -> None:
    turns = Turns(10)
    order: list[str] = []

    async def visit(number: int) -> None:
        async with turns.turn("anna"):
            order.append(f"in {number}")
            await asyncio.sleep(0)
            order.append(f"out {number}")

    await asyncio.gather(*(visit(n) for n in range(3)))
    assert order == ["in 0", "out 0", "in 1", "out 1", "in 2", "out 2"]
    assert len(turns) == 0


async def test_different_keys_do_not_wait_for_each_other() -> None:
    turns = Turns(1)
    async with turns.turn("anna"), turns.turn("awa"):
        assert len(turns) == 2


async def test_too_many_are_told_at_once() -> None:
    turns = Turns(1)
    async with turns.turn("anna"):
        with pytest.raises(Busy):
            async with turns.turn("anna"):
                raise AssertionError
    async with turns.turn("anna"):
        pass


async def test_one_who_gives_up_waiting_leaves_nothing_behind() -> None:
    turns = Turns(2)

    async def visit() -> None:
        async with turns.turn("anna"):
            raise AssertionError

    async with turns.turn("anna"):
        waiting = asyncio.create_task(visit())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(turns) == 0
