"""Everything a browser says on one connection, through the whole gateway to servers that h11 plays.

What arrives there must be what h11 reads in the browser's own bytes, request by request; cutting
the bytes anywhere must make no difference; and what comes back must be one answer for each request,
in order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import h11

from broker.gateway.paths import canonical
from tests.fuzz.judges import (
    LONGEST_HEAD,
    Message,
    h11_requests,
    h11_responses,
    llhttp_request,
)
from tests.fuzz.wire import Transport, World, play, splits
from tests.support.stage import FEED, HOME, Line

VOLATILE: Final = (b"x-request-id", b"traceparent", b"expect")
OURS: Final = (b"x-broker-assertion", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
               b"x-request-id", b"traceparent")  # fmt: skip
KNOWN: Final = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"))
IDENTITY: Final = (b"x-remote-user", b"x-remote-population")


class Player:
    """A server's end of one connection: h11 reads, each request is answered with its own words."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.requests: list[Message] = []
        self._reader = h11.Connection(h11.SERVER, max_incomplete_event_size=LONGEST_HEAD)
        self._seen = 0

    def play(self) -> bool:
        """Answer what is there; whether anything was."""
        new = bytes(self.transport.out[self._seen :])
        self._seen += len(new)
        if not new:
            return False
        self._reader.receive_data(new)
        while True:
            event = self._reader.next_event()  # raises for what must never be sent to a server
            if isinstance(event, h11.Request):
                message = Message(bytes(event.method), bytes(event.target))
                message.fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                self.requests.append(message)
                if self._reader.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self.transport.feed(self._reader.send(go_on) or b"")
            elif isinstance(event, h11.Data):
                self.requests[-1].body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self.requests[-1].whole = True
                self._answer(self.requests[-1])
                if self._reader.our_state is h11.MUST_CLOSE:
                    return True
                self._reader.start_next_cycle()
            else:
                return True

    def _answer(self, message: Message) -> None:
        body = b"%b %b %d" % (message.method, message.target, len(message.body))
        response = h11.Response(status_code=200, headers=[("Content-Length", str(len(body)))])
        said = self._reader.send(response) or b""
        if message.method != b"HEAD":
            said += self._reader.send(h11.Data(body)) or b""
        self.transport.feed(said + (self._reader.send(h11.EndOfMessage()) or b""))


@dataclass
class Seen:
    """What became of one browser's bytes."""

    lines: list[Line]
    forwarded: list[tuple[Transport, Message]]
    answers: list[Message]
    raw: bytes
    ended: bool

    @property
    def taken(self) -> list[Message]:
        """What the servers have got whole."""
        return [message for _, message in self.forwarded if message.whole]

    def same_as(self, other: Seen) -> bool:
        """Whether cutting the bytes otherwise made no difference. It may make one where something
        was answered before its body was here: then the connection ends, and what followed on it
        was never read."""
        many = min(len(self.lines), len(other.lines))
        if self._facts(many) != other._facts(many):
            # Or the body made no sense, and that was seen before a stranger had been turned away.
            ends = [seen.lines[many - 1 :] for seen in (self, other)]
            return (
                self._facts(many - 1) == other._facts(many - 1)
                and all(len(end) == 1 and not _reached(end[0]) for end in ends)
                and self.ended
                and other.ended
            )
        if len(self.lines) == len(other.lines) and self.ended == other.ended:
            return len(self.taken) == len(other.taken)
        short = min(self, other, key=lambda seen: (len(seen.lines), not seen.ended))
        return short.ended and not short.lines[-1].employee

    def _facts(self, many: int) -> object:
        """Of the first ``many`` exchanges."""
        lines = [
            # What is broken in several ways is refused for the one that is seen first.
            "broken" if _broken(x) else (x.status, x.outcome, x.method, x.path, x.pool, x.employee)
            for x in self.lines[:many]
        ]
        forwarded = [
            (m.method, m.target, m.body, [f for f in m.fields if f[0] not in VOLATILE])
            for m in self.taken[: sum(_reached(line) for line in self.lines[:many])]
        ]
        answers = [
            answer.whole if _broken(line) else (answer.status, answer.whole, answer.body)
            for line, answer in zip(self.lines[:many], self.answers, strict=False)
        ]
        return lines, forwarded, answers


def _broken(line: Line) -> bool:
    """Refused for what it is: no request, or one for a name that is not ours."""
    return line.outcome == "broken" or line.status == 400


def _reached(line: Line) -> bool:
    """Whether a server has answered."""
    return bool(line.server) and line.outcome == "ok"


async def _scene(pieces: list[bytes]) -> Seen:
    world = World()
    browser = world.browser()
    players: dict[Transport, Player] = {}
    forwarded: list[tuple[Transport, Message]] = []
    for piece in pieces:
        browser.feed(piece)
        busy = True
        while busy:
            await world.settle()
            busy = False
            for transport in world.dialled:
                player = players.setdefault(transport, Player(transport))
                known = len(player.requests)
                busy = player.play() or busy
                forwarded += [(transport, message) for message in player.requests[known:]]
    raw, ended = bytes(browser.out), browser.ended or browser.wrote_eof
    lines = list(world.log.lines)
    asked = [line.method if line.method != b"-" else b"GET" for line in lines]
    answers = h11_responses(raw, asked, ended=ended) if asked else []
    await world.leave(browser)
    return Seen(lines, forwarded, answers, raw, ended)


def check_requests(data: bytes) -> None:
    whole, *others = [play(lambda pieces=pieces: _scene(pieces)) for pieces in splits(data)]  # type: ignore[misc]
    for other in others:
        assert other.same_as(whole), "how it was cut makes a difference"
    _check_answers(whole)
    _check_against(whole, h11_requests(data))
    for _, message in whole.forwarded:
        _check_forwarded(message)
    if {message.method for _, message in whole.forwarded} <= KNOWN:
        for transport in {transport for transport, _ in whole.forwarded}:
            theirs = llhttp_request(bytes(transport.out))
            assert not theirs.refused, theirs.refused


def _check_answers(seen: Seen) -> None:
    """One framed answer for each request, in order, and not a byte more."""
    assert len(seen.answers) == len(seen.lines)
    for line, answer in zip(seen.lines, seen.answers, strict=True):
        assert not answer.refused, answer.refused
        assert answer.whole
        assert answer.status == line.status
        if line.outcome == "ok" and line.server and line.method != b"HEAD":
            assert answer.body.startswith(line.method if line.pool != "portal" else b"")
    if seen.answers:
        assert not seen.answers[-1].rest
    else:
        assert not seen.raw.removeprefix(b"HTTP/1.1 100 \r\n\r\n"), "nobody asked for an answer"
    if any(line.outcome == "broken" for line in seen.lines):
        assert seen.ended
        assert seen.lines[-1].outcome == "broken", "something was read after what made no sense"


def _check_against(seen: Seen, theirs: list[Message]) -> None:
    """Where h11 sees requests at all, it sees the ones that we answered."""
    lines = [line for line in seen.lines if line.method != b"-"]
    assert len(seen.taken) == sum(map(_reached, seen.lines))
    taken = iter(seen.taken)
    for line, message in zip(lines, theirs, strict=False):
        if message.refused:
            return
        assert line.method == message.method
        if _reached(line):
            got = next(taken)
            if line.pool == "feed":
                assert (got.method, got.body, message.whole) == (message.method, message.body, True)


def _check_forwarded(message: Message) -> None:
    """What every server may rely on."""
    names = [name for name, _ in message.fields]
    hosts = message.values(b"host")
    assert hosts in ([FEED], [HOME])
    assert canonical(message.target, encoded_slash=True)[1] == message.target
    slash = message.target.startswith((b"/slash/", b"/slash?"))
    assert slash or b"%2f" not in message.target.partition(b"?")[0].lower()
    portal = message.values(b"x-broker-assertion") == [b"portal.assertion"]
    for name in OURS if portal else (*OURS, *IDENTITY):
        assert names.count(name) == 1, f"{name!r} is not ours alone"
    assert [name for name in names if name.startswith(b"x-forwarded-")] == [
        b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host",
    ]  # fmt: skip
    assert message.values(b"x-forwarded-for") == [b"192.0.2.7"]
    if not portal:
        assert message.values(b"x-remote-user") == [b"ada"]
        assert not re.search(
            rb"(?i)(?:^|;)[ \t]*__host-broker", b"; ".join(message.values(b"cookie"))
        )
    else:
        assert not [name for name in names if name.startswith(b"x-remote")]
        cookies = b"; ".join(message.values(b"cookie"))
        assert not re.search(rb"(?:^|;)[ \t]*__Host-broker=", cookies)
    upgrade = message.values(b"upgrade")
    assert message.values(b"connection") == ([b"Upgrade"] if upgrade else [])
    assert upgrade in ([], [b"websocket"])
    assert not {b"te", b"trailer", b"keep-alive", b"proxy-connection", b"forwarded"} & set(names)


def check_target(data: bytes) -> None:
    """The same for one target alone: what was authorised is what the server sees."""
    request = b"GET %b HTTP/1.1\r\nHost: %b\r\nCookie: __Host-broker=token-of-ada-0\r\n\r\n"
    seen = play(lambda: _scene([request % (data, FEED)]))
    for _, message in seen.forwarded:
        _check_forwarded(message)
        line = seen.lines[0]
        assert message.target.partition(b"?")[0] == line.path
        if data.startswith(b"/"):
            assert canonical(data, encoded_slash=True) == (line.path, message.target)
