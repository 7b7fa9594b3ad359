"""The waiting room as one worker knows it: places and estimates told without asking the ledger.

The sync brings, for each population, the number called up to, marks of its queue and the calls of
the last minutes; a ticket is known from the ledger's own answers or from the signed cookie that its
owner's browser shows. From these ``standing`` answers a poll by arithmetic alone. It leaves to the
ledger (``claims.py``) what only that can know: a number at or below the one called up to, a ticket
of a former epoch, a population that is no longer admitted. Who polled (presence) and what was
promised go out with the next sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.port import FormerTicket, Promise, QueueView, SeatAnswer
from broker.policy.forecast import STRETCHES, Estimate, Flow, estimate, measure, stretch_of
from broker.policy.standing import CALLED_POLL, poll_seconds, position
from broker.site.admission import Ticket
from broker.site.doors import Standing
from broker.site.tokens import TicketClaims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.ledger.port import SyncReply
    from broker.policy.limits import LimitsDocument
    from broker.site.admission import Person, Session
    from broker.site.ledger_time import LedgerTime
    from broker.site.tokens import Tokens

MOST_PRESENT = 500  # in one sync
SIGN_AGAIN = 600.0  # seconds: a third of the silence after which a ticket is lost
LEARNING_POLL = 9
COOKIE = b"__Host-broker-ticket="
ATTRIBUTES = b"; Path=/; Secure; HttpOnly; SameSite=Lax"
FORGET = COOKIE + b"; Max-Age=0" + ATTRIBUTES


class _Queue:
    """One population: the latest view of its queue, and the flow measured from its calls."""

    __slots__ = ("calls", "flow", "measured_at", "view")

    def __init__(self) -> None:
        self.view = QueueView(0, 0)
        self.calls: dict[int, int] = {}
        self.flow: Flow | None = None
        self.measured_at = -1

    def hear(self, view: QueueView, present: int) -> None:
        self.view = view
        if view.calls:
            self.calls.update(view.calls)
            for old in [at for at in self.calls if at < present - STRETCHES]:
                del self.calls[old]
        if view.calls or self.measured_at != present:
            self.flow = measure(self.calls, present)
            self.measured_at = present


class WaitingRoom:
    """Of one worker. ``clock``: CLOCK_BOOTTIME seconds. ``revoked``: whether a session id is."""

    def __init__(
        self,
        tokens: Tokens,
        ledger_time: LedgerTime,
        revoked: Callable[[str], bool],
        clock: Callable[[], float],
    ) -> None:
        self._tokens = tokens
        self._ledger_time = ledger_time
        self._revoked = revoked
        self._clock = clock
        self._queues: dict[str, _Queue] = {}
        self._present: dict[str, None] = {}
        self._promises: dict[str, int] = {}
        self._limits: LimitsDocument | None = None
        self.learning = True
        self.calls_known = 0

    # --- polls

    def standing(self, session: Session, cookie: bytes | None, now: float) -> Standing | None:
        """Where the employee stands, and this is presence; None when the ledger must be asked.
        ``cookie``: the value of the ticket cookie that the browser showed."""
        person = session.person
        if person.seat_until > now:
            return self.seated(person, cookie)
        ticket = person.ticket or self._shown(person, cookie, now)
        if self.learning:
            if ticket is not None:
                self._present[person.name] = None
            return Standing("learning", person.population, poll_seconds=LEARNING_POLL)
        if ticket is None or ticket.lost or ticket.epoch != self._ledger_time.epoch:
            return None
        queue = self._queues.get(ticket.population)
        if queue is None or ticket.number <= queue.view.called_upto:
            return None
        if not self._admitted(ticket.population):
            return None
        self._present[person.name] = None
        ticket.seen_at = now
        place = position(queue.view.marks, queue.view.waiting, ticket.number)
        return self._waiting(session, ticket, place, queue.flow, cookie, now)

    def estimates(self) -> dict[str, Estimate | None]:
        """What somebody who comes now would be told, by population in which somebody waits."""
        return {
            name: estimate(queue.flow, queue.view.waiting + 1)
            for name, queue in self._queues.items()
            if queue.view.waiting
        }

    def met(
        self, session: Session, answer: SeatAnswer, cookie: bytes | None, now: float
    ) -> Standing:
        """Where the employee stands by an answer of the ledger."""
        person = session.person
        if answer.state == "seated":
            return self.seated(person, cookie)
        if answer.number is None:
            if answer.state != "learning":
                return self._without_ticket(person, answer, cookie)
            return Standing("learning", answer.population, poll_seconds=LEARNING_POLL)
        epoch = self._ledger_time.epoch
        if answer.epoch != epoch:
            # The ledger has forgotten and this worker is about to hear of it: a number of the new
            # epoch must not replace the place that the browser still holds.
            return Standing("learning", answer.population, poll_seconds=LEARNING_POLL)
        ticket = person.ticket
        if ticket is None or ticket.lost or (ticket.number, ticket.epoch) != (answer.number, epoch):
            ticket = person.ticket = Ticket(answer.population, answer.number, epoch)
        ticket.seen_at = now
        if answer.state == "learning":
            return Standing("learning", answer.population, poll_seconds=LEARNING_POLL)
        if answer.state == "called":
            return Standing(
                "called",
                answer.population,
                poll_seconds=CALLED_POLL,
                claim_seconds=(answer.claim_ms or 0) // 1000,
            )
        queue = self._queues.get(answer.population)
        flow = queue.flow if queue is not None else None
        return self._waiting(session, ticket, answer.position or 1, flow, cookie, now)

    def seated(self, person: Person, cookie: bytes | None) -> Standing:
        person.ticket = None
        return Standing("seated", person.population, cookie=FORGET if cookie else None)

    def former(self, person: Person, cookie: bytes | None) -> FormerTicket | None:
        """The employee's ticket of a former epoch, which has to be put back before anything else is
        asked for this employee."""
        now = self._clock()
        epoch = self._ledger_time.epoch
        ticket = person.ticket
        if ticket is None or ticket.lost:
            claims = self._claims(person, cookie)
            if claims is None or claims.epoch == epoch:
                return None
            silent_ms = max(0, self._ledger_time.now_ms() - claims.seen_ms)
            return FormerTicket(
                person.name, claims.population, claims.number, claims.epoch, silent_ms
            )
        if ticket.epoch == epoch:
            return None
        silent_ms = max(0, int((now - ticket.seen_at) * 1000))
        return FormerTicket(person.name, ticket.population, ticket.number, ticket.epoch, silent_ms)

    def _shown(self, person: Person, cookie: bytes | None, now: float) -> Ticket | None:
        """A ticket of this epoch that this worker did not know and the browser shows."""
        claims = self._claims(person, cookie)
        if claims is None or claims.epoch != self._ledger_time.epoch:
            return None
        ticket = person.ticket = Ticket(claims.population, claims.number, claims.epoch)
        ticket.seen_at = now
        ticket.cookie = cookie
        age = (self._ledger_time.now_ms() - claims.seen_ms) / 1000
        ticket.signed_at = now - max(0.0, age)
        return ticket

    def _claims(self, person: Person, cookie: bytes | None) -> TicketClaims | None:
        """What a ticket cookie says, if it is this employee's and its session was not ended."""
        if cookie is None:
            return None
        claims = self._tokens.read_ticket(cookie)
        if claims is None or claims.employee != person.name or self._revoked(claims.session_id):
            return None
        return claims

    def _waiting(
        self,
        session: Session,
        ticket: Ticket,
        place: int,
        flow: Flow | None,
        cookie: bytes | None,
        now: float,
    ) -> Standing:
        told: Estimate | None = estimate(flow, place)
        if told is not None and not ticket.promised:
            ticket.promised = True
            self._promises[session.person.name] = told.p90 * 1000
        return Standing(
            "waiting",
            ticket.population,
            place,
            told.p50 if told is not None else None,
            told.p90 if told is not None else None,
            poll_seconds(place, told.p50 if told is not None else None),
            self._claim_seconds(),
            self._renewed(session, ticket, cookie, now),
        )

    def _renewed(
        self, session: Session, ticket: Ticket, cookie: bytes | None, now: float
    ) -> bytes | None:
        """The Set-Cookie that this browser needs: signed anew now and then, for it says when its
        owner was last heard of; one for all browsers of the employee."""
        if ticket.cookie is None or now - ticket.signed_at >= SIGN_AGAIN:
            claims = TicketClaims(
                session.person.name,
                session.id,
                ticket.population,
                ticket.number,
                ticket.epoch,
                self._ledger_time.now_ms(),
            )
            ticket.cookie = self._tokens.ticket_cookie(claims).encode("ascii")
            ticket.signed_at = now
        return None if cookie == ticket.cookie else COOKIE + ticket.cookie + ATTRIBUTES

    @staticmethod
    def _without_ticket(person: Person, answer: SeatAnswer, cookie: bytes | None) -> Standing:
        """``gone`` is said to who had a ticket, ``none`` to who never took one."""
        had_one = person.ticket is not None or cookie is not None
        if person.ticket is not None:
            person.ticket.lost = True  # kept, so that no cookie of it is believed
        state = "none" if answer.state == "gone" and not had_one else answer.state
        return Standing(state, answer.population, cookie=FORGET if cookie else None)

    def _admitted(self, population: str) -> bool:
        limits = self._limits
        own = limits.populations.get(population) if limits is not None else None
        return own is not None and own.admitted

    def _claim_seconds(self) -> int | None:
        return self._limits.claim_ms // 1000 if self._limits is not None else None

    # --- with the sync

    def present(self) -> tuple[str, ...]:
        """Who polled and was not reported yet, a bounded part of them."""
        names = iter(self._present)
        return tuple(name for name, _ in zip(names, range(MOST_PRESENT), strict=False))

    def promises(self) -> tuple[Promise, ...]:
        return tuple(
            Promise(name, ms)
            for (name, ms), _ in zip(self._promises.items(), range(MOST_PRESENT), strict=False)
        )

    def delivered(self, present: Iterable[str], promises: Iterable[Promise]) -> None:
        for name in present:
            self._present.pop(name, None)
        for promise in promises:
            self._promises.pop(promise.employee, None)

    def heard(self, reply: SyncReply, limits: LimitsDocument | None) -> None:
        """The ledger's answer: queues, limits in force, learning."""
        self._limits = limits
        self.learning = reply.learning
        present = stretch_of(reply.ledger_ms)
        for name, view in reply.queues.items():
            queue = self._queues.get(name)
            if queue is None:
                queue = self._queues[name] = _Queue()
            queue.hear(view, present)
        self.calls_known = present - 1

    def epoch_changed(self) -> None:
        """Nothing that was heard of queues is true any more."""
        self._queues.clear()
        self.calls_known = 0
        self.learning = True

    def former_tickets(self, people: Sequence[Person]) -> list[FormerTicket]:
        """What is to be written back after the ledger lost its memory."""
        found = (self.former(person, None) for person in people)
        return [ticket for ticket in found if ticket is not None]

    def put_back(self, people: Sequence[Person]) -> None:
        """They are written back: these tickets are of this epoch now."""
        for person in people:
            if person.ticket is not None:
                person.ticket.epoch = self._ledger_time.epoch
                person.ticket.cookie = None  # it names the former one
