"""The Lua in a real Redis and the twin answer every call alike, at the same ledger time.

Admission arithmetic exists twice, in ``policy/`` and in Lua; this is what keeps the two equal. All
invariants are checked on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.busy_site import BusySite
from tests.properties.seat_world import SeatWorld
from tests.properties.session_world import SessionWorld
from tests.support.lua_scripts import LuaScripts

if TYPE_CHECKING:
    from tests.support.redis_server import RedisServer

SAME = settings(
    max_examples=25,
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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.usefixtures("redis_url")
def test_lua_and_twin_answer_alike_on_a_busy_morning(seed: int, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        BusySite(seed, LuaScripts(client, "broker:{twin}:")).run(400)


MUTATIONS = (
    # each a rule of the design, broken by a hair in the Lua alone
    ("guaranteed = admitted and math.min(row[4], maximum) or 0", "guaranteed = row[4]"),
    ("unused - math.floor(unused * own.lendable)", "unused - math.ceil(unused * own.lendable)"),
    ("total + 1 + kept - limits.limit", "total + 1 - limits.limit"),
    ("now - activity > seats.limits().idle", "now - activity >= seats.limits().idle"),
    ("seats.limits().claim + 1", "seats.limits().claim"),
    ("a.index < b.index", "a.index > b.index"),
    ("a.pass < b.pass", "a.pass > b.pass"),
    ("< ON_CALL_IN_A_ROW and -1", "<= ON_CALL_IN_A_ROW and -1"),
    ("by_name[name].on_call\n", "by_name[name].on_call + 1\n"),
    ("silent > seats.lost_after()", "silent >= seats.lost_after()"),
    ("key('put_back'), employee) == 0", "key('put_back'), employee) == 2"),
    ("if number > last_number(population) then", "if false then"),
    ("math.max(last_number(population), ticket_base()) + 1", "last_number(population) + 1"),
    ("if now <= promised then", "if now < promised then"),
    ("'NX', whole(now + tonumber", "whole(now + tonumber"),
    (">= OWNERS_IN_A_ROW and 0", "> OWNERS_IN_A_ROW and 0"),
    ("tonumber(number) > tonumber(upto)", "true"),
    ("'XX', 'GT'", "'XX'"),
    ("entry.activity < best_activity", "entry.activity <= best_activity"),
    ("(strides[side] or 0) - LAG", "0"),
    ("created <= tonumber(marks[index])", "created < tonumber(marks[index])"),
    ("math.max(now, meta('newest'))", "now"),
    ("if known and known ~= population then", "if false then"),
)


@pytest.mark.parametrize(("right", "wrong"), MUTATIONS)
@pytest.mark.usefixtures("redis_url")
def test_a_difference_of_a_hair_is_noticed(
    right: str, wrong: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redis_server.client() as client:
        scripts = LuaScripts(client, "broker:{twin}:")
        assert right in scripts.head
        monkeypatch.setattr(scripts, "head", scripts.head.replace(right, wrong))
        with pytest.raises(AssertionError):
            _busy_mornings(scripts)


def _busy_mornings(scripts: LuaScripts) -> None:
    for seed in range(60):
        BusySite(seed, scripts).run(400)
