"""Heads that must be refused, each with the rule it breaks, and what a good one becomes."""

from __future__ import annotations

import contextlib

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolViolation
from broker.gateway.http1 import (
    LONGEST_RECENT,
    HeadReader,
    RequestHead,
    ResponseHead,
    broken_newline,
    forwarded_once,
)


def reader() -> HeadReader:
    return HeadReader(header_count=20, request_line_limit=200)


def request(head: bytes) -> RequestHead:
    return reader().request(head)


HOST = b"\r\nHost: a.test"
HOSTILE = [
    # (head without its empty line, status, rule)
    (b"GET / HTTP/1.1", 400, "RFC 9112 3.2: Host is missing"),
    (b"GET / HTTP/1.0", 400, "Host is missing, for HTTP/1.0 too"),
    (b"GET / HTTP/1.1" + HOST + HOST, 400, "RFC 9112 3.2: Host twice"),
    (b"GET / HTTP/1.1\r\nHost:", 400, "RFC 9112 3.2: Host is empty"),
    (b"GET /" + HOST, 400, "RFC 9112 3: no version (HTTP/0.9)"),
    (b"GET / HTTP/0.9" + HOST, 400, "RFC 9112 2.3"),
    (b"GET / HTTP/2.0" + HOST, 400, "RFC 9112 2.3"),
    (b"GET / HTTP/1.2" + HOST, 400, "RFC 9112 2.3"),
    (b"GET / http/1.1" + HOST, 400, "RFC 9112 2.3: case-sensitive"),
    (b"GET / HTTP/1.1 " + HOST, 400, "RFC 9112 3: space after the version"),
    (b"GET  / HTTP/1.1" + HOST, 400, "RFC 9112 3: two spaces"),
    (b"GET /\t HTTP/1.1" + HOST, 0, "left to paths: a tab is no target's character"),
    (b" GET / HTTP/1.1" + HOST, 400, "RFC 9112 3: leading space"),
    (b"G\x00T / HTTP/1.1" + HOST, 400, "RFC 9110 9.1: not a token"),
    (b"get / HTTP/1.1" + HOST, 400, "RFC 9110 9.1: methods are case-sensitive"),
    (b"CONNECT a.test:443 HTTP/1.1" + HOST, 400, "RFC 9110 9.3.6: we are no tunnel"),
    (b"GET * HTTP/1.1" + HOST, 400, "RFC 9112 3.2.4: asterisk-form is for OPTIONS"),
    (b"OPTIONS * HTTP/1.1" + HOST, 400, "RFC 9112 3.2.4: not offered here"),
    (b"GET a.test HTTP/1.1" + HOST, 400, "RFC 9112 3.2: not a target"),
    (b"GET http://b.test/ HTTP/1.1" + HOST, 400, "RFC 9112 3.2.2: another authority"),
    (b"GET http://u@a.test/ HTTP/1.1" + HOST, 400, "RFC 9110 4.2.4: userinfo"),
    (b"GET ftp://a.test/ HTTP/1.1" + HOST, 400, "a scheme that is not served"),
    (b"PRI * HTTP/2.0" + HOST, 400, "RFC 9113 3.4: the HTTP/2 preface"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX : 1", 400, "RFC 9112 5.1: space before the colon"),
    (b"GET / HTTP/1.1" + HOST + b"\r\n X: 1", 400, "RFC 9112 5.2: obs-fold"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: 1\r\n\tfolded", 400, "RFC 9112 5.2: obs-fold"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX", 400, "RFC 9112 5: no colon"),
    (b"GET / HTTP/1.1" + HOST + b"\r\n: 1", 400, "RFC 9110 5.1: no name"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX(y): 1", 400, "RFC 9110 5.1: not a token"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX_y: 1", 400, "names with an underscore"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX\xe9: 1", 400, "RFC 9110 5.1: not a token"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: a\nY: b", 400, "RFC 9112 2.2: bare LF"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: a\rY: b", 400, "RFC 9112 2.2: bare CR"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: a\x00b", 400, "RFC 9110 5.5: NUL"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: a\x0bb", 400, "RFC 9110 5.5: control byte"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: a\x7fb", 400, "RFC 9110 5.5: DEL"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nContent-Length: 1", 400, "9112 6.3"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1, 1", 400, "RFC 9112 6.3: a list"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: +1", 400, "RFC 9110 8.6: signed"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: -1", 400, "RFC 9110 8.6: signed"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 0x1", 400, "RFC 9110 8.6"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1 1", 400, "RFC 9110 8.6"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length:", 400, "RFC 9110 8.6: empty"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: " + b"9" * 40, 400, "no such length"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: \xb2", 400, "RFC 9110 8.6: not a digit"),
    (
        b"POST / HTTP/1.1" + HOST + b"\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        400,
        "RFC 9112 6.1: both",
    ),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: gzip, chunked", 400, "RFC 9112 6.1"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked, chunked", 400, "RFC 9112 6.1"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: identity", 400, "RFC 9112 6.1"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: xchunked", 400, "RFC 9112 6.1"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked;a=b", 400, "RFC 9112 7"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding:", 400, "RFC 9112 6.1: empty"),
    (
        b"POST / HTTP/1.1" + HOST + b"\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked",
        400,
        "RFC 9112 6.1: twice",
    ),
    (b"POST / HTTP/1.0" + HOST + b"\r\nTransfer-Encoding: chunked", 400, "RFC 9112 6.1: 1.0"),
    (b"POST / HTTP/1.1" + HOST + b"\r\nTransfer\xadEncoding: chunked", 400, "not a token"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nConnection: Upgrade\r\nUpgrade: h2c", 400, "h2c"),
    (
        b"GET / HTTP/1.1" + HOST + b"\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AA",
        400,
        "h2c",
    ),
    (b"GET / HTTP/1.1" + HOST + b"\r\nHTTP2-Settings: AA", 400, "h2c"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nExpect: 200-ok", 417, "RFC 9110 10.1.1"),
    (b"GET /" + b"a" * 200 + b" HTTP/1.1" + HOST, 414, "RFC 9110 15.5.15"),
    (b"GET / HTTP/1.1" + HOST + b"\r\nX: 1" * 30, 431, "RFC 6585 5"),
]


@pytest.mark.parametrize(("head", "status", "rule"), HOSTILE, ids=[row[2] for row in HOSTILE])
def test_hostile_heads_are_refused(head: bytes, status: int, rule: str) -> None:
    if status == 0:
        assert request(head).target == b"/\t"
        return
    with pytest.raises(ProtocolViolation) as caught:
        request(head)
    assert caught.value.status == status, rule


def test_a_good_head() -> None:
    head = request(
        b"POST /x?y HTTP/1.1\r\nhost: A.test\r\nUser-Agent: me\r\nCookie: a=1\r\ncookie: b=2\r\n"
        b"Content-Length: 007\r\nExpect: 100-Continue\r\nTE: trailers\r\nX-Forwarded-For: 1.2.3.4"
    )
    assert (head.method, head.target, head.fields.host, head.fields.minor) == (
        b"POST",
        b"/x?y",
        b"A.test",
        1,
    )
    assert head.fields.lines == [b"User-Agent: me"]
    assert head.fields.cookies == b"a=1; b=2"
    assert head.fields.length == 7
    assert head.fields.expects
    assert head.fields.keep_alive


@pytest.mark.parametrize(
    "name",
    ["X-Remote-User", "x-remote-groups", "X-REMOTE-POPULATION", "X-Broker-Assertion",
     "X.Remote.User", "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Request-Id",
     "XRemoteUser", "X--Remote--User", "Remote-User", "X-Original-URL"],
)  # fmt: skip
def test_reserved_names_are_removed_in_every_spelling(name: str) -> None:
    head = request(b"GET / HTTP/1.1\r\nHost: a\r\n" + name.encode() + b": eve\r\nX-Ok: 1")
    assert head.fields.lines == [b"X-Ok: 1"]


def test_names_in_connection_end_here() -> None:
    head = request(
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop, cookie\r\nX-Hop: 1\r\nX-End: 2\r\n"
        b"Cookie: a=1"
    )
    assert head.fields.lines == [b"X-End: 2"]
    assert head.fields.cookies is None
    assert not head.fields.keep_alive


def test_absolute_form_becomes_origin_form() -> None:
    for target, expected in (
        (b"http://a.test/x?y", b"/x?y"),
        (b"HTTPS://A.TEST", b"/"),
        (b"http://a.test?q", b"/?q"),
    ):
        assert request(b"GET " + target + b" HTTP/1.1\r\nHost: a.test").target == expected


def test_an_upgrade_needs_connection_upgrade() -> None:
    lines = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: "
    assert request(lines + b"keep-alive, Upgrade").upgrade == b"websocket"
    assert request(lines + b"keep-alive").upgrade is None


def test_traceparent_twice_is_none() -> None:
    one = b"\r\ntraceparent: 00-a"
    assert request(b"GET / HTTP/1.1\r\nHost: a" + one).fields.traceparent == b"00-a"
    assert request(b"GET / HTTP/1.1\r\nHost: a" + one + one).fields.traceparent is None
    assert request(b"GET / HTTP/1.1\r\nHost: a" + one + one + one).fields.traceparent is None


def test_remembered_lines_mean_the_same_again() -> None:
    keep = reader()
    data = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nConnection: close"
    first, second = keep.request(data), keep.request(data)
    assert first.fields.lines == second.fields.lines == [b"Accept: */*"]
    assert not second.fields.keep_alive
    assert second.fields.host == b"a"


BROKEN_RESPONSES = [
    (b"HTTP/2.0 200 OK", "RFC 9112 2.3"),
    (b"HTTP/1.1 20 OK", "RFC 9112 4"),
    (b"HTTP/1.1 600 No", "RFC 9110 15"),
    (b"HTTP/1.1  200 OK", "RFC 9112 4"),
    (b"ICY 200 OK", "not HTTP"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", "RFC 9112 6.1"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2", "RFC 9112 6.3"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1", "RFC 9112 6.3"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", "RFC 9112 6.1"),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", "RFC 9112 6.1"),
    (b"HTTP/1.1 200 OK\r\nX : 1", "RFC 9112 5.1"),
    (b"HTTP/1.1 200 OK\r\nX: 1\r\n folded", "RFC 9112 5.2"),
    (b"HTTP/1.1 200 OK\r\nX: 1\nY: 2", "RFC 9112 2.2"),
    (b"HTTP/1.1 200 OK\r\nX: \x00", "RFC 9110 5.5"),
]


@pytest.mark.parametrize(("head", "rule"), BROKEN_RESPONSES)
def test_broken_responses_are_refused(head: bytes, rule: str) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        reader().response(head)
    assert caught.value.status == 502, rule


def test_a_line_without_a_colon_is_refused_even_if_its_name_is_known() -> None:
    keep = reader()
    keep.request(b"GET / HTTP/1.1\r\nHost: a\r\nFoo: 1")
    keep.response(b"HTTP/1.1 200 OK\r\nFoo: 1")
    with pytest.raises(ProtocolViolation):
        keep.request(b"GET / HTTP/1.1\r\nHost: a\r\nFoo")
    with pytest.raises(ProtocolViolation):
        keep.response(b"HTTP/1.1 200 OK\r\nFoo")


@pytest.mark.parametrize(
    "value",
    [b"__Host-broker=x", b"\t __HOST-BROKER=x", b"=__Host-broker=x", b'"__Host-broker"=x',
     b";__Host-broker=x", b"__Host-broker", b"__Host-broker-lang=x"],
)  # fmt: skip
def test_no_application_plants_a_cookie_of_ours(value: bytes) -> None:
    head = reader().response(b"HTTP/1.1 200 OK\r\nSet-Cookie: " + value)
    assert not head.lines
    assert head.own_cookies is not None


def test_what_a_server_says_of_its_own_address_ends_here() -> None:
    head = reader().response(
        b'HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=0\r\nAlt-Svc: h3=":1"\r\nA: b'
    )
    assert head.lines == [b"A: b"]


def test_a_response_head_that_comes_again_is_read_once_for_some_seconds() -> None:
    made = reader()
    data = b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2"
    first = made.response(data)
    assert first.whole == data + b"\r\n\r\n"
    assert made.response(data) is first
    made.age()
    assert made.response(data) is not first


@pytest.mark.parametrize(
    "line",
    [
        b"Set-Cookie: __Host-broker=x; Path=/",
        b"Set-Cookie: theirs=secret",
        b"Connection: close",
        b"Transfer-Encoding: chunked",
    ],
)
def test_a_response_head_with_a_meaning_of_its_own_is_not_remembered(line: bytes) -> None:
    made = reader()
    data = b"HTTP/1.1 200 OK\r\nDate: x\r\n" + line
    assert made.response(data) is not made.response(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2",
        b"HTTP/1.1 200 OK\r\nDate: x",
        b"HTTP/1.1 204 No Content\r\nDate: x\r\nContent-Length: 0",
        b"HTTP/1.1 304 Not Modified\r\nDate: x\r\nContent-Length: 2",
    ],
)
def test_a_response_head_to_which_something_must_be_done_is_not_whole(data: bytes) -> None:
    assert reader().response(data).whole is None


def test_what_connection_names_is_not_in_the_whole_either() -> None:
    head = reader().response(
        b"HTTP/1.1 200 OK\r\nDate: x\r\nHop: y\r\nConnection: hop\r\nContent-Length: 2"
    )
    assert head.whole == b"HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 2\r\n\r\n"


def test_a_good_response() -> None:
    head: ResponseHead = reader().response(
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nKeep-Alive: x\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: __Host-broker=evil\r\nSet-Cookie: __HOST-broker-lang=x\r\nX_Y: z"
    )
    assert (head.status, head.start, head.length) == (404, b"HTTP/1.1 404 Not Found", 3)
    assert head.lines == [b"X_Y: z", b"Set-Cookie: a=1"]
    assert head.own_cookies is not None
    assert len(head.own_cookies) == 2


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\rHost", b"\n"])
def test_a_bare_newline_is_seen_before_the_head_ends(data: bytes) -> None:
    assert broken_newline(data)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost", b"GET / HTTP/1.1\r", b"\r\n"])
def test_an_unfinished_head_is_no_broken_one(data: bytes) -> None:
    assert not broken_newline(data)


class Llhttp:
    """What llhttp makes of the same bytes: the second opinion."""

    def __init__(self, data: bytes) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.parser = httptools.HttpRequestParser(self)
        with contextlib.suppress(httptools.HttpParserUpgrade):
            self.parser.feed_data(data + b"\r\n\r\n")

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


PIECES = st.sampled_from(
    [b"GET", b"POST", b" ", b"/", b"/a?b", b"http://a/", b"HTTP/1.1", b"HTTP/1.0", b"\r\n", b"\n",
     b"\r", b":", b"Host: a", b"Content-Length: 3", b"Content-Length:", b"chunked", b",", b"\t",
     b"Transfer-Encoding: chunked", b"Transfer-Encoding", b"\x00", b"\x0b", b"X", b"_", b"\x80",
     b"Cookie: a=b; c", b"Connection: close", b"Upgrade: websocket", b"Connection: Upgrade",
     b";", b"-1"]
)  # fmt: skip
HEADS = st.one_of(
    st.lists(PIECES, max_size=14).map(b"".join),
    st.lists(PIECES, max_size=8).map(lambda p: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(p)),
    st.lists(PIECES, max_size=8).map(lambda p: b"POST / HTTP/1.1\r\nHost: a\r\n" + b"\r\n".join(p)),
    st.binary(max_size=60).map(lambda b: b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b),
)


@given(HEADS)
def test_what_llhttp_refuses_is_refused_here(data: bytes) -> None:
    data = data.partition(b"\r\n\r\n")[0]  # the connection cuts the head there
    try:
        ours = HeadReader(header_count=100, request_line_limit=8192).request(data)
    except ProtocolViolation:
        return
    if b"\t" in ours.target or ours.target.translate(None, bytes(range(0x21, 0x7F))):
        return  # refused by ``paths``
    theirs = Llhttp(data)
    assert theirs.complete
    assert theirs.parser.get_method() == ours.method
    passed = [
        (line.partition(b":")[0], line.partition(b":")[2].strip(b" \t"))
        for line in ours.fields.lines
    ]
    stripped = [(name, value.strip(b" \t")) for name, value in theirs.fields]
    assert [field for field in stripped if field in passed] == passed


def test_small_heads_are_remembered_and_large_ones_are_not() -> None:
    """Anybody may send heads of 32 KiB, each another one, on any number of connections."""
    one = reader()
    start = b"GET / HTTP/1.1" + HOST + b"\r\nX: "
    answer = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 1\r\nX: "
    for letters, remembered in ((100, True), (LONGEST_RECENT, False)):
        head, response = start + b"a" * letters, answer + b"a" * letters
        first, second = (one.request(head, first=True).fields for _ in range(2))
        assert (first is second) == remembered
        assert (one.response(response) is one.response(response)) == remembered


def test_a_date_that_connection_names_is_none() -> None:
    head = reader().response(
        b"HTTP/1.1 200 OK\r\nDate: now\r\nConnection: date\r\nContent-Length: 1"
    )
    assert (head.dated, head.lines, head.whole) == (False, [], None)


def test_counted_down_all_other_fields_are_the_same() -> None:
    fields = request(
        b"OPTIONS / HTTP/1.1" + HOST + b"\r\nCookie: a=b\r\nContent-Length: 3"
        b"\r\nExpect: 100-continue\r\nConnection: upgrade\r\nUpgrade: websocket"
        b"\r\ntraceparent: a\r\ntracestate: b\r\nMax-Forwards: 4\r\nX: 1"
    ).fields
    fields.client, fields.passed = "192.0.2.1", b"passed"
    counted = forwarded_once(fields, 3)
    assert (counted.lines, counted.passed) == ([b"Max-Forwards: 3", b"X: 1"], None)
    assert fields.lines == [b"Max-Forwards: 4", b"X: 1"]
    facts = [name for name in dir(fields) if not name.startswith("_")]
    for name in set(facts) - {"lines", "passed", "field", "only"}:
        assert getattr(counted, name) == getattr(fields, name), name
