"""The journey of a request, in six steps.

    accept -> identify -> admit -> route -> relay -> release

1. *Accept*. A head has arrived whole and passed the grammar (``browser``, ``http1``). Its Host must
   be one of ours, its target gets its one spelling (``paths``) and its route (``route``). What lies
   under ``/.broker/``, and the whole home host, is the portal's: just another pool, which needs
   neither seat nor grant.
2. *Identify*. The cookie is looked up in the worker's memory. A stranger is sent to the portal's
   door when a person is looking, else told 401.
3. *Admit*. The employee's seat is known here and not near its end; one unit of the cell's grant is
   spent. Both are plain comparisons against a fresh clock reading.
4. *Route*. The usable server with the least connections in flight, and a kept connection to it.
5. *Relay*. The head is rebuilt, identity injected last, and sent in one write; the response comes
   back the same way (``relay``, ``tunnel``).
6. *Release*. The grant, the place at the server, the numbers, the line in the log: once, however
   the exchange ended (``relay.Exchange.release``).

When everything is at hand, steps 1 to 5 happen inside the callback that delivered the head: no
await, no task, one write. What must wait (an unknown cookie, an unknown seat, a spent grant, a
connection to be dialled) leaves to a coroutine, which does that one thing and *re-enters the same
function* (``advance``): each step first looks whether it is done already. So there is one path, and
a slow request is a fast one with pauses in it.

An exchange is in one of five states; what may follow what is this table and nothing else.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVarTuple, Unpack

from broker.errors import BrokerError, LedgerAway, LedgerLearning, ProtocolViolation
from broker.gateway import answers, forwarded, route, wait_status
from broker.gateway.browser import EARLY, PRESSURE
from broker.gateway.http1 import Fields, RequestHead, forwarded_once, forwards_left
from broker.gateway.identify import is_navigation, split_cookies
from broker.gateway.relay import (
    ENDED,
    IDEMPOTENT,
    SENT,
    STREAMING,
    TUNNEL,
    WAITING,
    Exchange,
)
from broker.gateway.tunnel import Tunnel
from broker.policy.standing import JITTER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from broker.gateway.answers import Reason
    from broker.gateway.browser import BrowserConnection
    from broker.gateway.ground import Ground
    from broker.gateway.pool import Pool
    from broker.gateway.route import Host, RouteTable
    from broker.gateway.upstream import Server, ServerConnection
    from broker.site.admission import Cell, Session, Spending
    from broker.site.doors import SeatClaims, Sessions, Standing

#: WAITING    the head is here; a step of the journey is under way
#: SENT       the request is with the server (its body may still be on the way)
#: STREAMING  the response's head is with the browser, the body is not complete
#: TUNNEL     the server switched protocols; ``tunnel`` has both connections
#: ENDED      everything is released
#:
#: SENT -> WAITING is the retry: nothing was sent, or nothing came back and it may be said twice.
NEXT: Final = {
    WAITING: frozenset((SENT, ENDED)),
    SENT: frozenset((STREAMING, TUNNEL, WAITING, ENDED)),
    STREAMING: frozenset((ENDED,)),
    TUNNEL: frozenset((ENDED,)),
    ENDED: frozenset[int](),
}

ENTER: Final = "/.broker/page/enter"
NOT_ADMITTED: Final = "/.broker/page/not-admitted"
WAIT: Final = "/.broker/page/wait"
BODY_LOST: Final = "/.broker/page/body-lost"

# What is shown instead when the portal itself cannot be reached.
FALLBACK: Final = {
    ENTER: answers.STRANGER,
    NOT_ADMITTED: answers.NOT_ADMITTED,
    WAIT: answers.NO_SEAT,
    BODY_LOST: answers.NO_SEAT,
}

MOST_ATTEMPTS: Final = 3
NOBODY: Final[frozenset[Server]] = frozenset()

_log = logging.getLogger(__name__)

Given = TypeVarTuple("Given")


class Journey:
    """The six steps, for all exchanges of one worker."""

    def __init__(
        self,
        ground: Ground,
        table: RouteTable,
        sessions: Sessions,
        claims: SeatClaims,
        spending: Spending,
    ) -> None:
        self.ground = ground
        self.table = table
        self.sessions = sessions
        self._claims = claims
        self._spending = spending

    @staticmethod
    def move(exchange: Exchange, state: int) -> None:
        """The only place where an exchange changes its state."""
        if state not in NEXT[exchange.state]:
            raise AssertionError(f"an exchange cannot go from {exchange.state} to {state}")
        exchange.state = state

    # --- 1. accept

    def begin(self, browser: BrowserConnection, head: RequestHead) -> None:
        """A head was read. Ends with a request sent, an answer given, or a task under way."""
        ground = self.ground
        fields = head.fields
        if browser.behind_proxy:
            self._find_client(browser, fields)
        exchange = Exchange(self, browser, head, ground.clock())
        browser.party = exchange
        exchange.trace = ground.tracing.begin(fields.traceparent)
        host = self.table.hosts.get(fields.host) or self.table.host(fields.host)
        if host is None:
            exchange.keep = False
            exchange.answer(answers.UNKNOWN_HOST)
            return
        exchange.host = host
        try:
            spelling = host.spellings.get(head.target)
            if spelling is None:
                spelling = host.spell(head.target)
            path, exchange.target = spelling
            exchange.path = path
            if head.upgrade is not None:
                self._check_upgrade(exchange)
        except ProtocolViolation:
            exchange.keep = False
            exchange.answer(answers.BAD_REQUEST, outcome="broken")
            return
        if head.method == b"TRACE":  # it would show the browser the identity we inject
            exchange.answer(answers.NOT_ALLOWED)
            return
        if head.method == b"OPTIONS" and (left := forwards_left(fields)) is not None:
            if not left:  # RFC 9110 7.6.2: we are its last recipient
                self._plain(exchange, 200, b"")
                return
            head.fields = fields = forwarded_once(fields, left - 1)
        if fields.cookies is not None:
            cookies = fields.split
            if cookies is None:
                cookies = fields.split = split_cookies(fields.cookies)
            exchange.cookies = cookies
            exchange.cookie = cookies.session
        if host.home or (path.startswith(route.RESERVED) and route.is_reserved(path)):
            self._accept_own(exchange, host, path)
            return
        found = host.only or host.route(path)
        if found is None:
            exchange.answer(answers.NOT_FOUND)
            return
        if host.encoded_slash and not found.encoded_slash and b"%2F" in path:
            exchange.keep = False
            exchange.answer(answers.BAD_REQUEST, outcome="broken")
            return
        if (fields.length or 0) > found.body_limit:
            exchange.keep = False
            exchange.answer(answers.TOO_LARGE)
            return
        if head.upgrade is not None and fields.only(b"origin") not in found.origins:
            exchange.answer(answers.WRONG_ORIGIN)
            return
        exchange.route = found
        exchange.pool = found.pool
        exchange.activity = found.activity
        exchange.body_limit = found.body_limit
        self.advance(exchange, exchange.began_at)

    @staticmethod
    def _find_client(browser: BrowserConnection, fields: Fields) -> None:
        """One proxy's connection carries requests of many clients."""
        address = fields.client
        if address is None:
            trusted = browser.listener.trusted_proxies
            address = fields.client = forwarded.client(fields.block, browser.peer, trusted)
        if address != browser.address:
            browser.speak_for(address)

    def broken(self, browser: BrowserConnection, error: ProtocolViolation, method: bytes) -> None:
        """Not a request at all: one answer, one line in the log, the end. ``method``: what it seems
        to have been, for the answer to a HEAD has no body whatever was wrong with it."""
        if browser.behind_proxy:  # the client of the request before has nothing to do with it
            browser.speak_for(browser.peer)
        nothing = RequestHead(method, b"-", Fields(b"", 1))
        exchange = Exchange(self, browser, nothing, self.ground.clock())
        browser.party = exchange
        exchange.body_done = False
        exchange.keep = False
        reason = answers.BY_STATUS.get(error.status, answers.BAD_REQUEST)
        exchange.answer(reason, outcome="broken")

    def _check_upgrade(self, exchange: Exchange) -> None:
        """Only WebSocket is passed on (RFC 6455 4.1); other offers are ignored (RFC 9110 7.8)."""
        head = exchange.head
        if head.upgrade != b"websocket" or (exchange.host is not None and exchange.host.home):
            head.upgrade = None
        elif head.method != b"GET" or head.fields.has_body:
            raise ProtocolViolation("an upgrade is a GET without a body (RFC 6455 4.1)")

    def _accept_own(self, exchange: Exchange, host: Host, path: bytes) -> None:
        """Home, and what lies under ``/.broker/`` on any host."""
        if path == route.HEALTHZ:
            status = 503 if self.ground.draining else 200
            self._plain(exchange, status, b"draining\n" if self.ground.draining else b"ok\n")
        elif host.home or route.is_portal_path(path):
            exchange.head.upgrade = None
            exchange.pool = self.table.portal
            exchange.body_limit = self.ground.door.discard_limit
            if (exchange.head.fields.length or 0) > exchange.body_limit:
                exchange.keep = False
                exchange.answer(answers.TOO_LARGE)
                return
            self.advance(exchange, self.ground.clock())
        elif path == route.STATUS:
            self.advance(exchange, self.ground.clock())
        else:
            exchange.answer(answers.NOT_FOUND)

    def _plain(self, exchange: Exchange, status: int, body: bytes) -> None:
        exchange.keep = exchange.keep and exchange.body_done and not self.ground.draining
        response = answers.whole(
            status, b"text/plain; charset=utf-8", body, close=not exchange.keep,
            bodiless=exchange.method == b"HEAD", date=self.ground.date(),
        )  # fmt: skip
        exchange.reply(response, status, "ok")

    # --- 2. to 5., as far as they go without waiting

    def advance(self, exchange: Exchange, now: float) -> None:
        """Carry the exchange on from wherever it is. Called again after each thing waited for."""

        # 2. identify
        session = exchange.session
        if session is None or not session.valid:
            cookie, host = exchange.cookie, exchange.host
            if cookie is not None and host is not None:
                session = self.sessions.peek(cookie, host.authority, now)
                if session is None:
                    self._leave(exchange, self._resolve, cookie, host.authority)
                    return
                exchange.session = session
                exchange.person = session.person
            exchange.identified_at = now
        if (
            session is not None
            and session.tied
            and exchange.hold is None  # what has been admitted goes on, also over a reload
            and not self.ground.is_inside(exchange.browser.address)
            and not (exchange.method == b"POST" and exchange.path == route.LOGOUT)
        ):
            # Begun in a network from which a password is enough, and this is another one. It can be
            # ended from everywhere: its cookies on other hosts would be good again back there.
            exchange.session = exchange.person = exchange.cookie = session = None
        route_ = exchange.route
        if route_ is None:
            if exchange.pool is None:
                self._wait_status(exchange, now)
            elif exchange.path == route.ROOM and session is not None and exchange.standing is None:
                self._leave(exchange, self._enter_room)
            else:
                self._route(exchange, now)
            return
        if session is None:
            self._turn_away(exchange, answers.STRANGER, ENTER)
            return

        # 3. admit
        person = session.person
        if exchange.hold is None:
            if person.seat_until <= now:
                self._leave(exchange, self._claim)
                return
            if person.in_flight + person.waiting >= self._spending.per_employee:
                exchange.answer(answers.TOO_MANY, retry_after=1)
                return
            cell = route_.cells.get(person.population)
            if cell is None:
                cell = self._spending.cell(route_.pool.name, person.population)
            hold = cell.take(person, now)
            if hold is None:
                self._leave(exchange, self._queue, cell)
                return
            exchange.hold = hold
        exchange.admitted_at = now
        if exchange.activity:
            person.last_active = now
        self._route(exchange, now)

    # --- 4. route, 5. relay

    def _route(self, exchange: Exchange, now: float, *, anew: bool = False) -> None:
        """Choose a server; send on a kept connection (not if ``anew``), or dial."""
        pool = exchange.pool
        assert pool is not None
        if not exchange.admitted_at:
            exchange.admitted_at = now
        # Only now: what a reissued token says of the seat is known after the claim.
        if exchange.session is not None and exchange.cookie is not None:
            exchange.renewal = self.sessions.renewal(exchange.session, exchange.cookie, now)
        session = exchange.session
        server = pool.choose(now, exchange.avoid or NOBODY, None if session is None else session.id)
        if server is None and pool.can_choose(exchange.avoid):
            retry_after = self.ground.random.randint(1, 4)
            exchange.answer(answers.NO_CONNECTION, retry_after=retry_after)
            return
        if server is None:
            exchange.fail(answers.NO_SERVER, "no_server")
            return
        server.in_flight += 1
        exchange.server = server
        budget = pool.retries
        if not exchange.attempts:
            budget.request()
        # Another kept connection may be as dead as the first: servers close them in swarms. And
        # without a budget for the retry, only what is most unlikely to need it is reused.
        repeatable = exchange.method in IDEMPOTENT and budget.allows(now)
        connection = None if anew else server.take_idle(now, repeatable=repeatable)
        if connection is None:
            self._leave(exchange, self._dial, pool)
            return
        exchange.send(connection, now)

    def again(self, exchange: Exchange, gone: ServerConnection) -> None:
        """``gone`` ended before anything came back: the same request on a new connection. A kept
        one was closed by its server while we took it up, which says nothing against the server; a
        new one that ends like this does.

        What never left this process is taken elsewhere for nothing; the rest pays.
        """
        pool = exchange.pool
        assert pool is not None
        self.move(exchange, WAITING)
        exchange.browser.let_read(PRESSURE)  # it may have been too fast for the one that is gone
        if not gone.reused:
            self._avoid(exchange, gone.server)
        free = gone.reused and not gone.flushed
        self._back_to_routing(exchange, "backend_gone", free=free, anew=gone.reused)

    @staticmethod
    def _avoid(exchange: Exchange, server: Server) -> None:
        if exchange.avoid is None:
            exchange.avoid = set()
        exchange.avoid.add(server)

    def _back_to_routing(
        self, exchange: Exchange, outcome: str, *, free: bool = False, anew: bool = False
    ) -> None:
        """Choose again, if there is anything to choose and the pool can pay for it; else 502, with
        ``outcome`` in the log."""
        pool = exchange.pool
        assert pool is not None
        server, exchange.server = exchange.server, None
        if server is not None:
            server.in_flight -= 1
        exchange.attempts += 1
        now = self.ground.clock()
        if (
            exchange.attempts >= MOST_ATTEMPTS
            or not pool.can_choose(exchange.avoid)
            or not (free or pool.retries.spend(now))
        ):
            exchange.fail(answers.NO_SERVER, outcome)
        else:
            pool.traffic.retries += 1
            self._route(exchange, now, anew=anew)

    def tunnel(self, exchange: Exchange) -> None:
        """101: both connections go over to a tunnel."""
        assert exchange.pool is not None
        age = exchange.pool.deadlines.tunnel_max_age * self.ground.random.uniform(0.9, 1.0)
        Tunnel(exchange, self.ground.clock() + age).start()

    # --- what must wait

    def _leave(
        self,
        exchange: Exchange,
        step: Callable[[Exchange, Unpack[Given]], Coroutine[Any, Any, bool]],
        *given: *Given,
    ) -> None:
        """Leave the synchronous path; ``step`` answers whether to come back to it."""
        exchange.task = self.ground.spawn(self._wait(exchange, step, *given))

    async def _wait(
        self,
        exchange: Exchange,
        step: Callable[[Exchange, Unpack[Given]], Coroutine[Any, Any, bool]],
        *given: *Given,
    ) -> None:
        try:
            go_on = await step(exchange, *given)
        except LedgerAway:
            exchange.task = None
            self._undecided(exchange, answers.LEDGER_AWAY)
            return
        except LedgerLearning:
            exchange.task = None
            self._undecided(exchange, answers.LEARNING)
            return
        except BrokerError as error:
            exchange.task = None
            _log.warning("a request was given up: %s", error.reason)
            exchange.fail(answers.FAILED, "failed")
            return
        except Exception:
            exchange.task = None
            exchange.fail(answers.FAILED, "failed")
            raise  # the gateway logs it with its traceback
        exchange.task = None
        if go_on and exchange.state == WAITING:
            self.advance(exchange, self.ground.clock())

    async def _resolve(self, exchange: Exchange, cookie: bytes, authority: bytes) -> bool:
        session = await self.sessions.resolve(cookie, authority)
        if session is None:
            exchange.cookie = None  # a stranger from here on
        else:
            exchange.session = session
            exchange.person = session.person
        exchange.identified_at = self.ground.clock()
        return True

    async def _claim(self, exchange: Exchange) -> bool:
        standing = await self._ask_for_seat(exchange)
        if standing.state == "seated":
            return True
        if standing.state == "not_admitted":
            self._turn_away(exchange, answers.NOT_ADMITTED, NOT_ADMITTED)
            return False
        reason = answers.LEARNING if standing.state == "learning" else answers.NO_SEAT
        page = BODY_LOST if exchange.head.fields.has_body else WAIT
        self._turn_away(exchange, reason, page)
        return False

    async def _enter_room(self, exchange: Exchange) -> bool:
        """Being in the waiting room is asking for a seat; the portal shows what came of it."""
        await self._ask_for_seat(exchange)
        return True

    async def _ask_for_seat(self, exchange: Exchange) -> Standing:
        session = exchange.session
        assert session is not None
        standing = await self._claims.claim(session, _ticket(exchange))
        exchange.standing = standing
        exchange.ticket_cookie = standing.cookie
        wait_status.told(session, standing, self.ground.clock())
        return standing

    async def _queue(self, exchange: Exchange, cell: Cell) -> bool:
        person, pool = exchange.person, exchange.pool
        assert person is not None
        assert pool is not None
        if person.in_flight + person.waiting >= self._spending.per_employee:
            exchange.answer(answers.TOO_MANY, retry_after=1)
            return False
        hold = await cell.wait(person, pool.plan.queue_timeout)
        if hold is None:
            if not cell.cap:  # another worker may have something to spend
                exchange.keep = False
            retry_after = self.ground.random.randint(1, 4)
            exchange.answer(answers.NO_CONNECTION, retry_after=retry_after)
            return False
        exchange.hold = hold
        return True

    async def _dial(self, exchange: Exchange, pool: Pool) -> bool:
        server = exchange.server
        assert server is not None
        try:
            connection = await pool.dial(server)
        except OSError:
            self._avoid(exchange, server)
            exchange.task = None
            self._back_to_routing(exchange, "no_server")
            return False
        exchange.task = None
        exchange.send(connection, self.ground.clock())
        return False

    def _undecided(self, exchange: Exchange, reason: Reason) -> None:
        """Neither signature nor memory can decide, and the ledger cannot be asked. The connection
        is closed, for the next one may lead to a worker that knows this employee."""
        exchange.keep = False
        retry_after = self.ground.random.randint(2, 8)
        exchange.answer(reason, outcome=reason.counted, retry_after=retry_after)

    # --- refusals of a person, and what the portal says for us

    def _turn_away(self, exchange: Exchange, reason: Reason, page: str) -> None:
        """A page of the portal for a person, a bare status for a program."""
        standing = exchange.standing
        if not is_navigation(exchange.head):
            if reason.status != 503 or standing is None:
                exchange.answer(reason)
                return
            exchange.answer(
                reason,
                retry_after=self._spread(standing.poll_seconds),
                members=wait_status.members(standing),
            )
            return
        self.ground.traffic.refused[reason.counted] += 1
        self._show(exchange, page)

    def _spread(self, seconds: int | None) -> int:
        """So many seconds, or a few, and at random up to a quarter more."""
        return round((seconds or 5) * self.ground.random.uniform(1, 1 + JITTER))

    def _show(self, exchange: Exchange, page: str) -> None:
        """Relay a bodiless GET for one of the portal's pages. The body the request came with is
        thrown away, within limits."""
        exchange.page = page
        exchange.method = b"HEAD" if exchange.head.method == b"HEAD" else b"GET"
        exchange.wanted = exchange.target
        exchange.target = page.encode("ascii")
        exchange.body_wanted = False
        exchange.held = None
        exchange.route = None
        exchange.activity = False
        exchange.head.upgrade = None
        exchange.pool = self.table.portal
        exchange.browser.let_read(EARLY)
        self._route(exchange, self.ground.clock())

    def fallback(self, exchange: Exchange, reason: Reason) -> Reason:
        """What to say ourselves when a server cannot: of a page of the portal, what it would."""
        return FALLBACK.get(exchange.page, reason)

    def portal_assertion(self, exchange: Exchange) -> bytes:
        """What the gateway vouches for towards the portal."""
        assert exchange.host is not None
        standing = exchange.standing
        return self.sessions.portal_assertion(
            exchange.session,
            {
                "host": exchange.host.authority_text,
                "address": exchange.browser.address,
                "return": (exchange.wanted or exchange.target).decode("latin-1"),
                "method": exchange.head.method.decode("ascii"),
                "page": exchange.page.rpartition("/")[2],
                "wait": None if standing is None else _stated(standing),
            },
        )

    # --- the waiting room's status

    def _wait_status(self, exchange: Exchange, now: float) -> None:
        session = exchange.session
        if session is None:
            exchange.answer(answers.STRANGER)
            return
        if exchange.method not in (b"GET", b"HEAD"):
            exchange.answer(answers.NOT_ALLOWED, extra=b"Allow: GET, HEAD\r\n")
            return
        wait = wait_status.too_soon(session, now)
        if wait:
            exchange.answer(answers.TOO_SOON, retry_after=wait)
            return
        standing = self._claims.standing(session, _ticket(exchange), now)
        if standing is None:
            self._leave(exchange, self._look)
        else:
            self._tell(exchange, session, standing, now)

    async def _look(self, exchange: Exchange) -> bool:
        session = exchange.session
        assert session is not None
        standing = await self._claims.look(session, _ticket(exchange))
        exchange.task = None
        self._tell(exchange, session, standing, self.ground.clock())
        return False

    def _tell(self, exchange: Exchange, session: Session, standing: Standing, now: float) -> None:
        wait_status.told(session, standing, now)
        exchange.keep = exchange.keep and exchange.body_done and not self.ground.draining
        response = wait_status.response(
            standing, self.ground.date(), close=not exchange.keep,
            bodiless=exchange.method == b"HEAD",
        )  # fmt: skip
        exchange.reply(response, 200, "ok")


def _ticket(exchange: Exchange) -> bytes | None:
    return exchange.cookies.ticket if exchange.cookies is not None else None


def _stated(standing: Standing) -> dict[str, str | int | None]:
    """What the portal's pages need to know of it."""
    return {
        "state": standing.state,
        "population": standing.population,
        "position": standing.position,
        "p50": standing.p50,
        "p90": standing.p90,
        "poll": standing.poll_seconds,
        "claim": standing.claim_seconds,
    }
