"""Sessions and revocations on top of ``seat_world.py``: logins, logouts, writing back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from broker.ledger.book_sessions import BookSessions, revocations_from
from broker.ledger.port import Revocation, SessionRecord
from tests.properties.seat_world import EMPLOYEES, SeatWorld, employees, populations
from tests.support.lua_scripts import finish

if TYPE_CHECKING:
    from tests.support.lua_scripts import LuaScripts


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
