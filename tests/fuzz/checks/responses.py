"""What a server says in answer to one request, and what the browser gets of it.

A response that llhttp or h11 refuses must not come out; one that did not end must not end; a server
connection is used again only when everything on it has been read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.fuzz.judges import Message, h11_responses, llhttp_response
from tests.fuzz.wire import World, play, splits
from tests.support.stage import FEED

ASKED: Final = {
    b"GET": b"GET / HTTP/1.1\r\n",
    b"HEAD": b"HEAD / HTTP/1.1\r\n",
    b"OLD": b"GET / HTTP/1.0\r\n",
    b"UPGRADE": b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nOrigin: https://"
    + FEED
    + b"\r\n",
}
OWN: Final = (502, 504)  # what we say instead of a server


@dataclass
class Seen:
    """``kept``: the server's connection waits for another exchange, before the server ends it."""

    raw: bytes
    ended: bool
    reset: bool
    outcome: str
    kept: bool
    sent: int

    def facts(self, asked: bytes) -> object:
        """What may not depend on how the bytes were cut. What is wrong with a response may be seen
        before its head has gone out, or after."""
        if self.outcome != "ok":
            return self.kept
        answer = _answer(self, asked)
        return (answer.status, answer.body, answer.whole, answer.rest, self.ended, self.reset,
                self.outcome, self.kept)  # fmt: skip


def _answer(seen: Seen, asked: bytes) -> Message:
    method = b"GET" if asked == b"OLD" else asked
    return h11_responses(seen.raw, [method], ended=seen.ended and not seen.reset)[0]


async def _scene(asked: bytes, pieces: list[bytes]) -> Seen:
    world = World()
    browser = world.browser()
    browser.feed(ASKED[asked] + b"Host: %b\r\nCookie: __Host-broker=token-of-ada-0\r\n\r\n" % FEED)
    await world.settle()
    (server,) = world.dialled
    for piece in pieces:
        server.feed(piece)
        await world.settle()
    kept = len(world.pools["feed"].servers[0].idle) == 1
    server.end()
    await world.settle()
    lines = world.log.lines
    seen = Seen(
        bytes(browser.out),
        browser.ended or browser.wrote_eof,
        browser.reset,
        lines[0].outcome if lines else "",
        kept,
        lines[0].sent if lines else 0,
    )
    await world.leave(browser)
    return seen


def check_responses(data: bytes) -> None:
    for asked in ASKED:
        whole, *others = [
            play(lambda pieces=pieces, asked=asked: _scene(asked, pieces))  # type: ignore[misc]
            for pieces in splits(data)
        ]
        for other in others:
            assert other.facts(asked) == whole.facts(asked), "how it was cut makes a difference"
        _check(data, asked, whole)


def _check(data: bytes, asked: bytes, seen: Seen) -> None:
    answer = _answer(seen, asked)
    assert seen.outcome, "a server that ended leaves nothing unanswered"
    if answer.status == 101:
        assert asked == b"UPGRADE"
        assert seen.outcome == "ok"
        assert data.endswith(answer.rest), "a tunnel passes on what came"
        return
    if seen.outcome != "ok":
        assert seen.ended or seen.reset or answer.status in OWN
        assert not seen.kept
        if answer.status in OWN and answer.whole:
            return  # ours, and complete
        assert not answer.whole, "a truncated response must not end"
        return
    assert answer.whole, answer.refused
    final = _final(data)
    theirs = llhttp_response(final)
    method = b"GET" if asked in (b"OLD", b"UPGRADE") else asked
    others = h11_responses(data, [method], ended=True)[0]
    assert not others.refused, others.refused
    assert others.whole
    assert answer.status == others.status
    assert answer.body == others.body
    if asked != b"HEAD":
        assert theirs.status == answer.status
        assert not theirs.refused or theirs.whole, theirs.refused
        assert theirs.body == answer.body or others.rest
    if seen.kept:
        assert not others.rest, "something was left on a connection that is used again"


def _final(data: bytes) -> bytes:
    """Without the interim responses before it."""
    while data[9:10] == b"1" and b"\r\n\r\n" in data:
        data = data.partition(b"\r\n\r\n")[2]
    return data
