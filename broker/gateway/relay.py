"""Step 5, relay: one exchange between a browser and a server, with its framing built anew.

An exchange holds what the other steps decided (session, pool, connection, the ``Hold`` on its
grant) and moves heads and bodies both ways under back-pressure: whoever cannot take more makes the
other side stop being read, so that a stalled exchange costs one read of memory each way. How it
ends is written once, in ``_end``: everything is released exactly once, whatever happened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.errors import ProtocolViolation
from broker.gateway import answers, onward
from broker.gateway.browser import EARLY, PRESSURE
from broker.gateway.chunks import LAST_CHUNK, ChunkReader, chunk
from broker.gateway.http1 import RequestHead, ResponseHead, broken_newline
from broker.gateway.identify import is_navigation, language_chosen
from broker.gateway.outbox import LARGE

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from broker.gateway.answers import Reason
    from broker.gateway.browser import BrowserConnection
    from broker.gateway.ground import Ground
    from broker.gateway.identify import Cookies
    from broker.gateway.journey import Journey
    from broker.gateway.pool import Pool
    from broker.gateway.route import Host, Route
    from broker.gateway.upstream import Server, ServerConnection
    from broker.site.admission import Hold, Person, Session
    from broker.site.doors import Standing
    from broker.telemetry.tracing import Trace

# The states of an exchange; ``journey`` has the table of what may follow what.
WAITING, SENT, STREAMING, TUNNEL, ENDED = range(5)

# How the body of a response is delimited (RFC 9112 6.3).
NO_BODY, BY_LENGTH, BY_CHUNKS, BY_CLOSE = range(4)

IDEMPOTENT: Final = frozenset(
    (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PROPFIND", b"REPORT", b"SEARCH")
)
MOST_REPEATED: Final = 64 * 1024  # bytes of a request's body that are kept for a second attempt
MOST_SILENCE: Final = 5.0  # seconds an answer may pause whose browser has perhaps left
LONGEST_RESPONSE_HEAD: Final = 64 * 1024


class Exchange:
    """One request and its response."""

    __slots__ = (
        "activity", "admitted_at", "attempts", "avoid", "began_at", "body_done", "body_limit",
        "body_wanted", "browser", "chunks", "chunks_out", "connection", "cookie", "cookies",
        "framing", "ground", "head", "held", "hold", "host", "identified_at", "journey", "keep",
        "keep_server", "left", "method", "page", "partial", "path", "person",
        "pool", "received", "renewal", "repeatable", "route", "routed_at", "said", "sent", "server",
        "session", "standing", "state", "status", "target", "task", "ticket_cookie", "trace",
        "wanted",
    )  # fmt: skip

    def __init__(
        self, journey: Journey, browser: BrowserConnection, head: RequestHead, now: float
    ) -> None:
        fields = head.fields
        self.journey = journey
        self.ground: Ground = journey.ground
        self.browser = browser
        self.head = head
        self.state = WAITING
        self.began_at = now
        self.identified_at = self.admitted_at = self.routed_at = 0.0
        self.trace: Trace | None = None
        self.method = head.method
        self.target = self.path = head.target
        self.host: Host | None = None
        self.route: Route | None = None
        self.pool: Pool | None = None
        self.activity = False
        self.cookie: bytes | None = None
        self.cookies: Cookies | None = None
        self.session: Session | None = None
        self.person: Person | None = None
        self.hold: Hold | None = None
        self.server: Server | None = None
        self.connection: ServerConnection | None = None
        self.task: asyncio.Task[None] | None = None
        self.attempts = 0
        self.avoid: set[Server] | None = None
        self.renewal: bytes | None = None
        self.standing: Standing | None = None
        self.ticket_cookie: bytes | None = None
        # a page of the portal, shown instead of what was wanted
        self.page = ""
        self.wanted = b""
        # the request's body
        self.body_done = not fields.length and not fields.chunked
        self.body_wanted = True
        self.body_limit = self.received = 0
        self.held: list[bytes] | None = None
        # Whether all that went to the server is at hand for another; ``said``: of the body.
        self.repeatable = False
        self.said: list[bytes] | None = None
        # the response
        self.keep = fields.keep_alive
        self.keep_server = False
        self.status = self.sent = 0
        self.partial = b""
        self.framing = NO_BODY
        self.left = 0
        self.chunks: ChunkReader | None = None
        self.chunks_out = False

    # --- towards the server

    def send(self, connection: ServerConnection, now: float) -> None:
        """Everything is decided: the request goes out on this connection."""
        self.connection = connection
        connection.party = self
        self.routed_at = now
        data = onward.head(self, now)
        held = self.held
        if held is not None:
            self.held = None
            data = b"".join((data, *held))
            self.said = held
        self.repeatable = self.received <= MOST_REPEATED
        connection.flushed = False
        self.journey.move(self, SENT)
        assert self.pool is not None
        # An upload or a long poll may be revoked as well; but not the answer to a logout.
        if self.session is not None and not self.pool.portal:
            self.session.streams.add(self)
        self.ground.deadlines.watch(connection, now + self.pool.deadlines.first_byte)
        connection.write(data)
        if held is not None:
            self.browser.let_read(EARLY)

    def body(self, piece: bytes, last: bool) -> None:
        """Decoded bytes of the request's body; ``last`` when it is complete."""
        self.received += len(piece)
        if last:
            self.body_done = True
        if not self.body_wanted or self.state == ENDED:
            if self.received > self.ground.door.discard_limit:
                self.browser.stop_reading(EARLY)
            return
        if self.received > self.body_limit:
            self.answer(answers.TOO_LARGE)
            return
        if self.head.fields.chunked:
            piece = (chunk(piece) if piece else b"") + (LAST_CHUNK if last else b"")
        if self.state == WAITING:
            if self.held is None:
                self.held = [piece]
            else:
                self.held.append(piece)
            if not last:
                self.browser.stop_reading(EARLY)
            return
        connection = self.connection
        if connection is None:
            return
        if self.repeatable:
            # What has gone out must not be said twice, unless its method allows that.
            if self.received <= MOST_REPEATED and (
                self.method in IDEMPOTENT or not connection.flushed
            ):
                if self.said is None:
                    self.said = []
                self.said.append(piece)
            else:
                self._cannot_repeat()
        if connection.closed:  # what becomes of it is decided when the loop says it is gone
            return
        connection.write(piece)
        if self.state == SENT:
            assert self.pool is not None
            now = self.ground.clock()
            self.ground.deadlines.watch(connection, now + self.pool.deadlines.first_byte)

    def passed(self, piece: memoryview) -> None:
        """Cannot be: only a tunnel is passed bytes as they come."""

    def _cannot_repeat(self) -> None:
        self.repeatable = False
        self.said = None

    def body_broken(self, error: ProtocolViolation) -> None:
        """The browser's chunks make no sense: nothing more of it is believed."""
        self.keep = False
        self.answer(answers.BY_STATUS.get(error.status, answers.BAD_REQUEST), outcome="broken")

    def body_slow(self) -> None:
        self.answer(answers.TOO_SLOW, outcome="body_slow")

    # --- from the server

    def server_data(self, data: memoryview) -> None:
        try:
            if self.state == STREAMING:
                self._more(data.tobytes())
            else:
                self._heads(data.tobytes())
        except ProtocolViolation:
            if self.server is not None:
                self.server.failed()
            self.fail(answers.BROKEN_ANSWER, "backend_broken")

    def _heads(self, data: bytes) -> None:
        """Zero or more interim responses (RFC 9110 15.2), then the final one."""
        if self.repeatable:
            self._cannot_repeat()  # something came back
        if self.partial:
            data = self.partial + data
            self.partial = b""
        while True:
            end = data.find(b"\r\n\r\n")
            if (len(data) if end < 0 else end) > LONGEST_RESPONSE_HEAD:
                raise ProtocolViolation("the response's head is too large", 502)
            if end < 0:
                if broken_newline(data):
                    raise ProtocolViolation("not a response head", 502)
                self.partial = data
                return
            head = self.ground.reader.response(data[:end])
            if head.status >= 200:
                large = len(data) - end > LARGE and head.length is not None
                self._respond(head, (memoryview(data) if large else data)[end + 4 :])
                return
            data = data[end + 4 :]
            if head.status == 101:
                self._switch(head, data)
                return
            self._interim(head)
            if not data:
                return

    def _interim(self, head: ResponseHead) -> None:
        if self.head.fields.minor == 0 or (head.status == 100 and not self.head.fields.expects):
            return
        self.browser.write(b"\r\n".join((head.start, *head.lines, b"\r\n")))
        if self.browser.is_full:
            self.browser_full()

    def _switch(self, head: ResponseHead, early: bytes) -> None:
        """101: both sides speak something else from here on (RFC 9110 15.2.2)."""
        if self.head.upgrade is None or head.upgrade != self.head.upgrade:
            raise ProtocolViolation("a switch nobody asked for", 502)
        lines = [head.start, *head.lines, b"Connection: Upgrade", b"Upgrade: websocket"]
        self._own_lines(head, lines)
        lines += (b"", early)
        self.status = 101
        self.sent += len(early)
        self.browser.write(b"\r\n".join(lines))
        self.journey.move(self, TUNNEL)
        self.journey.tunnel(self)

    def _respond(self, head: ResponseHead, data: bytes | memoryview) -> None:
        """The final head, with as much of the body as came with it, in one write (of two buffers
        when the body is large and its length known: it is then not copied again)."""
        assert self.pool is not None
        if self.session is not None and not self.session.valid and not self.pool.portal:
            self.revoke()
            return
        if self.server is not None and self.server.standing.failures:
            self.server.standing.succeeded()
        self.status = head.status
        since = self.admitted_at or self.began_at  # waiting for a grant is not the server's doing
        now = self.ground.clock()
        self.pool.traffic.answered(head.status, now - since)
        self.keep = keep = self.keep and self.body_done and not self.ground.draining
        self.keep_server = head.keep_alive
        added = (
            self.renewal is not None
            or head.own_cookies is not None
            or self.ticket_cookie is not None
        )
        hsts = self.browser.listener.hsts
        if (
            head.whole is not None
            and head.length == len(data) < LARGE
            and keep
            and not added
            and self.head.fields.minor
            and self.method != b"HEAD"
        ):
            # Nothing of this one's to add, and the body is all here: nearly every small answer.
            self.framing = BY_LENGTH
            self.sent += len(data)
            start = head.whole
            if hsts:
                start = b"%bStrict-Transport-Security: max-age=%d\r\n\r\n" % (start[:-2], hsts)
            self.browser.write(start + data)
            self._complete(now)
            return
        lines = [head.start, *head.lines]
        if not head.dated:  # RFC 9110 6.6.1
            lines.append(b"Date: " + self.ground.date())
        if added or hsts:
            self._own_lines(head, lines)
        complete = False
        body: bytes | memoryview = b""
        if head.status in (204, 304) or self.method == b"HEAD":
            complete = True
            if head.length is not None and head.status != 204:
                lines.append(head.length_line)
            promised = head.chunked or (head.status == 204 and head.length)
            if data or (promised and self.method != b"HEAD"):
                self.keep_server = False  # a body where none can be (RFC 9112 6.3), or on its way
        elif head.length is not None:
            self.framing = BY_LENGTH
            lines.append(head.length_line)
            body = data
            self.left = head.length - len(data)
            if self.left <= 0:
                complete = True
                if self.left:
                    body = data[: head.length]
                    self.keep_server = False
        else:
            if self.head.fields.minor == 1:
                self.chunks_out = True
                lines.append(b"Transfer-Encoding: chunked")
            else:
                self.keep = keep = False
            if head.chunked:
                self.framing = BY_CHUNKS
                self.chunks = ChunkReader()
                body, complete = self._decode(bytes(data))
            else:
                self.framing = BY_CLOSE
                self.keep_server = False
                body = data
        self.sent += len(body)
        if not keep:
            lines.append(b"Connection: close")
        elif self.head.fields.minor == 0:
            lines.append(b"Connection: keep-alive")
        if self.chunks_out:
            body = self._chunked(bytes(body), complete)
        if len(body) < LARGE:
            self.browser.write(b"\r\n".join((*lines, b"", body)))
        else:
            lines.append(b"\r\n")
            self.browser.write(b"\r\n".join(lines))
            self.browser.write(body)
        if complete:
            self._complete(now)
            return
        self.journey.move(self, STREAMING)
        if self.browser.is_full:
            self.browser_full()
        else:
            self._watch_server()

    def _own_lines(self, head: ResponseHead, lines: list[bytes]) -> None:
        """What the broker adds: its cookie's renewal, HSTS; and the portal's own cookies."""
        replanted = False
        if head.own_cookies is not None and self.pool is not None and self.pool.portal:
            for line in head.own_cookies:
                lines.append(line)
                value = line.partition(b":")[2].lstrip(b" \t")
                replanted = replanted or value.startswith(b"__Host-broker=")
        if self.renewal is not None and not replanted:
            lines.append(b"Set-Cookie: " + self.renewal)
        if self.ticket_cookie is not None:
            lines.append(b"Set-Cookie: " + self.ticket_cookie)
        if self.browser.listener.hsts:
            lines.append(b"Strict-Transport-Security: max-age=%d" % self.browser.listener.hsts)

    def _more(self, data: bytes) -> None:
        """More of the response's body."""
        complete = False
        if self.framing == BY_LENGTH:
            self.left -= len(data)
            if self.left <= 0:
                complete = True
                if self.left:
                    data = data[: self.left]
                    self.keep_server = False
        elif self.framing == BY_CHUNKS:
            data, complete = self._decode(data)
        self.sent += len(data)
        if self.chunks_out:
            data = self._chunked(data, complete)
        if data:
            self.browser.write(data)
        if complete:
            self._complete(self.ground.clock())
        elif not self.browser.is_full:
            self._watch_server()

    def _decode(self, data: bytes) -> tuple[bytes, bool]:
        assert self.chunks is not None
        body, rest = self.chunks.feed(data) if data else (b"", None)
        if rest:
            self.keep_server = False  # something follows that nobody asked for
        return body, rest is not None

    def _chunked(self, body: bytes, complete: bool) -> bytes:
        framed = chunk(body) if body else b""
        return framed + LAST_CHUNK if complete else framed

    def _watch_server(self) -> None:
        assert self.pool is not None
        if self.connection is not None:
            pause = self.pool.deadlines.between_bytes
            if self.browser.was_half_closed:
                pause = min(pause, MOST_SILENCE)
            self.ground.deadlines.watch(self.connection, self.ground.clock() + pause)

    # --- back-pressure: who cannot take more stops the other side

    def browser_full(self) -> None:
        if self.connection is not None:
            self.connection.hold_reading()

    def browser_drained(self) -> None:
        if self.connection is not None:
            self.connection.let_read()
            if self.state == STREAMING:
                self._watch_server()

    def server_full(self) -> None:
        self.browser.stop_reading(PRESSURE)

    def server_drained(self) -> None:
        self.browser.let_read(PRESSURE)

    # --- ends

    def _complete(self, now: float) -> None:
        """The response is whole."""
        connection = self.connection
        if connection is not None and self.keep_server and self.body_done:
            self.connection = None
            connection.keep(now)
        self._end("ok", now)

    def server_ended(self) -> None:
        """What that means is decided when the loop says that it is gone."""

    def server_gone(self, error: Exception | None) -> None:
        connection, self.connection = self.connection, None
        # A server may lose its patience with a browser that does not end its body: not its fault.
        if (
            connection is not None
            and not connection.reused
            and self.state == SENT
            and self.body_done
        ):
            connection.server.failed()
        if self.state == STREAMING:
            if self.framing == BY_CLOSE and error is None:
                if self.chunks_out:
                    self.browser.write(LAST_CHUNK)
                self._end("ok")
            else:
                self._truncate("truncated")
        elif (
            self.repeatable
            and self.state == SENT
            and connection is not None
            and (not connection.flushed or self.method in IDEMPOTENT)
        ):
            self.held, self.said = self.said, None
            self.repeatable = False
            self.journey.again(self, connection)
        else:
            self.fail(answers.NO_SERVER, "backend_gone")

    def server_late(self, now: float) -> None:
        assert self.pool is not None
        if self.connection is None:
            return
        deadlines = self.pool.deadlines
        if self.state == SENT:
            if self.browser.is_full or (not self.body_done and not self.browser.is_held):
                # It is the browser that has more to say; it has a deadline of its own.
                self.ground.deadlines.watch(self.connection, now + deadlines.first_byte)
            else:
                self.fail(answers.TOO_LATE, "backend_slow")
        elif self.browser.is_full:
            self.ground.deadlines.watch(self.connection, now + deadlines.between_bytes)
        else:
            self._truncate("browser_gone" if self.browser.was_half_closed else "backend_slow")

    def browser_gone(self) -> None:
        self._end("browser_gone")

    def browser_late(self, now: float) -> None:
        """The browser has no deadline while it waits for its answer."""

    def half_closed(self) -> bool:
        """A browser that has said all may still read. Or it is gone, which looks the same until
        something is written: so a running answer goes on as long as it runs (``_watch_server``)."""
        if self.state == STREAMING and not self.browser.is_full:
            self._watch_server()
        return True

    def revoke(self) -> None:
        """The session ended: this stream ends at once."""
        if self.state != ENDED:
            self._truncate("revoked")

    def lapse(self) -> None:
        """The grant this exchange was admitted on ends: so does the exchange, at once."""
        if self.state == TUNNEL:
            self.browser.abort()  # the tunnel is told, and releases
        elif self.state == STREAMING:
            self._truncate("fenced")
        else:
            self.fail(answers.LEDGER_AWAY, "fenced")

    @property
    def exchange(self) -> Exchange:
        return self

    def fail(self, reason: Reason, outcome: str) -> None:
        """The server did not do its part: an answer of ours, if none has begun."""
        if self.state == STREAMING:
            self._truncate(outcome)
        elif self.state != ENDED:
            if self.pool is not None and reason is not answers.LEDGER_AWAY:
                since = self.admitted_at or self.began_at
                self.pool.traffic.answered(reason.status, self.ground.clock() - since)
            self.answer(self.journey.fallback(self, reason), outcome=outcome)

    def answer(
        self,
        reason: Reason,
        *,
        outcome: str = "refused",
        retry_after: int = 0,
        extra: bytes = b"",
        members: Mapping[str, object] | None = None,
    ) -> None:
        """One of our own answers, instead of a server's. ``members``: what a problem says more."""
        if self.state == STREAMING:
            self._truncate(outcome)
            return
        ground = self.ground
        ground.traffic.refused[reason.counted] += 1
        page = is_navigation(self.head)
        if reason.passes and not retry_after:
            retry_after = ground.random.randint(5, 15)
        if self.ticket_cookie is not None:
            extra += b"Set-Cookie: %b\r\n" % self.ticket_cookie
        if retry_after:
            extra += b"Retry-After: %d\r\n" % retry_after
            if reason.passes and page and self.head.method == b"GET":
                extra += b"Refresh: %d\r\n" % retry_after  # browsers look at no Retry-After
        # Only in an application's place, for another page may be the portal's, who is away; and to
        # whom we know, for whoever cannot be looked up cannot be led back either.
        here = (
            self.pool is not None
            and not self.pool.portal
            and self.session is not None
            and self.head.method in (b"GET", b"HEAD")
        )
        self.keep = self.keep and self.body_done and not ground.draining
        self.reply(
            ground.answers.answer(
                reason,
                page=page,
                accept_language=self.head.fields.field(b"accept-language") or b"",
                chosen=language_chosen(self.cookies),
                here=self.target if here else b"",
                extra=extra,
                close=not self.keep,
                bodiless=self.head.method == b"HEAD",
                date=ground.date(),
                members=members,
            ),
            reason.status,
            outcome,
        )

    def reply(self, response: bytes, status: int, outcome: str) -> None:
        """Send a whole response of ours and end."""
        self.status = status
        if hsts := self.browser.listener.hsts:  # also where no server has its say (RFC 6797 7.1)
            start, _, rest = response.partition(b"\r\n")
            response = b"%b\r\nStrict-Transport-Security: max-age=%d\r\n%b" % (start, hsts, rest)
        self.sent = len(response)
        if self.connection is not None:
            self.connection.drop()
            self.connection = None
        self.browser.write(response)
        self._end(outcome)

    def _truncate(self, outcome: str) -> None:
        """The response cannot be finished: the browser must not take it for complete."""
        unframed = self.state == STREAMING and not self.chunks_out and self.framing != BY_LENGTH
        self.keep = False
        browser = self.browser
        browser.party = None
        browser.abort(reset=unframed)
        self._end(outcome)

    def _end(self, outcome: str, now: float = 0.0) -> None:
        """Release everything, once. ``now``: a clock reading of this very moment, if there is
        one."""
        if self.state == ENDED:
            return
        if self.session is not None:
            self.session.streams.discard(self)
        self.journey.move(self, ENDED)
        if self.task is not None:
            self.task.cancel()
            self.task = None
        if self.connection is not None:
            self.connection.drop()
            self.connection = None
        now = now or self.ground.clock()
        self.release(outcome, now)
        browser = self.browser
        if browser.party is self:
            browser.finished(self.keep, self.body_done, now)

    def end_tunnel(self, outcome: str) -> bool:
        """The tunnel that took over has ended; False if it had ended before."""
        if self.state != TUNNEL:
            return False
        self.journey.move(self, ENDED)
        self.release(outcome, self.ground.clock())
        return True

    def release(self, outcome: str, now: float) -> None:
        """Step 6: the place at the server, the grant, the numbers, the line in the log."""
        server, pool, person, ground = self.server, self.pool, self.person, self.ground
        if server is not None:
            self.server = None
            server.in_flight -= 1
        if self.hold is not None:
            self.hold.release()
            self.hold = None
            if pool is not None and self.status != 101:  # a WebSocket is counted while it is open
                pool.traffic.held += 1
                pool.traffic.held_seconds += now - self.admitted_at
        began = self.began_at
        if pool is not None:
            traffic = pool.traffic
            traffic.observe(self.status, now - began)
            traffic.received += self.received
            traffic.sent += self.sent
        identified = self.identified_at or now
        admitted = self.admitted_at or now
        routed = self.routed_at or now
        ground.access_log.record(
            ground.wall_clock(),
            "" if self.trace is None else self.trace.request_id,
            self.browser.address,
            "" if person is None else person.log_name,
            "" if person is None else person.population,
            "" if pool is None else pool.name,
            "" if server is None else server.name,
            self.head.method,
            self.path,
            self.status,
            self.received,
            self.sent,
            (identified - began, admitted - identified, routed - admitted, now - routed),
            outcome,
        )
