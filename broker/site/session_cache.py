"""Who is behind a cookie, on one worker: the memory in front of tokens and session records.

``peek`` is the fast path: a dictionary look-up by the raw cookie value. ``resolve`` verifies the
signature and, where the worker has never met the session or the token is past its end, asks the
ledger for the record. Revocations arrive with the sync, in the order of their numbers, and are
applied before anything else is served. Only cookies with a valid signature of ours are remembered,
so a stranger cannot fill the memory.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from broker.errors import LedgerAway, LedgerLearning
from broker.ledger.port import Ledger, Revocation, SessionRecord
from broker.site.admission import Person, Session
from broker.site.identity import identity_headers
from broker.site.tokens import ASSERTION_SECONDS, SeatClaim, SessionClaims, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.site.ledger_time import LedgerTime

PROVISIONAL = 15.0  # seconds after which a session known by its signature alone is looked up again
REREAD_AT_ONCE = 50  # employees whose records are read again in one sync
USED_AT_ONCE = 500  # sessions of which one sync says that they were used
ASSERTION_REUSE = ASSERTION_SECONDS - 15
COOKIE_ATTRIBUTES = "; Path=/; Secure; HttpOnly; SameSite=Lax"


@dataclass(slots=True)
class CachedCookie:
    """One cookie value seen on this worker. ``until`` and ``renew_at`` are CLOCK_BOOTTIME seconds.
    ``seat_epoch``: the epoch of the seat that the token states, "" for none. ``renewed`` keeps the
    successor so that parallel requests get one and the same, and ``renewed_epoch`` that of its
    seat; ``renewed_by`` names the key, so that after a rotation none is handed out that the next
    one would end."""

    session: Session
    host: bytes
    until: float
    renew_at: float
    seat_epoch: str
    renewed: bytes | None = None
    renewed_epoch: str = ""
    renewed_by: str = ""


class SessionCache:
    """Sessions and people known to one worker. Implements ``doors.Sessions``."""

    def __init__(
        self,
        tokens: Tokens,
        ledger: Ledger,
        ledger_time: LedgerTime,
        log_name: Callable[[str], str],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        token_refresh: float,
        lifetime: float,
    ) -> None:
        self._tokens = tokens
        self._ledger = ledger
        self._ledger_time = ledger_time
        self._log_name = log_name
        self._clock = clock
        self._wall_clock = wall_clock
        self._token_refresh = token_refresh
        self._lifetime_ms = int(lifetime * 1000)
        self._cookies: dict[bytes, CachedCookie] = {}
        self._oldest: deque[tuple[float, bytes]] = deque()
        self._sessions: dict[str, Session] = {}
        self._records: dict[str, SessionRecord] = {}
        self._people: dict[str, Person] = {}
        self._ends: list[tuple[float, str]] = []
        self._provisional: set[str] = set()
        self._revocations: deque[Revocation] = deque()
        self._revoked_ms: dict[tuple[str, str], int] = {}
        self._changed: dict[str, None] = {}
        self._used: dict[str, None] = {}

    # --- the fast path

    def peek(self, cookie: bytes, host: bytes, now: float) -> Session | None:
        entry = self._cookies.get(cookie)
        if entry is None or now >= entry.until or entry.host != host:
            return None
        session = entry.session
        if not session.valid or now >= session.ends:
            return None
        return session

    # --- what may wait

    async def resolve(self, cookie: bytes, host: bytes) -> Session | None:
        try:
            claims = self._tokens.read_session(cookie.decode("ascii"), host.decode("ascii"))
        except UnicodeDecodeError:
            return None
        if claims is None or self._revoked(claims):
            return None
        session = self._sessions.get(claims.session_id)
        if session is None or session.id in self._provisional:
            session = await self._meet(claims)
            if session is None:
                return None
        now = self._clock()
        if not session.valid or now >= session.ends:
            return None
        self._trust_seat(session.person, claims, now)
        self._remember(cookie, host, session, claims, now)
        return session

    async def _meet(self, claims: SessionClaims) -> Session | None:
        """A session new to this worker: by its record. While Redis is away, or has forgotten it and
        is learning, by its signature, and then only until the record can be read."""
        try:
            record = await self._ledger.session(claims.session_id)
            provisional = False
        except (LedgerAway, LedgerLearning):
            if claims.expired:
                raise
            record = _stated(claims)
            provisional = True
        known = self._sessions.get(claims.session_id)
        if record is None or record.employee != claims.employee or self._revoked(claims):
            if known is not None:
                self._drop(known)
            return None
        if provisional:
            if known is None:
                self._provisional.add(claims.session_id)
                known = self._admit_record(record)
            return known
        if known is not None and claims.session_id in self._provisional:
            self._provisional.discard(claims.session_id)
            self._complete(known, record)
        return known if known is not None else self._admit_record(record)

    def _complete(self, session: Session, record: SessionRecord) -> None:
        """What the signature could not say: the name, and groups that did not fit."""
        self._records[record.id] = record
        session.display_name = record.display_name
        session.groups = record.groups
        session.tied = record.factor == "excepted"
        person = session.person
        session.headers = identity_headers(person.name, record.groups, person.population)
        session.assertions.clear()

    def _admit_record(self, record: SessionRecord) -> Session:
        person = self._people.get(record.employee)
        if person is None:
            person = Person(record.employee, record.population, self._log_name(record.employee))
            self._people[record.employee] = person
        elif not person.sessions:
            person.population = record.population
        left_ms = record.ends_ms - self._ledger_time.now_ms()
        ends = self._clock() + min(left_ms, self._lifetime_ms) / 1000
        headers = identity_headers(record.employee, record.groups, person.population)
        session = Session(record.id, person, record.display_name, record.groups, ends, headers)
        session.tied = record.factor == "excepted"
        person.sessions.add(session)
        self._sessions[record.id] = session
        self._records[record.id] = record
        heapq.heappush(self._ends, (ends, record.id))
        return session

    def _trust_seat(self, person: Person, claims: SessionClaims, now: float) -> None:
        """The token may state a seat; it is trusted only in the epoch it was written in."""
        if claims.expired or claims.seat_epoch != self._ledger_time.epoch:
            return
        left = (claims.seat_until_ms - self._ledger_time.now_ms()) / 1000
        person.seat_until = max(person.seat_until, now + left)

    def _remember(
        self, cookie: bytes, host: bytes, session: Session, claims: SessionClaims, now: float
    ) -> None:
        lifetime = float(self._tokens.token_lifetime)
        if claims.expired:  # the record vouched for it; it is replaced with this very answer
            left, age = 60.0, self._token_refresh
        else:
            age = min(max(self._wall_clock() - claims.issued_at, 0.0), lifetime)
            left = lifetime - age
        if session.id in self._provisional:
            left = min(left, PROVISIONAL)
        seat_epoch = claims.seat_epoch if claims.seat_until_ms else ""
        renew_at = now + self._token_refresh - age
        entry = CachedCookie(session, host, now + left, renew_at, seat_epoch)
        self._used[session.id] = None
        self._cookies[cookie] = entry
        self._oldest.append((entry.until, cookie))

    # --- what answers carry

    def renewal(self, session: Session, cookie: bytes, now: float) -> bytes | None:
        """A token is reissued when it is old; and at once when the seat is known but the token does
        not state it (in this epoch), since with it any worker may serve while Redis is away."""
        entry = self._cookies.get(cookie)
        if entry is None or not session.valid:
            return None
        epoch = self._ledger_time.epoch
        if entry.seat_epoch == epoch or session.person.seat_until <= now:
            if now < entry.renew_at:
                return None
            epoch = entry.seat_epoch if session.person.seat_until <= now else epoch
        by = self._tokens.session_kid
        if entry.renewed is None or entry.renewed_epoch != epoch or entry.renewed_by != by:
            record = self._records[session.id]
            host = entry.host.decode("ascii")
            seat = self._seat_claim(session.person, now)
            token = self._tokens.session_cookie(record, host, seat)
            entry.renewed = token.encode("ascii")
            self._used[session.id] = None
            entry.renewed_epoch, entry.renewed_by = epoch, by
        return b"__Host-broker=" + entry.renewed + COOKIE_ATTRIBUTES.encode("ascii")

    def _seat_claim(self, person: Person, now: float) -> SeatClaim | None:
        if person.seat_until <= now:
            return None
        until_ms = self._ledger_time.now_ms() + int((person.seat_until - now) * 1000)
        return SeatClaim(self._ledger_time.epoch, until_ms)

    def assertion(self, session: Session, pool: str, now: float) -> bytes:
        cached = session.assertions.get(pool)
        if cached is not None and now < cached[1]:
            return cached[0]
        person = session.person
        token = self._tokens.assertion(
            person.name, session.id, person.population, session.groups, pool
        ).encode("ascii")
        session.assertions[pool] = (token, now + ASSERTION_REUSE)
        return token

    def portal_assertion(self, session: Session | None, claims: Mapping[str, Any]) -> bytes:
        stated: dict[str, Any] = dict(claims)
        if session is not None:
            stated |= {
                "sub": session.person.name,
                "sid": session.id,
                "pop": session.person.population,
                "name": session.display_name,
                "groups": list(session.groups),
                "left": max(0, int(session.ends - self._clock())),
            }
        return self._tokens.portal_assertion(stated).encode("ascii")

    # --- revocations

    def revoke(self, revocation: Revocation) -> None:
        """Apply one numbered revocation: sessions end, tunnels and streams close, seats go."""
        if revocation.kind == "changed":
            if revocation.subject in self._people:
                self._changed[revocation.subject] = None
            return
        self._revocations.append(revocation)
        key = (revocation.kind, revocation.subject)
        self._revoked_ms[key] = max(revocation.ledger_ms, self._revoked_ms.get(key, 0))
        for session in self._candidates(revocation):
            record = self._records[session.id]
            if names(revocation, record.id, record.employee, record.population, record.created_ms):
                self._drop(session)

    def _candidates(self, revocation: Revocation) -> list[Session]:
        """Whom it can concern: a logout, the commonest of all, looks at one session."""
        if revocation.kind == "session":
            session = self._sessions.get(revocation.subject)
            return [session] if session is not None else []
        if revocation.kind == "employee":
            person = self._people.get(revocation.subject)
            return list(person.sessions) if person is not None else []
        return list(self._sessions.values())

    def _drop(self, session: Session) -> None:
        session.valid = False
        self._sessions.pop(session.id, None)
        self._records.pop(session.id, None)
        self._provisional.discard(session.id)
        person = session.person
        person.sessions.discard(session)
        for stream in list(session.streams):
            stream.revoke()
        if not person.sessions:
            person.seat_until = 0.0
            self._people.pop(person.name, None)

    def is_ended(self, session_id: str) -> bool:
        """Whether this session was ended by itself: a logout, or an operator."""
        return ("session", session_id) in self._revoked_ms

    def _revoked(self, claims: SessionClaims) -> bool:
        revoked, born = self._revoked_ms, claims.created_ms
        return (
            ("session", claims.session_id) in revoked
            or revoked.get(("employee", claims.employee), -1) >= born
            or revoked.get(("population", claims.population), -1) >= born
            or revoked.get(("everybody", ""), -1) >= born
        )

    # --- what the directory says anew

    async def reread(self, most: int = REREAD_AT_ONCE) -> None:
        """Read the records of employees that have changed, some now and the others next time. While
        the ledger is away they stay as they are."""
        for name in list(self._changed)[:most]:
            person = self._people.get(name)
            try:
                for session in list(person.sessions) if person is not None else ():
                    record = await self._ledger.session(session.id)
                    if record is not None and session.valid:
                        self._renew(session, record)
            except (LedgerAway, LedgerLearning):
                return
            self._changed.pop(name, None)

    def _renew(self, session: Session, record: SessionRecord) -> None:
        """Groups and name are in force at once. Another population is asked for with the next claim
        of a seat, which says whether the one held keeps its own."""
        person = session.person
        if record.population != person.population:
            person.seat_until = 0.0
            person.population = record.population
            for other in person.sessions:
                other.headers = identity_headers(person.name, other.groups, person.population)
                other.assertions.clear()
        self._complete(session, record)

    # --- for the sync

    def take_used(self) -> tuple[str, ...]:
        """Sessions used since it was told last, by their new cookies: the fast path writes nothing
        down, so this is behind by up to the time after which a token is issued again."""
        taken = tuple(islice(self._used, USED_AT_ONCE))
        for session_id in taken:
            del self._used[session_id]
        return taken

    def not_told(self, used: tuple[str, ...]) -> None:
        self._used |= dict.fromkeys(used)

    def shorten_seats(self, trusted: float) -> None:
        """The idle time became shorter: no seat is trusted longer than the new one allows."""
        for person in self._people.values():
            person.seat_until = min(person.seat_until, person.last_active + trusted)

    def person(self, name: str) -> Person | None:
        return self._people.get(name)

    def people_count(self) -> int:
        return len(self._people)

    def people(self) -> list[Person]:
        return list(self._people.values())

    def records(self) -> list[SessionRecord]:
        """What this worker can write back after the ledger lost its memory: what it has read,
        and no guesses at it."""
        return [r for r in self._records.values() if r.id not in self._provisional]

    def revocations(self) -> list[Revocation]:
        return list(self._revocations)

    def sweep(self, now: float, most: int = 2000) -> None:
        """Forget expired cookies, then sessions past their end; bounded work a call."""
        swept = 0
        while self._oldest and self._oldest[0][0] <= now and swept < most:
            _until, cookie = self._oldest.popleft()
            entry = self._cookies.get(cookie)
            if entry is not None and entry.until <= now:
                del self._cookies[cookie]
            swept += 1
        while self._ends and self._ends[0][0] <= now:
            session = self._sessions.get(heapq.heappop(self._ends)[1])
            if session is not None:
                self._drop(session)
        horizon = self._ledger_time.now_ms() - self._lifetime_ms
        while self._revocations and self._revocations[0].ledger_ms < horizon:
            old = self._revocations.popleft()
            if self._revoked_ms.get((old.kind, old.subject)) == old.ledger_ms:
                del self._revoked_ms[old.kind, old.subject]


def _stated(claims: SessionClaims) -> SessionRecord:
    """The record as far as the token itself states it."""
    return SessionRecord(
        id=claims.session_id,
        employee=claims.employee,
        display_name=claims.employee,
        population=claims.population,
        groups=claims.groups or (),
        created_ms=claims.created_ms,
        ends_ms=claims.ends_ms,
        factor="excepted" if claims.tied else "",
    )


def names(
    revocation: Revocation, session_id: str, employee: str, population: str, created_ms: int
) -> bool:
    """Whether a revocation names this session. A login after it is not concerned."""
    if revocation.kind == "session":
        return revocation.subject == session_id
    if created_ms > revocation.ledger_ms:
        return False
    if revocation.kind == "employee":
        return revocation.subject == employee
    if revocation.kind == "population":
        return revocation.subject == population
    return True
