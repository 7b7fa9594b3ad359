"""Tries of passwords and bans: what the port promises, on twin and Redis alike."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from broker.ledger.memory import MemoryLedger
from broker.policy.guessing import GuessRules
from tests.support.ledgers import LedgerClock, redis_ledger

if TYPE_CHECKING:
    from broker.ledger.port import GuessAnswer, Ledger
    from tests.support.redis_server import RedisServer

RULES = GuessRules(window_ms=900, ban_ms=600, per_pair=3, per_address=5, free=4, slowest_ms=1000)
HERE, THERE = "192.0.2.7", "198.51.100.9"


async def tries(
    ledger: Ledger, many: int, employee: str = "zoë łuk", address: str = HERE, browser: str = ""
) -> list[GuessAnswer]:
    return [await ledger.guess(employee, address, browser, RULES) for _ in range(many)]


async def test_a_pair_is_banned_after_its_tries_and_no_other(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    answers = await tries(ledger, 4)
    assert [a.verdict for a in answers] == ["allowed"] * 3 + ["pair"]
    assert [a.pairs_banned for a in answers] == [0, 0, 1, 0]
    assert answers[3].wait_ms == RULES.ban_ms
    assert (await tries(ledger, 1, address=THERE))[0].verdict == "allowed"
    (ban,) = await ledger.bans()
    assert (ban.kind, ban.employee, ban.where, ban.left_ms) == ("pair", "zoë łuk", HERE, 600)
    assert (await tries(ledger, 1, employee="amina"))[0].verdict == "allowed"
    ledger_clock.advance(RULES.ban_ms - 1)
    assert (await tries(ledger, 1))[0].verdict == "pair"
    ledger_clock.advance(1)
    assert await ledger.bans() == ()
    assert (await tries(ledger, 1))[0].verdict == "allowed"


async def test_an_address_that_tries_many_names_is_banned(ledger: Ledger) -> None:
    answers = [(await tries(ledger, 1, employee=f"name {n}"))[0] for n in range(6)]
    assert [a.verdict for a in answers] == ["allowed"] * 5 + ["address"]
    assert [a.addresses_banned for a in answers] == [0, 0, 0, 0, 1, 0]
    assert await ledger.banned(HERE) == RULES.ban_ms
    assert await ledger.banned(THERE) == 0
    (ban,) = await ledger.bans()
    assert (ban.kind, ban.employee, ban.where) == ("address", "", HERE)


async def test_tries_are_forgotten_together_when_their_window_ends(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    await tries(ledger, 2)
    ledger_clock.advance(RULES.window_ms - 1)
    ledger_clock.advance(1)
    assert [a.verdict for a in await tries(ledger, 3)] == ["allowed"] * 3


async def test_one_name_from_everywhere_is_only_ever_slowed_down(ledger: Ledger) -> None:
    waits = [(await tries(ledger, 1, address=f"10.0.0.{n}"))[0] for n in range(1, 200)]
    assert {a.verdict for a in waits} == {"allowed"}
    assert [a.wait_ms for a in waits[:8]] == [0, 0, 0, 0, 250, 500, 1000, 1000]
    assert max(a.wait_ms for a in waits) == RULES.slowest_ms
    assert await ledger.bans() == ()


async def test_an_address_that_is_exempt_is_only_slowed_down(ledger: Ledger) -> None:
    answers = await tries(ledger, 50, address="")
    assert {a.verdict for a in answers} == {"allowed"}
    assert answers[-1].wait_ms == RULES.slowest_ms


async def test_a_known_browser_neither_waits_nor_shares_its_address_s_ban(ledger: Ledger) -> None:
    await tries(ledger, 20)
    for number in range(6):
        await tries(ledger, 1, employee=f"name {number}")
    assert await ledger.banned(HERE) > 0
    (answer,) = await tries(ledger, 1, browser="b1")
    assert (answer.verdict, answer.wait_ms) == ("allowed", 0)


async def test_a_known_browser_that_guesses_is_known_no_more(ledger: Ledger) -> None:
    answers = await tries(ledger, 7, browser="b1")
    assert [a.verdict for a in answers] == ["allowed"] * 6 + ["pair"]
    assert {ban.kind for ban in await ledger.bans()} == {"pair", "browser"}
    assert (await tries(ledger, 1, browser="b2"))[0].verdict == "allowed"


async def test_the_right_password_clears_its_own_pair_and_nothing_else(ledger: Ledger) -> None:
    *_, last = await tries(ledger, 3)
    await ledger.settle_guess(last.tallies, right=True)
    assert await ledger.bans() == ()
    assert [a.verdict for a in await tries(ledger, 3)] == ["allowed"] * 3, "counted anew"
    assert (await tries(ledger, 1, employee="x"))[0].verdict == "address", "five of the others"


async def test_a_try_that_was_never_made_is_taken_back(ledger: Ledger) -> None:
    for _ in range(30):
        (answer,) = await tries(ledger, 1)
        assert (answer.verdict, answer.wait_ms) == ("allowed", 0)
        await ledger.settle_guess(answer.tallies, right=False)
    first, second, third = await tries(ledger, 3)
    assert third.pairs_banned == 1
    await ledger.settle_guess(first.tallies, right=False)
    assert (await tries(ledger, 1))[0].verdict == "allowed"
    assert second.verdict == "allowed"


async def test_bans_are_cleared_by_name_by_address_or_all(ledger: Ledger) -> None:
    async def three(here: str, there: str) -> None:
        await ledger.clear_bans()
        await tries(ledger, 3, address=here)
        await tries(ledger, 3, employee="amina", address=there)
        await tries(ledger, 2, employee="other", address=here)  # which has its five

    await three(HERE, THERE)
    assert len(await ledger.bans()) == 3
    assert len(await ledger.bans(2)) == 2
    assert await ledger.clear_bans(employee="zoë łuk") == 1
    assert await ledger.clear_bans(employee="zoë łuk") == 0
    assert {ban.employee for ban in await ledger.bans()} == {"amina", ""}
    await three("10.0.0.1", "10.0.0.2")
    assert await ledger.clear_bans(address="10.0.0.1") == 2
    assert [ban.employee for ban in await ledger.bans()] == ["amina"]
    await three("10.0.0.3", "10.0.0.4")
    assert await ledger.clear_bans() == 3
    assert await ledger.bans() == ()
    assert (await tries(ledger, 1, address="10.0.0.3"))[0].verdict == "allowed"


async def test_clearing_an_employee_ends_the_delay_too(ledger: Ledger) -> None:
    await tries(ledger, 9, address="")
    await ledger.clear_bans(employee="zoë łuk")
    assert (await tries(ledger, 1, address=""))[0].wait_ms == 0


@pytest.mark.parametrize("seed", range(20))
async def test_lua_and_twin_count_alike(
    seed: int, redis_server: RedisServer, redis_url: str
) -> None:
    chance = random.Random(seed)
    clock = LedgerClock()
    with redis_server.client() as client:
        clock.drive(client)
        there = await redis_ledger(redis_url, clock)
        twin = MemoryLedger(lambda: clock.now_ms)
        open_tries: list[tuple[str, ...]] = []
        try:
            for _ in range(120):
                who = chance.choice(("anna", "a b", "łucja"))
                where = chance.choice((HERE, THERE, "2001:db8::/64", "", "codes"))
                match chance.randrange(8):
                    case 0:
                        clock.advance(chance.choice((1, 300, 599, 600, 900)))
                    case 1:
                        assert await there.bans() == await twin.bans()
                    case 2 if open_tries:
                        tallies = open_tries.pop(chance.randrange(len(open_tries)))
                        right = chance.random() < 0.5
                        for ledger in (there, twin):
                            await ledger.settle_guess(tallies, right=right)
                    case 3 if chance.random() < 0.3:
                        named = chance.choice(({"employee": who}, {"address": HERE}, {}))
                        assert await there.clear_bans(**named) == await twin.clear_bans(**named)
                    case _:
                        browser = chance.choice(("", "", "b1", "b2"))
                        answers = [
                            await ledger.guess(who, where, browser, RULES)
                            for ledger in (there, twin)
                        ]
                        assert answers[0] == answers[1]
                        open_tries.append(answers[0].tallies)
                assert await there.banned(HERE) == await twin.banned(HERE)
        finally:
            await there.close()
