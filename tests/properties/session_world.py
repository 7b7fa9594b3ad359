"""Sessions and revocations on top of ``seat_world.py``: logins, logouts, writing back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from broker.errors import SessionsFull
from broker.ledger.book_sessions import BookSessions, revocations_from
from broker.ledger.memory_rereading import MemoryRereading
from broker.ledger.port import Revocation, SessionRecord
from tests.properties.seat_world import EMPLOYEES, SeatWorld, employees, populations
from tests.support.lua_scripts import finish

if TYPE_CHECKING:
    from broker.ledger.port import RevocationKind
    from tests.support.lua_scripts import LuaScripts


def record(
    session_id: str, employee: str, population: str, created_ms: int, ends_ms: int
) -> SessionRecord:
    return SessionRecord(
        session_id, employee, employee.title(), population, ("g",), created_ms, ends_ms
    )


class SessionWorld(SeatWorld):
    """Sessions and revocations on top of seats."""

    @property
    def rereading(self) -> MemoryRereading:
        return MemoryRereading(self.state, self.sessions)

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

    @precondition(lambda self: self.created > 0)
    @rule(data=st.data(), employee=employees, population=populations, refuse=st.booleans())
    def log_in_instead(
        self, data: st.DataObject, employee: str, population: str, refuse: bool
    ) -> None:
        """In a browser that is logged in, perhaps as somebody else: seat and ticket are kept."""
        former = f"s{data.draw(st.integers(1, self.created))}"
        self.created += 1
        now = self.state.now
        session = record(f"s{self.created}", employee, population, now, now + 60_000)
        known = self.sessions._records.get(former)
        mine = known is not None and known.employee == employee
        before = self.sessions._seats._seats.get(employee) if mine else None

        def put(book: Any) -> Any:
            try:
                return book.put_session(session, most=2, refuse=refuse, replaced=former)
            except SessionsFull:
                return None

        def lua(scripts: LuaScripts) -> Any:
            try:
                book = BookSessions(scripts)
                return finish(book.put_session(session, most=2, refuse=refuse, replaced=former))
            except SessionsFull:
                return None

        stored = self.same(put(self.sessions), lua)
        if stored == () and mine:
            assert self.sessions.session(former) is None
        if before is not None and stored is not None and session.id not in stored:
            assert self.sessions._seats._seats.get(employee) is before

    @precondition(lambda self: self.created > 0)
    @rule(data=st.data())
    def workers_saw(self, data: st.DataObject) -> None:
        used = data.draw(st.lists(st.builds("s{}".format, st.integers(1, self.created + 1))))
        self.sessions.apply_used(used)
        if self.scripts is not None:
            self.scripts.run_text("used", "sessions.apply_used(ARGV)", *used)

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

    @precondition(lambda self: self.created > 0)
    @rule(data=st.data(), population=populations)
    def directory_says_something_else(self, data: st.DataObject, population: str) -> None:
        """Of a session that lives, has ended, or was never there; of its owner or of another."""
        session_id = f"s{data.draw(st.integers(1, self.created + 1))}"
        employee = data.draw(employees)
        said = record(session_id, employee, population, 1, 2)
        before = self.sessions.session(session_id)
        updated = self.same(
            self.sessions.update(employee, [said]),
            lambda scripts: finish(BookSessions(scripts).update_sessions(employee, [said])),
        )
        if updated:
            after = self.sessions.session(session_id)
            assert before is not None
            assert after is not None
            assert (after.created_ms, after.ends_ms) == (before.created_ms, before.ends_ms)
            assert after.population == population

    @rule(
        named=st.one_of(
            st.tuples(st.just("employee"), employees),
            st.tuples(st.just("population"), populations),
            st.tuples(st.just("everybody"), st.just("")),
            st.tuples(st.just("session"), st.builds("s{}".format, st.integers(1, 9))),
        )
    )
    def refresh(self, named: tuple[RevocationKind, str]) -> None:
        kind, subject = named
        self.same(
            self.rereading.mark_due(kind, subject),
            lambda scripts: finish(BookSessions(scripts).mark_due(kind, subject)),
        )

    @rule(most=st.integers(1, 3), every=st.sampled_from((1, 60_000)))
    def portal_reads(self, most: int, every: int) -> None:
        due = self.same(
            self.rereading.due_employees(most, every),
            lambda scripts: finish(BookSessions(scripts).due_employees(most, every)),
        )
        assert all(self.sessions.count(employee) for employee in due)

    @rule(
        named=st.one_of(
            st.tuples(st.just("population"), populations),
            st.tuples(st.just("everybody"), st.just("")),
        )
    )
    def list_the_youngest(self, named: tuple[RevocationKind, str]) -> None:
        kind, subject = named
        self.same(
            self.rereading.list_sessions(kind, subject, 2),
            lambda scripts: finish(BookSessions(scripts).list_sessions(kind, subject, 2)),
        )

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
