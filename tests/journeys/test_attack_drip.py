"""What little input may cost: measured in bytes looked at, never in seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from broker.gateway import browser as browser_module
from broker.gateway.http1 import broken_newline
from tests.support.stage import FEED, Stage


@pytest.mark.in_place
async def test_a_head_that_drips_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    real = broken_newline

    def counting(data: bytes | bytearray, *rest: Any) -> bool:
        nonlocal looked_at
        looked_at += len(data) - (rest[0] if rest else 0)
        return real(data, *rest)

    monkeypatch.setattr(browser_module, "broken_newline", counting)
    async with Stage() as stage:
        wire = await stage.browser()
        head = b"GET / HTTP/1.1\r\nHost: " + FEED + b"\r\nX: " + b"a" * 8000
        for at in range(0, len(head), 8):
            await wire.send(head[at : at + 8])
            await asyncio.sleep(0)
            while stage.gateway.statistics().browsers != 1:
                await asyncio.sleep(0)
        await wire.send(b"\r\n\r\n")
        assert (await wire.response())[0] == 401
    assert looked_at < 20 * len(head)
