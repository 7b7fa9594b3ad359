"""The Lua in a real Redis and the twin answer every call alike, at the same ledger time.

Admission arithmetic exists twice, in ``policy/`` and in Lua; this is what keeps the two equal. All
invariants are checked on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.seat_world import SeatWorld
from tests.properties.session_world import SessionWorld
from tests.support.lua_scripts import LuaScripts

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

SAME = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.mark.parametrize("world", [SeatWorld, SessionWorld])
@pytest.mark.usefixtures("redis_url")
def test_lua_and_twin_answer_alike(world: type[SeatWorld], redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        scripts = LuaScripts(client, "broker:{twin}:")
        run_state_machine_as_test(type("Both", (world,), {"scripts": scripts}), settings=SAME)


@pytest.mark.usefixtures("redis_url")
def test_a_difference_of_one_is_noticed(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutation of the Lua must fail: an owner that ignores what others never lend."""
    with redis_server.client() as client:
        scripts = LuaScripts(client, "broker:{twin}:")
        right = "total + 1 + kept - limits.limit"
        assert right in scripts.head
        monkeypatch.setattr(
            scripts, "head", scripts.head.replace(right, "total + 1 - limits.limit")
        )
        found = settings(
            SAME, max_examples=400, phases=(Phase.generate,), report_multiple_bugs=False
        )
        with pytest.raises(AssertionError):
            run_state_machine_as_test(
                type("Both", (SeatWorld,), {"scripts": scripts}), settings=found
            )
