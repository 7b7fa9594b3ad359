"""A tombstone is written until the ledger took it, whatever goes wrong on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.errors import LedgerAway
from broker.supervisor.tombstones import Tombstones

if TYPE_CHECKING:
    import pytest


class Clock:
    """Time that passes only in ``asyncio.sleep``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


class Book:
    """A ledger that fails as often as it was told, each time differently."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.written: list[str] = []

    async def write(self, incarnation: str) -> bool:
        if self.failures:
            self.failures -= 1
            raise LedgerAway("away") if self.failures % 2 else RuntimeError("a bug")
        self.written.append(incarnation)
        return False  # unknown to the ledger: just as good


async def test_taken_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, book = Clock(monkeypatch), Book(0)
    tombstones = Tombstones(book.write, clock)
    await tombstones.bury("h/b/1")
    assert book.written == ["h/b/1"]
    assert clock.pauses == []
    assert tombstones.waiting == set()


async def test_tried_again_with_growing_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, book = Clock(monkeypatch), Book(6)
    await Tombstones(book.write, clock).bury("h/b/1")
    assert book.written == ["h/b/1"]
    assert clock.pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


async def test_given_up_only_when_the_host_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, book = Clock(monkeypatch), Book(1000)
    tombstones = Tombstones(book.write, clock)
    tombstones.give_up_in(2.0)
    await tombstones.bury("h/b/1")
    assert clock.now == 2.0
    assert tombstones.waiting == {"h/b/1"}
    assert "its grants return with its lease" in caplog.text


async def test_an_outage_is_told_at_its_start_and_at_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await Tombstones(Book(30).write, Clock(monkeypatch)).bury("h/b/1")
    assert [(record.levelname, record.message.split()[0]) for record in caplog.records] == [
        ("WARNING", "no"),
        ("INFO", "tombstone"),
    ]
