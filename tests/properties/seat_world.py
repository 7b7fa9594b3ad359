"""A small company driven by Hypothesis: employees ask, poll, leave, fall silent, limits change.

``SeatWorld`` drives the twin and, when ``scripts`` is set, the Lua in Redis with the same ledger
time, and demands the same answer to everything. The invariants of the design are checked after each
step, by counting from the outside.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.ledger.book_seats import BookSeats
from broker.ledger.book_sessions import BookSessions, revocations_from
from broker.ledger.memory_seats import MemorySeats
from broker.ledger.memory_sessions import MemorySessions
from broker.ledger.port import QueueView, Revocation, SessionRecord, Touch
from broker.policy.limits import LimitsDocument, PopulationLimits
from broker.policy.seats import may_take, never_lent
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
            self.seats.apply_presence(polled)
            if self.scripts is not None:
                self.scripts.run_text("presence", "seats.apply_presence(ARGV)", *polled)
            self.run_calls()
        self.somebody_came = False

    @precondition(lambda self: not self.state.learning)
    @rule(lost_memory=st.booleans())
    def epoch_changes(self, lost_memory: bool) -> None:
        """Redis restarted, or lost everything; a worker then writes back the seats it knows."""
        held = list(self.seats._seats.items())
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
        usage, queues = self.seats.usage(), self.seats.queues()

        def lua_usage(scripts: LuaScripts) -> dict[str, tuple[int, int, int]]:
            flat = scripts.run_text("usage", "return seats.usage()")
            rows = zip(flat[::4], flat[1::4], flat[2::4], flat[3::4], strict=True)
            return {name.decode(): (a, b, c) for name, a, b, c in rows}

        def lua_queues(scripts: LuaScripts) -> dict[str, QueueView]:
            flat = scripts.run_text("queues", "return seats.queues()")
            rows = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
            return {name.decode(): QueueView(waiting, upto) for name, waiting, upto in rows}

        self.same(usage, lua_usage)
        self.same(queues, lua_queues)

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


class Step:
    """Around one ledger call: what the invariants say about before and after. ``ran``: the call
    script was run (answers that need no calls run none; the next sync does)."""

    def __init__(self, world: SeatWorld, *, ran: bool, leaving: tuple[str, ...] = ()) -> None:
        self.world = world
        self.ran = ran
        self.leaving = leaving

    def __enter__(self) -> Step:
        world = self.world
        self.held = world.held()
        self.seated = {e: (s.population, s.activity_ms) for e, s in world.seats._seats.items()}
        self.queues = {name: world.seats._queue(name) for name in world.seats.populations()}
        self.waited = world.present_waiting()
        # who has sessions may lose the seat with the last of them
        self.logged_in = {record.employee for record in world.sessions._records.values()}
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None and not self.world.state.learning:
            for number in self.world.checked:
                getattr(self, f"invariant_{number}", lambda: None)()

    def invariant_1(self) -> None:
        """No step increases occupied + called beyond a limit, nor into what others never lend."""
        limits = self.world.limits()
        before, after = self.held, self.world.held()
        for name, count in after.items():
            if count > before.get(name, 0):
                assert limits.populations[name].admitted
                assert count <= limits.populations[name].seats_maximum

        def committed(held: dict[str, int]) -> int:
            kept = (never_lent(own, held.get(n, 0)) for n, own in limits.populations.items())
            return sum(held.values()) + sum(kept)

        if sum(after.values()) > sum(before.values()):
            assert sum(after.values()) <= limits.seats_limit
            assert committed(after) <= max(limits.seats_limit, committed(before))

    def invariant_4(self) -> None:
        """Whatever the limits became, only reclaimable seats go, and only while somebody waits."""
        gone = set(self.seated) - set(self.world.seats._seats) - set(self.leaving) - self.logged_in
        for employee in gone:
            assert self.world.state.now - self.seated[employee][1] > IDLE_MS
        if gone and not self.world.somebody_came:
            assert self.waited

    def invariant_5(self) -> None:
        """Free or reclaimable capacity and a present waiting employee never stay apart."""
        self.invariant_4()  # and nobody waiting: no seat is reclaimed
        world, limits = self.world, self.world.limits()
        if not self.ran:
            return
        held = world.held()
        for name in world.present_waiting():
            own = limits.populations[name]
            assert not may_take(limits, held, name)
            everything_is_lent = all(
                other.seats_guaranteed == 0 or other.lendable == 1.0
                for other in limits.populations.values()
            )
            if everything_is_lent and sum(held.values()) <= limits.seats_limit > 0:
                reachable = held[name] < own.seats_maximum
                for seat in world.seats._seats.values():
                    if reachable or (seat.population == name and own.seats_maximum == held[name]):
                        assert own.seats_maximum < 1 or (
                            world.state.now - seat.activity_ms <= IDLE_MS
                        )

    def invariant_6(self) -> None:
        """FIFO: nobody was called or seated past a present ticket with a lower number."""
        seats = self.world.seats
        for queue in self.queues.values():
            waiting, served = [], []
            for employee, ticket in queue:
                now = seats._tickets.get(employee)
                if employee in seats._seats or (now is not None and now.called_ms is not None):
                    served.append(ticket.number)
                elif now is not None and now.waits and now.number == ticket.number:
                    waiting.append(ticket.number)
            if waiting and served:
                assert max(served) < min(waiting)


def record(
    session_id: str, employee: str, population: str, created_ms: int, ends_ms: int
) -> SessionRecord:
    return SessionRecord(
        session_id, employee, employee.title(), population, ("g",), created_ms, ends_ms
    )


class SessionWorld(SeatWorld):
    """Sessions and revocations on top of seats."""

    @rule(
        employee=employees,
        population=populations,
        lifetime=st.sampled_from((1, 60_000, 43_200_000)),
        late=st.sampled_from((0, 0, -5_000, 40)),
    )
    def log_in(self, employee: str, population: str, lifetime: int, late: int) -> None:
        self.created += 1
        created = self.state.now + late
        session = record(f"s{self.created}", employee, population, created, created + lifetime)
        evicted = self.same(
            self.sessions.put_session(session, most=2),
            lambda scripts: finish(BookSessions(scripts).put_session(session, most=2)),
        )
        assert len(self.sessions._of(employee)) <= 2
        for session_id in evicted:
            assert self.sessions.session(session_id) is None

    @precondition(lambda self: self.created > 0)
    @rule(data=st.data())
    def log_out(self, data: st.DataObject) -> None:
        session_id = f"s{data.draw(st.integers(1, self.created))}"

        def lua(scripts: LuaScripts) -> bool:
            return finish(BookSessions(scripts).end_session(session_id))

        self.same(self.sessions.end_session(session_id), lua)
        assert self.same(self.sessions.end_session(session_id), lua) is False

    @precondition(lambda self: self.created > 0)
    @rule(data=st.data())
    def log_in_again(self, data: st.DataObject) -> None:
        """The record is written again, for instance because the groups changed."""
        number = data.draw(st.integers(1, self.created))
        known = self.sessions._records.get(f"s{number}")
        if known is not None:
            moved = replace(known, population=data.draw(populations))
            self.same(
                self.sessions.put_session(moved, most=2),
                lambda scripts: finish(BookSessions(scripts).put_session(moved, most=2)),
            )

    @rule(
        named=st.one_of(
            st.tuples(st.just("employee"), employees),
            st.tuples(st.just("population"), populations),
            st.tuples(st.just("everybody"), st.just("")),
            st.tuples(st.just("session"), st.builds("s{}".format, st.integers(1, 9))),
        )
    )
    def revoke(self, named: Any) -> None:
        existing = [r for r in self.sessions._records.values() if _named(named, r)]
        self.same(
            self.sessions.revoke(*named),
            lambda scripts: finish(BookSessions(scripts).revoke(*named)),
        )
        for session in existing:
            assert self.sessions.session(session.id) is None

    @rule(data=st.data())
    def write_back(self, data: st.DataObject) -> None:
        """A worker restores what it knows (sessions it has met, revocations it has heard of)."""
        revocations = data.draw(
            st.lists(
                st.builds(
                    Revocation,
                    number=st.integers(1, 9),
                    kind=st.sampled_from(("employee", "population")),
                    subject=st.one_of(employees, populations),
                    ledger_ms=st.just(self.state.now - 1_000),
                ),
                max_size=2,
            )
        )
        sessions = data.draw(
            st.lists(
                st.builds(
                    record,
                    st.builds("w{}".format, st.integers(1, 4)),
                    employees,
                    populations,
                    st.sampled_from((self.state.now - 2_000, self.state.now)),
                    st.sampled_from((self.state.now, self.state.now + 60_000)),
                ),
                max_size=3,
                unique_by=lambda session: session.id,
            )
        )
        held = [(session.employee, session.population, 1_000) for session in sessions]
        self.sessions.restore(revocations, sessions, held)
        if self.scripts is not None:
            finish(BookSessions(self.scripts).restore(revocations, sessions, held))

    @rule(
        verb=st.sampled_from(("put", "take", "peek")),
        name=st.sampled_from(("a", "b")),
        value=st.binary(max_size=4),
    )
    def once(self, verb: str, name: str, value: bytes) -> None:
        if verb == "put":
            self.same(
                self.sessions.put_once("code", name, value, 30_000),
                lambda s: finish(BookSessions(s).put_once("code", name, value, 30_000)),
            )
        elif verb == "take":
            self.same(
                self.sessions.take_once("code", name),
                lambda s: finish(BookSessions(s).take_once("code", name)),
            )
            assert self.sessions.peek_once("code", name) is None
        else:
            self.same(
                self.sessions.peek_once("code", name),
                lambda s: finish(BookSessions(s).peek_once("code", name)),
            )

    @invariant()
    def same_sessions(self) -> None:
        for employee in EMPLOYEES:
            mine = self.sessions.sessions(employee)
            if self.scripts is not None:
                assert finish(BookSessions(self.scripts).sessions(employee)) == mine
        self.same(
            self.sessions.revocations_after(2),
            lambda scripts: revocations_from(
                scripts.run_text("after", "return sessions.revocations_after(2)")
            ),
        )


def _named(named: tuple[str, str], session: SessionRecord) -> bool:
    kind, subject = named
    if kind == "everybody":
        return True
    return {"session": session.id, "employee": session.employee, "population": session.population}[
        kind
    ] == subject
