"""Second factors: what the port promises, on twin and Redis alike."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from broker.errors import LedgerLearning
from broker.ledger.memory import MemoryLedger
from broker.ledger.port import AuditEntry, Factor, FactorView
from broker.policy.guessing import CODES, GuessRules, code_rules
from tests.support.ledgers import START_MS, LedgerClock, limits_document, redis_ledger

if TYPE_CHECKING:
    from broker.ledger.port import Ledger, RevocationKind
    from tests.support.redis_server import RedisServer

FACTOR = Factor("f1", "key.sealed", 100, ("aa", "bb"))
OTHER = Factor("f2", "key.other", 50, ("cc",))
WHO = "zoë łuk"
RESET = AuditEntry("anna", "reset", f"second factor of {WHO}")
OPENED = AuditEntry("anna", "opened", "enrolment")


@pytest.fixture
async def open_ledger(ledger: Ledger) -> Ledger:
    await ledger.open_enrolment(10_000)
    return ledger


async def test_nobody_sets_one_up_unless_operations_let_them(ledger: Ledger) -> None:
    assert await ledger.factor(WHO) == FactorView(None, 0)
    assert await ledger.enrol(WHO, FACTOR, "", START_MS) == "closed"
    assert await ledger.factor(WHO) == FactorView(None, 0)
    await ledger.open_enrolment(10_000)
    assert await ledger.enrol(WHO, FACTOR, "", START_MS) == "enrolled"


async def test_what_is_kept_is_what_was_given(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    view = await open_ledger.factor(WHO)
    assert view.factor == Factor("f1", "key.sealed", 100, ("aa", "bb"), START_MS)
    assert (await open_ledger.factor("another")).factor is None


async def test_whoever_has_one_gets_no_other(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    assert await open_ledger.enrol(WHO, OTHER, "", START_MS) == "exists"
    factor = (await open_ledger.factor(WHO)).factor
    assert factor is not None
    assert factor.id == "f1"


@pytest.mark.parametrize(
    ("kind", "subject"), [("employee", WHO), ("population", "sales"), ("everybody", "")]
)
async def test_who_was_revoked_since_the_password_was_right_sets_nothing_up(
    open_ledger: Ledger, ledger_clock: LedgerClock, kind: RevocationKind, subject: str
) -> None:
    proved_ms = START_MS
    ledger_clock.advance(10)
    await open_ledger.revoke(kind, subject)
    assert await open_ledger.enrol(WHO, FACTOR, "sales", proved_ms) == "revoked"
    assert (await open_ledger.factor(WHO)).factor is None
    assert await open_ledger.enrol("another", FACTOR, "managers", proved_ms) == (
        "revoked" if kind == "everybody" else "enrolled"
    )
    assert await open_ledger.enrol(WHO, FACTOR, "sales", proved_ms + 11) == "enrolled"
    await open_ledger.revoke(kind, subject)
    assert await open_ledger.enrol(WHO, OTHER, "sales", proved_ms) == "revoked"


async def test_enrolment_ends_by_ledger_time(ledger: Ledger, ledger_clock: LedgerClock) -> None:
    await ledger.open_enrolment(1000, OPENED)
    assert await ledger.enrolment() == 1000
    ledger_clock.advance(999)
    assert await ledger.enrolment() == 1
    assert (await ledger.factor(WHO)).may_enrol_ms == 1
    ledger_clock.advance(1)
    assert await ledger.enrolment() == 0
    assert await ledger.enrol(WHO, FACTOR, "", START_MS) == "closed"
    await ledger.open_enrolment(1000)
    await ledger.open_enrolment(0)
    assert await ledger.enrolment() == 0
    assert [entry.action for entry in await ledger.audit(most=9)] == ["opened"]


async def test_a_step_is_used_once_and_none_before_it(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    assert not await open_ledger.spend_step(WHO, "f1", 100), "the one that set it up"
    assert await open_ledger.spend_step(WHO, "f1", 102)
    assert not await open_ledger.spend_step(WHO, "f1", 102)
    assert not await open_ledger.spend_step(WHO, "f1", 101)
    assert not await open_ledger.spend_step(WHO, "f2", 103), "another enrolment's"
    assert not await open_ledger.spend_step("another", "f1", 103)


async def test_of_many_who_bring_the_same_code_one_gets_in(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    steps = [open_ledger.spend_step(WHO, "f1", 101) for _ in range(20)]
    assert sorted(await asyncio.gather(*steps)) == [False] * 19 + [True]
    codes = [open_ledger.spend_recovery(WHO, "f1", "aa") for _ in range(20)]
    assert sorted(await asyncio.gather(*codes)) == [False] * 19 + [True]


async def test_a_recovery_code_is_used_once(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    assert not await open_ledger.spend_recovery(WHO, "f1", "cc")
    assert not await open_ledger.spend_recovery(WHO, "f2", "aa")
    assert await open_ledger.spend_recovery(WHO, "f1", "aa")
    assert not await open_ledger.spend_recovery(WHO, "f1", "aa")
    factor = (await open_ledger.factor(WHO)).factor
    assert factor is not None
    assert factor.recovery == ("bb",)


async def test_a_reset_forgets_it_and_lets_this_one_employee_begin_anew(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    assert not await ledger.reset_factor(WHO, 2000, RESET), "there was none"
    assert await ledger.enrol("another", FACTOR, "", START_MS) == "closed"
    assert await ledger.enrol(WHO, FACTOR, "", START_MS) == "enrolled"
    assert await ledger.reset_factor(WHO, 2000, RESET)
    assert not await ledger.spend_step(WHO, "f1", 200)
    assert not await ledger.spend_recovery(WHO, "f1", "aa")
    assert not await ledger.reseal_factor(WHO, "f1", "x")
    assert (await ledger.factor(WHO)) == FactorView(None, 2000)
    assert await ledger.enrol(WHO, OTHER, "", START_MS) == "enrolled"
    assert await ledger.reset_factor(WHO, 0, RESET)
    assert await ledger.enrol(WHO, OTHER, "", START_MS) == "closed", "the permission was used up"
    await ledger.reset_factor(WHO, 1000, RESET)
    ledger_clock.advance(1000)
    assert await ledger.enrol(WHO, OTHER, "", START_MS) == "closed"
    assert [entry.action for entry in await ledger.audit(most=9)] == ["reset"] * 4


async def test_a_secret_is_sealed_anew_within_its_enrolment(open_ledger: Ledger) -> None:
    await open_ledger.enrol(WHO, FACTOR, "", START_MS)
    assert not await open_ledger.reseal_factor(WHO, "f2", "newer")
    assert await open_ledger.reseal_factor(WHO, "f1", "newer")
    factor = (await open_ledger.factor(WHO)).factor
    assert factor is not None
    assert (factor.sealed, factor.last_step) == ("newer", 100)


@pytest.mark.parametrize("virgin_ledger", ["memory"], indirect=True)
async def test_lost_memory_closes_enrolment(ledger: Ledger) -> None:
    """A password alone must not set up another factor because the first one was forgotten."""
    assert isinstance(ledger, MemoryLedger)
    await ledger.open_enrolment(10_000_000)
    await ledger.reset_factor("another", 10_000_000, RESET)
    await ledger.enrol(WHO, FACTOR, "", START_MS)
    ledger.restart()
    with pytest.raises(LedgerLearning):
        await ledger.factor(WHO)
    ledger.state.grants.learning = False
    assert (await ledger.factor(WHO)).factor is not None
    assert await ledger.enrolment() == 0
    assert (await ledger.factor("another")).may_enrol_ms == 0
    ledger.lose_memory()
    with pytest.raises(LedgerLearning):
        await ledger.enrol(WHO, OTHER, "", START_MS)
    ledger.state.grants.learning = False
    assert await ledger.factor(WHO) == FactorView(None, 0)


@pytest.mark.parametrize("whole_memory", [True, False])
async def test_a_redis_that_came_back_closes_enrolment_too(
    whole_memory: bool, redis_server: RedisServer, redis_url: str
) -> None:
    ledger = await redis_ledger(redis_url)
    try:
        await ledger.publish(limits_document(), if_match=0, first_start=True)
        await ledger.open_enrolment(10_000_000)
        await ledger.reset_factor("another", 10_000_000, RESET)
        assert await ledger.enrol(WHO, FACTOR, "", START_MS) == "enrolled"
        with redis_server.client() as client:
            if whole_memory:
                client.flushall()
            else:  # as a restart or another node: the run id that is stored is not its own
                client.hset("broker:{test}:meta", "run", "0" * 40)
        for call in (
            ledger.factor(WHO),
            ledger.enrol(WHO, OTHER, "", START_MS),
            ledger.spend_step(WHO, "f1", 101),
            ledger.spend_recovery(WHO, "f1", "aa"),
            ledger.reseal_factor(WHO, "f1", "x"),
        ):
            with pytest.raises(LedgerLearning):
                await call
        with redis_server.client() as client:  # what ends it otherwise takes the longest lease
            client.hset("broker:{test}:meta", "learning", "0")
        assert await ledger.enrolment() == 0
        assert (await ledger.factor("another")) == FactorView(None, 0)
        assert ((await ledger.factor(WHO)).factor is None) == whole_memory
        assert await ledger.enrol(WHO, OTHER, "", START_MS) == (
            "closed" if whole_memory else "exists"
        )
    finally:
        await ledger.close()


async def test_codes_are_counted_apart_from_passwords(
    ledger: Ledger, ledger_clock: LedgerClock
) -> None:
    """All browsers that are not known count together, a known one by itself; who is right in one
    is not kept out by who is wrong in others."""
    rules = code_rules(3, 5000)
    for _ in range(3):
        answer = await ledger.guess(WHO, CODES, "", rules)
        assert (answer.verdict, answer.wait_ms) == ("allowed", 0)
    assert answer.pairs_banned == 1
    assert (await ledger.guess(WHO, CODES, "", rules)).verdict == "pair"
    assert (await ledger.guess("another", CODES, "", rules)).verdict == "allowed"
    slow = GuessRules(free=0)
    assert (await ledger.guess(WHO, "", "", slow)).wait_ms == 250, "no password was tried so far"
    assert (await ledger.guess(WHO, CODES, "codes/b1", rules)).verdict == "allowed"
    password = await ledger.guess(WHO, "192.0.2.7", "", rules)
    await ledger.settle_guess(password.tallies, right=True)
    assert (await ledger.guess(WHO, CODES, "", rules)).verdict == "pair", "it has the password"
    (ban,) = await ledger.bans()
    assert (ban.kind, ban.employee, ban.where) == ("codes", WHO, "")
    assert await ledger.clear_bans(address="codes") == 0
    assert await ledger.clear_bans(employee=WHO) == 1
    assert (await ledger.guess(WHO, CODES, "", rules)).verdict == "allowed"


@pytest.mark.parametrize("seed", range(20))
async def test_lua_and_twin_answer_alike(
    seed: int, redis_server: RedisServer, redis_url: str
) -> None:
    chance = random.Random(seed)
    clock = LedgerClock()
    with redis_server.client() as client:
        clock.drive(client)
        there = await redis_ledger(redis_url, clock)
        twin = MemoryLedger(lambda: clock.now_ms)
        try:
            for ledger in (there, twin):
                await ledger.publish(limits_document(), if_match=0, first_start=True)
            for _ in range(150):
                who = chance.choice(("anna", "a b", "łucja"))
                which = chance.choice(("f1", "f2"))
                step, digest = chance.randrange(5), chance.choice("abc")
                lasts = chance.choice((0, 500, 2000))
                factor = Factor(which, f"sealed {step}", step, tuple("cab"[: step % 4]))
                answers: list[object] = []
                proved_ms = clock.now_ms - chance.choice((0, 300, 1000))
                population = chance.choice(("sales", "managers"))
                kind: RevocationKind = chance.choice(("employee", "population"))
                dice = chance.randrange(10)
                for ledger in (there, twin):
                    match dice:
                        case 0:
                            answers.append(await ledger.reset_factor(who, lasts, RESET))
                        case 1:
                            await ledger.open_enrolment(lasts)
                        case 2 | 3:
                            answers.append(await ledger.enrol(who, factor, population, proved_ms))
                        case 4 | 5:
                            answers.append(await ledger.spend_step(who, which, step))
                        case 6:
                            answers.append(await ledger.spend_recovery(who, which, digest))
                        case 7:
                            answers.append(await ledger.reseal_factor(who, which, "again"))
                        case 8:
                            await ledger.revoke(kind, who if kind == "employee" else population)
                    answers += [await ledger.factor(who), await ledger.enrolment()]
                half = len(answers) // 2
                assert answers[:half] == answers[half:]
                if dice == 9:
                    clock.advance(chance.choice((1, 499, 500, 900)))
        finally:
            await there.close()
