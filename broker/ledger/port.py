"""What the site asks of its ledger. ``redis_ledger.py`` answers with Lua in Redis, ``memory.py``
(the twin) with the pure policy; ``tests/contracts`` runs one suite on both.

Times in answers are *ledger time*: whole milliseconds of a stored counter that each call advances
by clamp(TIME - last TIME, 0, 1 s), so that wall-clock jumps change nothing. Every call either
answers, or raises LedgerAway within the command deadline (100 ms by default).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broker.policy.guard import Figures
    from broker.policy.guessing import BanKind, GuessRules
    from broker.policy.limits import LimitsDocument
    from broker.policy.seats import SeatState

RevocationKind = Literal["session", "employee", "population", "everybody", "changed"]
AdminRole = Literal["viewer", "operator"]
Enrolled = Literal["enrolled", "exists", "closed", "revoked"]


@dataclass(frozen=True, slots=True)
class CellReport:
    """One cell as the worker sees it when it sends: ``held`` (its grant after its own debits; never
    more than the last cap it accepted), ``used`` (connections in flight), ``want`` (how many more
    it could spend now) and the age of its oldest want in milliseconds.
    """

    pool: str
    population: str
    held: int
    used: int
    want: int = 0
    want_age_ms: int = 0


@dataclass(frozen=True, slots=True)
class Touch:
    """A seated employee was active ``idle_ms`` ago."""

    employee: str
    idle_ms: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """From revocation ``number`` on, nothing issued to ``subject`` before ``ledger_ms`` counts. The
    kind ``changed`` revokes nothing: the records of that employee are to be read again."""

    number: int
    kind: RevocationKind
    subject: str
    ledger_ms: int


@dataclass(frozen=True, slots=True)
class Promise:
    """A page told a waiting employee that the call comes within ``ms``: the p90 of an estimate."""

    employee: str
    ms: int


@dataclass(frozen=True, slots=True)
class FormerTicket:
    """A ticket as it was in ``epoch``, its owner last heard of ``silent_ms`` ago."""

    employee: str
    population: str
    number: int
    epoch: str
    silent_ms: int


@dataclass(frozen=True, slots=True)
class SyncReport:
    """One worker's sync. ``sequence`` grows by one with each report that is sent; ``epoch`` is the
    last one the worker heard ("" at the start). ``limits_known`` acknowledges the document in force
    on this worker. ``present``: employees who polled the waiting room since the last sync,
    ``promises``: what they were told first. ``calls_known``: the last stretch of time (see
    ``policy.forecast``) whose calls the worker has heard of. ``sessions_used``: ids of sessions
    served since the last report.
    """

    incarnation: str
    sequence: int
    epoch: str
    cells: tuple[CellReport, ...] = ()
    touches: tuple[Touch, ...] = ()
    present: tuple[str, ...] = ()
    revocations_known: int = 0
    limits_known: int = 0
    digest: str = ""
    leaving: bool = False
    promises: tuple[Promise, ...] = ()
    calls_known: int = 0
    sessions_used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueView:
    """One population's queue: how many wait, the highest number called so far, the ``marks`` of
    ``policy.standing``, and the calls of the stretches of time after ``calls_known`` that are over
    (only those in which somebody waited)."""

    waiting: int
    called_upto: int
    marks: tuple[tuple[int, int], ...] = ()
    calls: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SyncReply:
    """Absolute caps by (pool, population); the worker uses them only when ``sequence`` is that of
    its latest report and ``epoch`` is the one it knows. A cap below what is in use means: return
    the rest as it comes back. ``limits`` is set when the ledger's number is above the known one.
    ``lost_seats`` answers the touches: seats no longer held; ``lost_tickets`` what was ``present``:
    employees without a ticket that could be called. ``leases`` tells, by pool, how long
    (ms, from before sending) these caps may be used. ``starved``: cells where a want older than one
    tick finds nothing free. ``bases``: unused slices that may be kept beyond a tick meanwhile.
    """

    sequence: int
    epoch: str
    learning: bool
    ledger_ms: int
    caps: Mapping[tuple[str, str], int]
    leases: Mapping[str, int] = field(default_factory=dict)
    lost_seats: tuple[str, ...] = ()
    revocations: tuple[Revocation, ...] = ()
    revocations_upto: int = 0
    limits: LimitsDocument | None = None
    queues: Mapping[str, QueueView] = field(default_factory=dict)
    starved: tuple[tuple[str, str], ...] = ()
    bases: Mapping[tuple[str, str], int] = field(default_factory=dict)
    lost_tickets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeatAnswer:
    """``seated``: the seat is held (touched now). ``waiting``: a ticket with this ``number``; place
    is ``position`` (1 = next). ``called`` is only answered by ``look`` (admit claims at once).
    ``claim_ms`` is what is left of the claim window; ``number`` counts in ``epoch``. ``idle_ms``:
    for how long the seat was idle, as far as workers have reported; only ``look`` says it.
    """

    state: SeatState
    population: str = ""
    number: int | None = None
    position: int | None = None
    claim_ms: int | None = None
    ledger_ms: int = 0
    idle_ms: int | None = None
    epoch: str = ""


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One logged-in browser as stored. Times are ledger time; ``ends_ms`` is the absolute end.
    ``last_seen_ms``: the last use, to within the time after which a token is issued again; up to
    date only in the answers of ``sessions`` and ``list_sessions``."""

    id: str
    employee: str
    display_name: str
    population: str
    groups: tuple[str, ...]
    created_ms: int
    ends_ms: int
    last_seen_ms: int = 0
    address: str = ""
    agent: str = ""
    factor: Literal["", "totp", "recovery", "excepted"] = ""
    """The second factor that was used at the login; ``excepted``: one is needed, but not in the
    network it came from, so the session is good there only."""


@dataclass(frozen=True, slots=True)
class Factor:
    """An employee's second factor. ``id``: of this enrolment. ``sealed``: the secret, which the
    ledger cannot read. ``last_step``: the time step of the last code that was used. ``recovery``:
    digests of the recovery codes that are left. ``since_ms``: civil time, as the ledger has it."""

    id: str
    sealed: str
    last_step: int
    recovery: tuple[str, ...] = ()
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class FactorView:
    """``factor`` is None for who has none; ``may_enrol_ms``: for how long more they may set one up
    (0: not)."""

    factor: Factor | None
    may_enrol_ms: int = 0


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker as the ledger knows it, for people and for acknowledgement."""

    incarnation: str
    last_seen_ms: int
    limits_known: int
    digest: str
    held: int
    used: int


@dataclass(frozen=True, slots=True)
class Usage:
    """A consistent snapshot for metrics, console, what-if. By population or (pool, population).
    Of the waits that ended with a call, ``estimates_shown`` had been told how long they would last
    at most (p90), and ``estimates_kept`` did not last longer."""

    ledger_ms: int
    epoch: str
    learning: bool
    limits: LimitsDocument
    occupied: Mapping[str, int]
    called: Mapping[str, int]
    waiting: Mapping[str, int]
    held: Mapping[tuple[str, str], int]
    used: Mapping[tuple[str, str], int]
    estimates_shown: int = 0
    estimates_kept: int = 0


@dataclass(frozen=True, slots=True)
class GuessAnswer:
    """``allowed``: the password may be tried after ``wait_ms``; ``tallies`` are what the try was
    counted in. ``pair``, ``address``: banned, for another ``wait_ms``. How many bans this very try
    has brought is for metrics."""

    verdict: Literal["allowed", "pair", "address"]
    wait_ms: int
    tallies: tuple[str, ...] = ()
    pairs_banned: int = 0
    addresses_banned: int = 0


@dataclass(frozen=True, slots=True)
class Ban:
    """``where`` is an address, of IPv6 its /64; of a known browser its id. ``employee`` is empty
    for a ban of a whole address. ``left_ms``: what is left of it."""

    kind: BanKind
    employee: str
    where: str
    left_ms: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the audit trail: who did what to which ``subject``, why, from what to what. The
    ledger adds ``number`` (1, 2, ...), ``civil_ms`` and the ``version`` of the limits after it."""

    author: str
    action: str
    subject: str
    reason: str = ""
    before: str = ""
    after: str = ""
    number: int = 0
    civil_ms: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class AdminToken:
    """Whom the admin API lets in, by name. ``digest``: SHA-256 of the token in hexadecimal, all
    that is kept of it. ``created_ms``, ``ends_ms`` (0: never): civil time; ``author``: who made
    it."""

    name: str
    role: AdminRole
    digest: str
    created_ms: int
    author: str
    ends_ms: int = 0


@dataclass(frozen=True, slots=True)
class Stewardship:
    """``steward``: who drives ramps and ends at present. ``wall_ms``: civil time as Redis has it.
    For the steward only: ``readings``, by incarnation, the latest figures by pool of every worker
    that the ledger knows, with their age in milliseconds; ``notes``, what was kept last."""

    steward: str
    ledger_ms: int
    wall_ms: int
    readings: Mapping[str, tuple[int, Mapping[str, Figures]]] = field(default_factory=dict)
    notes: bytes = b""


@dataclass(frozen=True, slots=True)
class Measures:
    """What what-if needs beside ``Usage``. ``idle``: by population, how many seats are idle for
    longer than each of the times asked for. ``notes``: those of the steward, with what pools
    carried. ``script_seconds``: what one call of the ledger takes on average, None: not known."""

    idle: Mapping[str, tuple[int, ...]]
    notes: bytes = b""
    script_seconds: float | None = None


class Ledger(Protocol):
    """The ledger. All names given are canonical: employee (directory name), population, pool."""

    # --- limits
    async def limits(self) -> LimitsDocument | None:
        """The document in force, or None before the first publication."""
        ...

    async def publish(
        self,
        document: LimitsDocument,
        *,
        if_match: int,
        first_start: bool = False,
        entry: AuditEntry | None = None,
    ) -> LimitsDocument:
        """Replace document number ``if_match`` (0: there must be none). Raises Stale. Returns it
        with its new number, which is above its own; wakes the workers. ``entry`` is written to the
        audit trail in the same step.

        A ledger that remembers nobody cannot tell a first start from lost memory, and learns for
        the longest lease. ``first_start`` ends that at once: only for who *knows* that no worker
        of this site holds anything."""
        ...

    # --- the steward, the audit trail
    async def steward(
        self,
        incarnation: str,
        figures: Mapping[str, Figures],
        *,
        lease_ms: int,
        notes: bytes | None = None,
    ) -> Stewardship:
        """Say what this worker's servers answered (by pool, since it started), and be the steward
        for ``lease_ms`` if nobody else is. ``notes``, kept for the next steward, only count from
        the one who is."""
        ...

    async def figures(self) -> Mapping[str, tuple[int, Mapping[str, Figures]]]:
        """What the workers have told so, by incarnation with its age in milliseconds, for people.
        A dead worker's may be among them until the steward has looked."""
        ...

    async def record(self, entry: AuditEntry) -> int:
        """Append to the audit trail; returns the entry's number."""
        ...

    async def audit(self, *, most: int, before: int = 0) -> Sequence[AuditEntry]:
        """The latest ``most`` entries, oldest first; with ``before``, those with lower numbers."""
        ...

    # --- tokens of the admin API
    async def put_token(self, token: AdminToken, entry: AuditEntry) -> bool:
        """Let it in from now on, with ``entry`` in the audit trail; False, and nothing has changed,
        when the name is taken."""
        ...

    async def drop_token(self, name: str, entry: AuditEntry) -> bool:
        """Let it in no more; False, and no ``entry``, when there is none of that name."""
        ...

    async def tokens(self) -> Sequence[AdminToken]:
        """All of them, by name."""
        ...

    # --- workers, grants
    async def sync(self, report: SyncReport) -> SyncReply:
        """The only call on behalf of connections. Atomic; safe to lose in either direction."""
        ...

    async def tombstone(self, incarnation: str) -> bool:
        """The worker is dead for certain (waitpid said so): its grants return. False if unknown."""
        ...

    async def forget_worker(self, incarnation: str) -> bool:
        """An operator says that a silent worker is gone for good: its grants come back. False if
        unknown."""
        ...

    async def workers(self) -> Sequence[WorkerView]: ...

    # --- seats and tickets
    async def admit(self, employee: str, population: str) -> SeatAnswer:
        """Take, keep or claim the employee's seat; else take or keep a ticket. This is presence."""
        ...

    async def admit_all(self, asking: Sequence[tuple[str, str]]) -> Sequence[SeatAnswer]:
        """``admit`` for several (employee, population) at once, who come in this order."""
        ...

    async def put_back(self, tickets: Sequence[FormerTicket]) -> None:
        """Tickets of former epochs go back to their old numbers, once per employee: before all who
        are new. One of this epoch, one that is lost and one whose owner has a seat do not."""
        ...

    async def remove_ticket(self, employee: str) -> bool:
        """An operator takes a ticket away. False if there was none."""
        ...

    async def look(self, employee: str, *, present: bool = False) -> SeatAnswer:
        """State, without taking anything; ``gone``: no seat, no ticket. ``present``: a poll."""
        ...

    async def release(self, employee: str) -> bool:
        """Give the seat and ticket back. Twice changes nothing. True if anything was held."""
        ...

    async def evict_idle(self, *, most: int) -> int:
        """End at most ``most`` idle seats, the longest idle first, down to the limits in force;
        returns how many (0: there are none left to end). Nothing while learning."""
        ...

    # --- sessions
    async def put_session(
        self, record: SessionRecord, *, most: int, refuse: bool = False, replaced: str = ""
    ) -> tuple[str, ...]:
        """Store it; evict and revoke the employee's oldest beyond ``most``; returns their ids. With
        ``refuse`` nobody is evicted: raises SessionsFull. ``replaced``: a session of the same
        employee that ends with this one's beginning; seat and ticket are kept."""
        ...

    async def session(self, session_id: str) -> SessionRecord | None:
        """The record, or None when there is none (any more). Raises LedgerLearning when it may be
        one that is not written back yet."""
        ...

    async def sessions(self, employee: str) -> Sequence[SessionRecord]: ...

    async def list_sessions(
        self, kind: RevocationKind, subject: str, most: int
    ) -> tuple[int, Sequence[SessionRecord]]:
        """Of a ``population`` or ``everybody``: how many there are, and the youngest of them."""
        ...

    async def due_employees(self, most: int, every_ms: int) -> Sequence[str]:
        """Employees with sessions whose entry was not read for so long; they count as read now."""
        ...

    async def mark_due(self, kind: RevocationKind, subject: str) -> int:
        """Whoever is named is due at once; returns how many that are new."""
        ...

    async def update_sessions(self, employee: str, records: Sequence[SessionRecord]) -> int:
        """The directory says something else: replace what the records say (not when they end), and
        tell the workers. Of records that are gone nothing is written; returns how many were."""
        ...

    async def end_session(self, session_id: str) -> bool:
        """Log out: delete, append a revocation, release the seat if it was the last. Idempotent."""
        ...

    async def revoke(self, kind: RevocationKind, subject: str) -> int:
        """Append to the numbered list, delete what it names, free the seats; returns its number."""
        ...

    async def restore(
        self,
        revocations: Sequence[Revocation],
        sessions: Sequence[SessionRecord],
        seats: Sequence[tuple[str, str, int]],
    ) -> None:
        """After an epoch change a worker writes back what it knows (set if absent), revocations
        first. ``seats``: (employee, population, idle_ms)."""
        ...

    # --- things that may be used once (hand-over codes, return addresses, login forms)
    async def put_once(
        self, kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0
    ) -> bool:
        """Store if absent; True if it was. The key must be unguessable or a hash. Of a kind that
        strangers can make, the latest ``most`` are kept (0: all until they end)."""
        ...

    async def take_once(self, kind: str, key: str) -> bytes | None:
        """Get and delete, atomically."""
        ...

    async def peek_once(self, kind: str, key: str) -> bytes | None: ...

    # --- tries of passwords, bans
    async def guess(
        self, employee: str, address: str, browser: str, rules: GuessRules
    ) -> GuessAnswer:
        """Count a try before the password is tried, so that many at once count as many. ``address``
        as ``policy.guessing.bannable`` tells it; ``browser``: known to be the employee's, or ""."""
        ...

    async def settle_guess(self, tallies: Sequence[str], *, right: bool) -> None:
        """The password was ``right``: what its pair had against it is forgotten. Else it was never
        tried (the directory was away), and the try does not count. A wrong one needs no call."""
        ...

    async def banned(self, address: str) -> int:
        """For how many ms more nobody may log in from there; 0 when it is not banned."""
        ...

    async def bans(self, most: int = 1000) -> Sequence[Ban]:
        """Those in force, the longest first."""
        ...

    async def clear_bans(self, *, employee: str = "", address: str = "") -> int:
        """End the bans of an employee's name, or of an address, or all when neither is said;
        returns how many there were."""
        ...

    # --- second factors; all but the last three raise LedgerLearning while it learns: what it has
    # forgotten must not look like what never was
    async def factor(self, employee: str) -> FactorView: ...

    async def enrol(
        self, employee: str, factor: Factor, population: str, proved_ms: int
    ) -> Enrolled:
        """Keep it, if the employee has none (``exists``) and may set one up (``closed``), unless a
        session of ``population`` begun at ``proved_ms``, when the password was right, would be
        revoked by now (``revoked``); a permission for this employee alone is used up by it.
        ``since_ms`` is the ledger's."""
        ...

    async def spend_step(self, employee: str, factor_id: str, step: int) -> bool:
        """Use the code of ``step``: True for exactly one caller, and never for a step that is not
        above the last used one, or of another enrolment."""
        ...

    async def spend_recovery(self, employee: str, factor_id: str, digest: str) -> bool:
        """Use a recovery code: True for exactly one caller."""
        ...

    async def reseal_factor(self, employee: str, factor_id: str, sealed: str) -> bool:
        """The same secret under a newer key; False when the enrolment is another one by now."""
        ...

    async def reset_factor(self, employee: str, lasts_ms: int, entry: AuditEntry) -> bool:
        """Forget the factor; the employee may set up another one for ``lasts_ms`` (0: not), within
        this epoch. True if there was one. ``entry`` is written in the same step."""
        ...

    async def open_enrolment(self, lasts_ms: int, entry: AuditEntry | None = None) -> None:
        """Whoever has no factor may set one up for ``lasts_ms`` from now (0: no more), within this
        epoch: a ledger that came back closes it, because it may have forgotten factors."""
        ...

    async def enrolment(self) -> int:
        """For how many ms more everybody may; 0 when it is closed."""
        ...

    # --- all
    async def usage(self) -> Usage: ...

    async def measures(self, idle_ms: Sequence[int]) -> Measures:
        """For what-if: seats idle for longer than each of these times, and what was measured."""
        ...

    async def wakeups(self) -> Wakeups:
        """A subscription that wakes a worker early; losing it costs one tick."""
        ...

    async def close(self) -> None: ...


class Wakeups(Protocol):
    """Early wake-ups by pub/sub. ``next`` waits for at most ``seconds``."""

    async def next(self, seconds: float) -> bool: ...

    async def close(self) -> None: ...
