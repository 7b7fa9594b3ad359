"""Invariant 8: a raise with an end reverts exactly once, whatever happens to those who drive it.

Real stewards with real syncs on the ledger's twin. Hypothesis raises, kills and starts brokers (all
of them, too), loses replies of the ledger, lets clocks disagree and time pass.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from broker.errors import LedgerAway
from broker.ledger.memory import MemoryLedger
from broker.policy.levels import in_force
from broker.policy.orders import Order, raise_to
from broker.policy.worker_book import WorkerBook
from broker.site.admission import Spending
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.steward import LEASE_MS, MOST_SKEW_MS, Steward
from broker.site.sync import Sync
from broker.site.tokens import KeyRing, Tokens
from broker.site.waiting_room import WaitingRoom
from tests.support.capacities import BARE, BASE, CAPACITY

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.policy.capacity import Capacity
    from broker.policy.limits import LimitsDocument

START_MS = 1_584_338_400_000
WORLD = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
NUMBERS = st.integers(0, 2)


class LossyLedger(MemoryLedger):
    """``lose``: so many publications are carried out and their replies lost."""

    lose = 0

    async def publish(self, *arguments: Any, **named: Any) -> LimitsDocument:
        published = await MemoryLedger.publish(self, *arguments, **named)
        if self.lose > 0:
            self.lose -= 1
            raise LedgerAway("the reply is lost")
        return published


class Broker:
    """One worker's sync and steward. ``ahead``: seconds by which its civil clock is wrong."""

    def __init__(self, world: RaiseWorld, name: str) -> None:
        self.name = name
        self.ahead = 0.0

        def boot() -> float:
            return (world.now_ms - START_MS) / 1000 + 1000

        def civil() -> float:
            return world.now_ms / 1000 + self.ahead

        ledger, wake, time = world.ledger, asyncio.Event(), LedgerTime(boot)
        spending = Spending(64, wake.set, boot)
        sessions = SessionCache(
            world.tokens, ledger, time, str, clock=boot, wall_clock=civil, token_refresh=300,
            lifetime=43_200,
        )  # fmt: skip
        room = WaitingRoom(world.tokens, time, sessions.is_ended, boot)
        book = WorkerBook(name)
        self.sync = Sync(book, ledger, spending, sessions, time, room, wake, boot)
        self.steward = Steward(name, ledger, self.sync, dict, civil)

    async def turn(self, *, steer: bool) -> None:
        """Two syncs, so that what is new has been heard; then, mostly, the steward's round."""
        for _ in range(2):
            await self.sync.once()
        if steer:
            try:
                await self.steward.once()
            except LedgerAway:
                self.steward._notes = None  # as ``Steward.run``


class RaiseWorld(RuleBasedStateMachine):
    """Three brokers at most, one site."""

    tokens = Tokens(KeyRing.from_json(KeyRing.generate()), "test", lambda: START_MS / 1000, 900)

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self.runner = asyncio.Runner()
        self.redis_ahead_ms = 0
        self.ledger = LossyLedger(lambda: self.now_ms + self.redis_ahead_ms)
        self.born = 0
        self.brokers: dict[int, Broker] = {}
        self.ends: dict[int, int] = {}  # of each raise that was not replaced, by its name
        document = in_force(CAPACITY, BARE)
        self.runner.run(self.ledger.publish(document, if_match=0, first_start=True))
        self.start(0)

    def limits(self) -> LimitsDocument:
        limits = self.ledger.state.limits
        assert limits is not None
        return limits

    def capacity(self) -> Capacity:
        capacity = self.limits().capacity
        assert capacity is not None
        return capacity

    def one(self, number: int) -> list[Broker]:
        """Some live broker, if there is any."""
        alive = list(self.brokers.values())
        return [alive[number % len(alive)]] if alive else []

    @rule(scale=st.sampled_from((1.5, 6.0)), lasts=st.sampled_from((1_000, 7_000, 60_000)))
    def raise_by(self, scale: float, lasts: int) -> None:
        """At once, in place of whatever is in force."""
        present = self.limits()
        order = Order("op", "why", present.number, 0, self.now_ms, factor=None)
        ends = self.now_ms + lasts
        document = in_force(raise_to(self.capacity(), order, scale, ends_ms=ends), present)
        published = self.runner.run(
            MemoryLedger.publish(self.ledger, document, if_match=present.number)
        )
        assert published.capacity is not None
        assert published.capacity.site is not None
        self.ends = {name: at for name, at in self.ends.items() if self.ended(name)}
        self.ends[published.capacity.site.name] = ends

    @rule(number=NUMBERS, steer=st.booleans())
    def turn(self, number: int, steer: bool) -> None:
        """Without ``steer`` it hears of everything and has not come round to act on it."""
        for broker in self.one(number):
            self.runner.run(broker.turn(steer=steer))

    @rule(number=NUMBERS)
    def act_on_old_news(self, number: int) -> None:
        """The steward's round alone: the document that it knows may have been replaced."""
        for broker in self.one(number):
            try:
                self.runner.run(broker.steward.once())
            except LedgerAway:
                broker.steward._notes = None

    @rule(ms=st.sampled_from((100, 1_000, LEASE_MS + 1, 8_000, 90_000)))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(number=NUMBERS)
    def start(self, number: int) -> None:
        self.kill(number)
        self.born += 1
        self.brokers[number] = Broker(self, f"h/b/{self.born}")

    @rule(number=NUMBERS)
    def kill(self, number: int) -> None:
        dead = self.brokers.pop(number, None)
        if dead is not None:
            self.runner.run(self.ledger.tombstone(dead.name))

    @precondition(lambda self: len(self.brokers) > 1)
    @rule()
    def kill_all(self) -> None:
        for number in list(self.brokers):
            self.kill(number)

    @rule(number=NUMBERS, seconds=st.sampled_from((-4.0, 0.0, 4.0)))
    def clock_is_wrong(self, number: int, seconds: float) -> None:
        for broker in self.one(number):
            broker.ahead = seconds

    @rule(ms=st.sampled_from((-3_600_000, -4_000, 0, 4_000, 3_600_000)))
    def clock_of_redis_is_wrong(self, ms: int) -> None:
        """By more than the brokers' it may be: then everybody waits until it is right again."""
        self.redis_ahead_ms = ms

    @precondition(lambda self: self.ledger.lose == 0)
    @rule()
    def lose_a_reply(self) -> None:
        self.ledger.lose = 1

    def ended(self, name: int) -> int:
        """How often, by the audit trail."""
        entries = self.runner.run(self.ledger.audit(most=10_000))
        named = f", raise {name} by "
        return sum(entry.action == "ended" and named in entry.subject for entry in entries)

    @invariant()
    def reverts_once_and_not_before(self) -> None:
        for name, at in self.ends.items():
            times = self.ended(name)
            assert times <= 1, "twice"
            assert times == 0 or self.now_ms >= at - MOST_SKEW_MS, "before its end"
        site = self.capacity().site
        scale = 1.0 if site is None else site.ramp.target
        assert self.limits().seats_limit == BASE.seats_limit * scale

    def teardown(self) -> None:
        """Whatever was down comes back, clocks are set: what has an end has ended, once."""
        self.ledger.lose = self.redis_ahead_ms = 0
        self.start(0)
        for broker in self.brokers.values():
            broker.ahead = 0.0
        for _ in range(12):
            self.now_ms += LEASE_MS + MOST_SKEW_MS
            for broker in self.brokers.values():
                self.runner.run(broker.turn(steer=True))
        try:
            assert self.capacity().site is None
            assert self.limits().seats_limit == BASE.seats_limit
            for name in self.ends:
                assert self.ended(name) == 1
        finally:
            self.runner.close()


def test_invariant_8_a_raise_with_an_end_reverts_exactly_once() -> None:
    run_state_machine_as_test(RaiseWorld, settings=WORLD)


async def _published_over(ledger: LossyLedger, *arguments: Any, **named: Any) -> LimitsDocument:
    """Whatever version it was decided on."""
    present = ledger.state.limits
    named["if_match"] = present.number if present else 0
    published = await MemoryLedger.publish(ledger, *arguments, **named)
    if ledger.lose > 0:
        ledger.lose -= 1
        raise LedgerAway("the reply is lost")
    return published


def _lost_and_said_again(world: RaiseWorld) -> None:
    world.turn(0, steer=True)
    world.raise_by(6.0, 7_000)
    world.turn(0, steer=True)
    world.time_passes(8_000)
    world.lose_a_reply()
    world.act_on_old_news(0)
    world.act_on_old_news(0)


def _redis_is_an_hour_ahead(world: RaiseWorld) -> None:
    world.raise_by(6.0, 60_000)
    world.clock_of_redis_is_wrong(3_600_000)
    world.turn(0, steer=True)


def _its_time_is_over(world: RaiseWorld) -> None:
    world.raise_by(6.0, 1_000)


@pytest.mark.parametrize(
    ("place", "mutation", "history"),
    [
        (f"{__name__}.LossyLedger.publish", _published_over, _lost_and_said_again),
        ("broker.site.steward.MOST_SKEW_MS", 10**9, _redis_is_an_hour_ahead),
        ("broker.policy.stewardship.next_move", lambda *_: None, _its_time_is_over),
    ],
    ids=["not compare-and-set", "whatever the clocks say", "never"],
)
def test_invariant_8_the_checks_see_a_broken_rule(
    place: str,
    mutation: Any,
    history: Callable[[RaiseWorld], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sound = RaiseWorld()
    history(sound)
    sound.reverts_once_and_not_before()
    sound.teardown()
    monkeypatch.setattr(place, mutation)
    broken = RaiseWorld()
    history(broken)
    with pytest.raises(AssertionError):
        _check(broken)


def _check(world: RaiseWorld) -> None:
    try:
        world.reverts_once_and_not_before()
    finally:
        world.teardown()
