"""A site on a bad morning, from a seed: everybody wants in, few can, and time moves in steps that
fall exactly on the windows (idle, claim, absent, lost).

Hypothesis finds short strange histories; this one makes long crowded ones, in which queues, turns,
ties and claims matter at every step. Both are compared call by call.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from broker.ledger.book_sessions import BookSessions
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PopulationLimits
from tests.properties.seat_world import ABSENT_MS, CLAIM_MS, LOST_MS, NAMES
from tests.properties.session_world import SessionWorld, record
from tests.support.lua_scripts import finish

if TYPE_CHECKING:
    from tests.support.lua_scripts import LuaScripts

CROWD = tuple(f"e{number:02}" for number in range(28))
STEPS_MS = (0, 0, 0, 1, 30_000, 30_000, 90_000, 300_000)


def busy_document(chance: random.Random) -> LimitsDocument:
    """Few seats; mostly admitted, mostly some weight; guarantees that matter."""
    return LimitsDocument(
        number=1,
        digest="d",
        scale=1.0,
        seats_limit=chance.randint(2, 9),
        connections_limit=0,
        populations={
            name: PopulationLimits(
                admitted=chance.random() < 0.9,
                seats_maximum=chance.choice((2, 4, 9, 9)),
                seats_guaranteed=chance.choice((0, 0, 1, 9)),
                lendable=chance.choice((0.0, 0.3, 0.5, 1.0, 1.0)),
                weight=chance.choice((0, 1, 1, 2, 3)),
                seats_on_call=chance.choice((0, 0, 1, 9)),
            )
            for name in NAMES
        },
        pools={},
        idle_ms=60_000,  # short, so that seats are often reclaimed
        claim_ms=CLAIM_MS,
        absent_ms=ABSENT_MS,
        ticket_lost_ms=LOST_MS,
    )


class BusySite:
    """Drives a ``SessionWorld`` by chance; ``steps`` calls, each compared and checked."""

    def __init__(self, seed: int, scripts: LuaScripts | None) -> None:
        self.chance = random.Random(seed)
        self.world = type("Busy", (SessionWorld,), {"scripts": scripts})()
        self.home = {employee: self.chance.choice(NAMES) for employee in CROWD}

    def run(self, steps: int) -> None:
        world, chance = self.world, self.chance
        world.turn_clock()
        world.publish(document=busy_document(chance))
        doings = (
            (30, self.ask),
            (12, lambda: world.look(employee=chance.choice(CROWD), present=chance.random() < 0.7)),
            (14, lambda: world.release(employee=chance.choice(CROWD))),
            (10, self.release_somebody_seated),
            (10, self.everybody_polls),
            (10, lambda: world.time_passes(ms=chance.choice(STEPS_MS))),
            (6, self.touch),
            (6, self.promise),
            (3, self.put_back),
            (3, self.ask_together),
            (1, lambda: world.remove_ticket(employee=chance.choice(CROWD))),
            (1, lambda: world.publish(document=busy_document(chance))),
            (6, self.log_in),
            (2, self.session_moves),
            (2, self.revoke),
            (1, self.epoch),
        )
        weights = [weight for weight, _ in doings]
        for _ in range(steps):
            chance.choices(doings, weights)[0][1]()
            world.same_books()
            world.each_counts_once()
        world.same_sessions()
        world.teardown()

    def ask(self) -> None:
        employee = self.chance.choice(CROWD)
        self.world.admit(employee=employee, population=self.home[employee])

    def release_somebody_seated(self) -> None:
        seated = sorted(self.world.seats._seats)
        if seated:
            self.world.release(employee=self.chance.choice(seated))

    def everybody_polls(self) -> None:
        absent = self.chance.sample(CROWD, 3)
        self.world.presence(polled=[employee for employee in CROWD if employee not in absent])

    def touch(self) -> None:
        touched = self.chance.sample(CROWD, 6)
        self.world.sync(touched=[(e, self.chance.choice((0, 30_000, 60_000))) for e in touched])

    def promise(self) -> None:
        promised = self.chance.sample(CROWD, 8)
        self.world.promise(
            promised=[(e, self.chance.choice((0, 30_000, 90_000))) for e in promised]
        )

    def put_back(self) -> None:
        employee = self.chance.choice(sorted(self.world.former) or CROWD)
        self.world.put_back(
            employee=employee,
            population=self.home[employee],
            silent_ms=self.chance.choice((0, 90_000, LOST_MS, LOST_MS + 1)),
        )

    def ask_together(self) -> None:
        asking = self.chance.sample(CROWD, 5)
        self.world.admit_all(asking=[(employee, self.home[employee]) for employee in asking])

    def log_in(self) -> None:
        employee = self.chance.choice(CROWD)
        self.world.log_in(
            employee=employee,
            population=self.home[employee],
            lifetime=self.chance.choice((60_000, 3_600_000)),
            late=self.chance.choice((0, 40)),
        )

    def session_moves(self) -> None:
        """Its groups changed: the record is written again under another population."""
        known = list(self.world.sessions._records.values())
        if known:
            session = self.chance.choice(known)
            moved = record(
                session.id,
                session.employee,
                self.chance.choice(NAMES),
                session.created_ms,
                session.ends_ms,
            )
            self.world.same(
                self.world.sessions.put_session(moved, most=2),
                lambda scripts: finish(BookSessions(scripts).put_session(moved, most=2)),
            )

    def revoke(self) -> None:
        self.world.revoke(
            named=self.chance.choice(
                (
                    ("employee", self.chance.choice(CROWD)),
                    ("population", self.chance.choice(NAMES)),
                    ("session", f"s{self.chance.randint(1, 9)}"),
                )
            )
        )

    def epoch(self) -> None:
        if self.world.state.learning:
            self.world.learned()
        else:
            self.world.epoch_changes(lost_memory=self.chance.random() < 0.3)
            self.world.learned()
