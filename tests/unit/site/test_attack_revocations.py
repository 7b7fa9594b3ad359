"""One logout costs the worker one look, however many others are logged in or have been."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broker.ledger.memory import MemoryLedger
from broker.ledger.port import Revocation, SessionRecord
from broker.site import session_cache as module
from broker.site.session_cache import SessionCache
from broker.site.tokens import KeyRing, Tokens

if TYPE_CHECKING:
    import pytest


class Time:
    epoch = "e"

    def now_ms(self) -> int:
        return 1_000_000


def record(number: int) -> SessionRecord:
    return SessionRecord(f"s{number}", f"e{number}", "x", "everyone", (), 0, 50_000_000)


def test_a_logout_does_not_look_at_every_session(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0
    real = module.names

    def counting(*given: object) -> bool:
        nonlocal looks
        looks += 1
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "names", counting)
    tokens = Tokens(KeyRing.from_json(KeyRing.generate()), "t", time.time, 900)
    cache = SessionCache(
        tokens, MemoryLedger(lambda: 0), Time(), lambda name: name,  # type: ignore[arg-type]
        clock=time.monotonic, wall_clock=time.time, token_refresh=300, lifetime=43_200,
    )  # fmt: skip
    for number in range(1000):
        cache._admit_record(record(number))
    cache.revoke(Revocation(1, "session", "s500", 1_000_000))
    assert cache.person("e500") is None
    assert looks < 10
