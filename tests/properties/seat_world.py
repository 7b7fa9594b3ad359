"""A small company driven by Hypothesis: employees ask, poll, leave, fall silent, limits change.

``SeatWorld`` drives the twin and, when ``scripts`` is set, the Lua in Redis with the same ledger
time, and demands the same answer to everything. The invariants of the design (``seat_checks.py``)
are checked around each step, by counting from the outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.ledger.book_grants import queue_views
from broker.ledger.book_seats import BookSeats
from broker.ledger.book_sessions import BookSessions
from broker.ledger.memory_seats import MemorySeats
from broker.ledger.memory_sessions import MemorySessions
from broker.ledger.port import FormerTicket, Promise, QueueView, Touch
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PopulationLimits
from tests.properties.seat_checks import Step
from tests.support.lua_scripts import LuaScripts, finish

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.ledger.port import SeatAnswer

NAMES = ("managers", "sales", "everyone")
EMPLOYEES = (*(f"e{number}" for number in range(8)), "zoë łuk")
START_MS = 1_732_000_000_000
IDLE_MS, CLAIM_MS, ABSENT_MS, LOST_MS = 900_000, 90_000, 90_000, 1_800_000

populations = st.sampled_from(NAMES)
employees = st.sampled_from(EMPLOYEES)
fractions = st.sampled_from((0.0, 0.3, 0.5, 0.9, 1.0))
documents = st.builds(
    lambda limit, shares, dropped: LimitsDocument(
        number=1,
        digest="d",
        scale=1.0,
        seats_limit=limit,
        connections_limit=0,
        populations={
            name: share for name, share in zip(NAMES, shares, strict=True) if name != dropped
        },
        pools={},
        idle_ms=IDLE_MS,
        claim_ms=CLAIM_MS,
        absent_ms=ABSENT_MS,
        ticket_lost_ms=LOST_MS,
    ),
    st.integers(0, 6),
    st.tuples(
        *(
            st.builds(
                PopulationLimits,
                admitted=st.sampled_from((True, True, True, False)),
                seats_maximum=st.integers(0, 6),
                seats_guaranteed=st.integers(0, 3),
                lendable=fractions,
                weight=st.integers(0, 3),
                seats_on_call=st.sampled_from((0, 0, 1, 2)),
            )
            for _ in NAMES
        )
    ),
    st.sampled_from((None, None, None, None, "everyone")),
)


@dataclass
class State:
    """What the parts of the twin share; the test turns the clock."""

    now: int = START_MS
    learning: bool = False
    limits: LimitsDocument | None = None


class SeatWorld(RuleBasedStateMachine):
    """Rules for seats and tickets. Subclasses add Redis and sessions."""

    scripts: LuaScripts | None = None
    checked: tuple[int, ...] = (1, 3, 4, 5, 6, 10)

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.seats = MemorySeats(self.state)
        self.sessions = MemorySessions(self.state, self.seats)
        self.numbers: dict[str, tuple[str, int]] = {}
        self.former: dict[str, tuple[str, int]] = {}
        self.created = 0
        self.somebody_came = False  # the step itself may bring the one who waits

    # --- driving both

    def same(self, expected: Any, lua: Callable[[LuaScripts], Any]) -> Any:
        if self.scripts is not None:
            assert lua(self.scripts) == expected
        return expected

    def turn_clock(self) -> None:
        if self.scripts is not None:
            self.scripts.set_clock(self.state.now, learning=self.state.learning)

    def run_calls(self) -> None:
        self.seats.run_calls()
        if self.scripts is not None:
            self.scripts.run_text("calls", "seats.run_calls()")

    # --- rules

    @initialize(document=documents)
    def first_publication(self, document: LimitsDocument) -> None:
        self.turn_clock()
        self.publish(replace(document, seats_limit=max(1, document.seats_limit)))

    @rule(document=documents)
    def publish(self, document: LimitsDocument) -> None:
        self.state.limits = document
        if self.scripts is not None:
            self.scripts.set_limits(document)
        with Step(self, ran=True):
            self.run_calls()

    @rule(employee=employees, population=populations)
    def admit(self, employee: str, population: str) -> None:
        def ask() -> SeatAnswer:
            answer: SeatAnswer = self.same(
                self.seats.admit(employee, population),
                lambda scripts: finish(BookSeats(scripts).admit(employee, population)),
            )
            return answer

        self.somebody_came = True
        with Step(self, ran=False) as step:
            answer = ask()
            step.ran = answer.state == "waiting"
        self.somebody_came = False
        self.remember(employee, answer)
        if answer.state in ("waiting", "seated"):
            assert ask() == answer  # refreshing: the same place

    @rule(employee=employees, present=st.booleans())
    def look(self, employee: str, present: bool) -> None:
        self.somebody_came = present
        with Step(self, ran=False) as step:
            answer = self.same(
                self.seats.look(employee, present=present),
                lambda scripts: finish(BookSeats(scripts).look(employee, present=present)),
            )
            step.ran = present and answer.state in ("waiting", "called")
        self.somebody_came = False
        self.remember(employee, answer)

    @rule(employee=employees)
    def release(self, employee: str) -> None:
        def lua(scripts: LuaScripts) -> bool:
            return finish(BookSeats(scripts).release(employee))

        with Step(self, ran=False, leaving=(employee,)) as step:
            step.ran = self.same(self.seats.release(employee), lua)
        self.numbers.pop(employee, None)
        assert self.same(self.seats.release(employee), lua) is False  # twice changes nothing

    @rule(
        ms=st.sampled_from(
            (1, 1_000, 30_000, ABSENT_MS, CLAIM_MS + 1, 400_000, IDLE_MS, LOST_MS, LOST_MS + 1)
        )
    )
    def time_passes(self, ms: int) -> None:
        self.state.now += ms
        self.turn_clock()

    @rule(touched=st.lists(st.tuples(employees, st.integers(-5, IDLE_MS)), max_size=3))
    def sync(self, touched: list[tuple[str, int]]) -> None:
        """Touches and presence as a worker's sync brings them, then the call script."""
        touches = [Touch(employee, idle_ms) for employee, idle_ms in touched]
        flat = [value for touch in touched for value in touch]
        with Step(self, ran=True):
            lost = self.seats.apply_touches(touches)
            self.same(
                list(lost),
                lambda scripts: [
                    name.decode()
                    for name in scripts.run_text("touch", "return seats.apply_touches(ARGV)", *flat)
                ],
            )
            self.run_calls()

    @rule(polled=st.lists(employees, max_size=3))
    def presence(self, polled: list[str]) -> None:
        self.somebody_came = True
        with Step(self, ran=True):
            lost = self.seats.apply_presence(polled)
            self.same(
                list(lost),
                lambda scripts: [
                    name.decode()
                    for name in scripts.run_text(
                        "presence", "return seats.apply_presence(ARGV)", *polled
                    )
                ],
            )
            self.run_calls()
        self.somebody_came = False

    @rule(promised=st.lists(st.tuples(employees, st.sampled_from((5_000, 60_000))), max_size=3))
    def promise(self, promised: list[tuple[str, int]]) -> None:
        self.seats.apply_promises([Promise(employee, ms) for employee, ms in promised])
        if self.scripts is not None:
            flat = [value for row in promised for value in row]
            self.scripts.run_text("promise", "seats.apply_promises(ARGV)", *flat)

    @rule(asking=st.lists(st.tuples(employees, populations), min_size=2, max_size=4))
    def admit_all(self, asking: list[tuple[str, str]]) -> None:
        self.somebody_came = True
        with Step(self, ran=False) as step:
            answers = self.same(
                self.seats.admit_all(asking),
                lambda scripts: finish(BookSeats(scripts).admit_all(asking)),
            )
            step.ran = any(answer.state == "waiting" for answer in answers)
        self.somebody_came = False
        for (employee, _), answer in zip(asking, answers, strict=True):
            self.remember(employee, answer)

    @rule(employee=employees)
    def remove_ticket(self, employee: str) -> None:
        with Step(self, ran=False, leaving=(employee,)) as step:
            step.ran = self.same(
                self.seats.remove_ticket(employee),
                lambda scripts: finish(BookSeats(scripts).remove_ticket(employee)),
            )
        if employee not in self.seats._seats:
            self.numbers.pop(employee, None)

    @rule(
        employee=employees,
        population=populations,
        silent_ms=st.sampled_from((0, 5_000, ABSENT_MS + 1, LOST_MS, LOST_MS + 1)),
    )
    def put_back(self, employee: str, population: str, silent_ms: int) -> None:
        """What a browser shows: the last ticket this employee had in a former epoch, if any."""
        unlike_any_other = int.from_bytes(employee.encode()[:4], "big")
        population, number = self.former.get(employee, (population, unlike_any_other))
        self.somebody_came = True
        with Step(self, ran=False):
            self.seats.put_back(employee, population, number, silent_ms)
            if self.scripts is not None:
                ticket = FormerTicket(employee, population, number, "before", silent_ms)
                finish(BookSeats(self.scripts).put_back((ticket,)))
        self.somebody_came = False
        ticket_now = self.seats._tickets.get(employee)
        if ticket_now is not None and not ticket_now.ended:
            self.numbers[employee] = (ticket_now.population, ticket_now.number)

    @precondition(lambda self: not self.state.learning)
    @rule(lost_memory=st.booleans())
    def epoch_changes(self, lost_memory: bool) -> None:
        """Redis restarted, or lost everything; a worker then writes back the seats it knows."""
        held = list(self.seats._seats.items())
        self.former |= {
            employee: (ticket.population, ticket.number)
            for employee, ticket in self.seats._tickets.items()
            if not ticket.ended
        }
        counted = self.held()
        if lost_memory:
            self.forget_everything()
        self.state.learning = True
        self.turn_clock()
        self.seats.epoch_changed()
        if self.scripts is not None:
            self.scripts.run_text("epoch", "seats.epoch_changed()")
        written = [(e, s.population, self.state.now - s.activity_ms) for e, s in held]
        self.restore(written)
        if 10 in self.checked:  # no more than before are seated, and the same ones
            assert set(self.seats._seats) == {employee for employee, _ in held}
            assert all(count <= counted[name] for name, count in self.held().items())

    def restore(self, written: list[tuple[str, str, int]]) -> None:
        self.sessions.restore((), (), written)
        if self.scripts is not None:
            finish(BookSessions(self.scripts).restore((), (), written))

    def forget_everything(self) -> None:
        self.seats = MemorySeats(self.state)
        self.sessions = MemorySessions(self.state, self.seats)
        self.numbers.clear()
        if self.scripts is not None:
            self.scripts.forget()
            self.turn_clock()
            if self.state.limits is not None:
                self.scripts.set_limits(self.state.limits)

    @precondition(lambda self: self.state.learning)
    @rule()
    def learned(self) -> None:
        self.state.learning = False
        self.turn_clock()
        with Step(self, ran=True):
            self.run_calls()

    # --- counting from the outside

    def remember(self, employee: str, answer: SeatAnswer) -> None:
        """A ticket keeps its number as long as it exists (invariant 6)."""
        if answer.number is None:
            if answer.state not in ("learning",):
                self.numbers.pop(employee, None)
            return
        known = self.numbers.setdefault(employee, (answer.population, answer.number))
        if employee in self.seats._tickets and known != (answer.population, answer.number):
            # a new ticket is allowed only when the old one was lost or ended meanwhile
            assert answer.number > known[1] or answer.population != known[0]
            self.numbers[employee] = (answer.population, answer.number)

    def held(self) -> dict[str, int]:
        return {
            name: occupied + called for name, (occupied, called, _) in self.seats.usage().items()
        }

    def limits(self) -> LimitsDocument:
        assert self.state.limits is not None
        return self.state.limits

    def present_waiting(self) -> list[str]:
        return [
            name
            for name, limits in self.limits().populations.items()
            if limits.admitted
            and any(
                ticket.waits and self.state.now - ticket.seen_ms <= ABSENT_MS
                for _employee, ticket in self.seats._queue(name)
            )
        ]

    @invariant()
    def same_books(self) -> None:
        """Both ledgers count the same, queue by queue."""
        usage, queues = self.seats.usage(), self.seats.queues(0)

        def lua_usage(scripts: LuaScripts) -> dict[str, tuple[int, int, int]]:
            flat = scripts.run_text("usage", "return seats.usage()")
            rows = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
            return {name.decode(): (a, b, c) for name, a, b, c in rows}

        def lua_queues(scripts: LuaScripts) -> dict[str, QueueView]:
            return queue_views(scripts.run_text("queues", "return seats.queues(0)"))

        self.same(usage, lua_usage)
        self.same(queues, lua_queues)
        kept = [self.seats.estimates_shown, self.seats.estimates_kept]
        self.same(kept, lambda scripts: scripts.run_text("kept", "return seats.estimates()"))

    @invariant()
    def each_counts_once(self) -> None:
        """Invariant 3: nobody has both, and what is counted is what is there."""
        if 3 not in self.checked:
            return
        seated, ticketed = set(self.seats._seats), set(self.seats._tickets)
        assert not seated & ticketed
        assert sum(occupied for occupied, _, _ in self.seats.usage().values()) == len(seated)

    def teardown(self) -> None:
        if self.scripts is not None:
            self.scripts.forget()
