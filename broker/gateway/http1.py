"""Heads of HTTP/1.1 messages: read strictly, or refused. RFC 9112 is the grammar, RFC 9110 the
meaning; where they offer a choice the stricter one is taken.

A head arrives whole (``browser`` and ``upstream`` cut it at its empty line) and is taken apart by
``bytes`` operations. What follows the request line is often, byte for byte, what the same browser
sent with its last request; then what was found out about it (``Fields``) still holds. Measured
against llhttp through httptools (16 fields, then joined again for the backend): 4.5 us instead of
8, and 1 us when the fields are the same again. llhttp is the other opinion in the tests: what it
refuses, this must refuse. No I/O here, no knowledge of hosts or routes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broker.errors import ProtocolViolation
from broker.gateway.fields import (
    ALIVE,
    CODING,
    CONNECTION,
    COOKIE,
    DROP,
    EXPECT,
    FORWARD,
    HOST,
    LENGTH,
    REQUEST_KINDS,
    RESPONSE_KINDS,
    TRACEPARENT,
    TRACESTATE,
    UPGRADE,
    Lines,
)

if TYPE_CHECKING:
    from broker.gateway.identify import Cookies

METHOD: Final = re.compile(rb"[A-Z][A-Z\-]{0,31}")
STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
BROKEN_NEWLINE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
SPACE: Final = 0x20
MOST_DIGITS: Final = 18  # a length beyond 10**18 is no length
MOST_STATUS_LINES: Final = 1024
MOST_LENGTHS: Final = 4096
MOST_RECENT: Final = 512  # fields of new connections that are remembered, some 3 KiB each
LONGEST_RECENT: Final = 8 * 1024  # bytes of a head that is: strangers may send any number of larger


class Fields:
    """Everything of a request head but its first two words; never changed once it is read.

    ``tail`` is what it was read from, to the end of the head. ``lines`` are the fields to forward,
    as they came and without CRLF; Host, framing, hop-by-hop, reserved and cookie fields are not
    among them.
    ``length`` is None when there is no Content-Length; ``chunked`` excludes it. ``keep_alive`` is
    the browser's wish. ``traceparent`` is None when missing or repeated. ``split``, ``passed``
    and ``client`` are filled by those who need them, so that it is done once for the same fields.
    """

    __slots__ = ("chunked", "client", "cookies", "expects", "framed", "host", "keep_alive",
                 "length", "lines", "minor", "passed", "split", "tail", "traceparent", "tracestate",
                 "upgrade")  # fmt: skip

    def __init__(self, block: bytes, minor: int) -> None:
        self.tail = block + b"\r\n\r\n"
        self.minor = minor
        self.host = b""
        self.lines: list[bytes] = []
        self.cookies: bytes | None = None
        self.length: int | None = None
        self.chunked = False
        self.framed = False  # either of the two
        self.keep_alive = minor == 1
        self.expects = False
        self.upgrade: bytes | None = None
        self.traceparent: bytes | None = None
        self.tracestate: list[bytes] | None = None
        self.split: Cookies | None = None
        self.passed: bytes | None = None
        self.client: str | None = None

    @property
    def block(self) -> bytes:
        """``tail`` without the end of the head."""
        return self.tail[:-4]

    @property
    def has_body(self) -> bool:
        return self.chunked or bool(self.length)

    def field(self, name: bytes) -> bytes | None:
        """The value of the first field of this (lower-case) name among ``lines``."""
        for line in self.lines:
            found, _, value = line.partition(b":")
            if found.lower() == name:
                return value.strip(b" \t")
        return None

    def only(self, name: bytes) -> bytes | None:
        """The same; None too when there are several, of which others may believe another one."""
        several = sum(line.partition(b":")[0].lower() == name for line in self.lines) > 1
        return None if several else self.field(name)


class RequestHead:
    """One request head. ``upgrade`` starts as the offer in ``fields`` and may be withdrawn."""

    __slots__ = ("fields", "method", "target", "upgrade")

    def __init__(self, method: bytes, target: bytes, fields: Fields) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.upgrade = fields.upgrade


class ResponseHead:
    """One response head. ``start`` is our status line (``HTTP/1.1 200 OK``). ``lines`` as above;
    ``own_cookies`` are Set-Cookie lines that plant a ``__Host-broker...`` cookie;
    ``length_line``: our Content-Length, when there is a ``length``. ``dated``: there is a Date
    among ``lines``. ``whole``: all of it as it goes on when nothing is to be added and a body of
    known length follows; else None. Never changed once it is read: the next may be the same."""

    __slots__ = ("chunked", "dated", "keep_alive", "length", "length_line", "lines", "own_cookies",
                 "start", "status", "upgrade", "whole")  # fmt: skip

    def __init__(self, minor: int, status: int, start: bytes, lines: list[bytes]) -> None:
        self.status = status
        self.start = start
        self.lines = lines
        self.own_cookies: list[bytes] | None = None
        self.dated = True
        self.length: int | None = None
        self.length_line = b""
        self.chunked = False
        self.keep_alive = minor == 1
        self.upgrade: bytes | None = None
        self.whole: bytes | None = None


class HeadReader:
    """Reads heads, within limits. One per worker is enough: it keeps nothing of a message but
    lines that many messages have, and for seconds the heads that are likely to come again."""

    def __init__(self, *, header_count: int, request_line_limit: int) -> None:
        self._header_count = header_count
        self._target_limit = request_line_limit - len(b"  HTTP/1.1")
        self._request_lines = Lines(REQUEST_KINDS)
        self._response_lines = Lines(RESPONSE_KINDS)
        self._status_lines: dict[bytes, tuple[int, int, bytes]] = {}
        self._lengths: dict[bytes, tuple[int, bytes]] = {}
        self._responses: dict[bytes, ResponseHead] = {}
        self._young: dict[bytes, Fields] = {}
        self._old: dict[bytes, Fields] = {}

    def age(self) -> None:
        """Forget the fields that no new connection has brought since the call before last: browsers
        open six connections at once, and the same ones again when they were closed. And the
        responses: their Date was another second's."""
        self._old, self._young = self._young, {}
        self._responses.clear()

    def request(
        self, data: bytes, known: Fields | None = None, *, first: bool = False
    ) -> RequestHead:
        """``data`` is the head without its last empty line; ``known``: the fields of the request
        before; ``first``: there was none on this connection, but another may have brought the
        same. Raises ProtocolViolation. The target is looked at only as far as its form goes: its
        characters are for ``paths``."""
        method, _, rest = data.partition(b" ")
        target, _, rest = rest.partition(b" ")
        if len(target) + len(method) > self._target_limit:
            raise ProtocolViolation("the request line is too long", 414)
        if first:
            known = self._young.get(rest)
            if known is None:
                known = self._old.get(rest) or self._fields(rest)
                if len(self._young) < MOST_RECENT and len(rest) <= LONGEST_RECENT:
                    self._young[rest] = known
        elif known is None or len(rest) + 4 != len(known.tail) or not known.tail.startswith(rest):
            known = self._fields(rest)
        if method != b"GET" and (method == b"CONNECT" or not METHOD.fullmatch(method)):
            raise ProtocolViolation("a method that is not served here")
        if target[:1] != b"/":
            target = origin_form(target, known.host)
        return RequestHead(method, target, known)

    def again(self, data: bytes, known: Fields) -> RequestHead | None:
        """The same for ``data`` that ends with the fields of the request before, empty line and
        all; None when there is more to it than a GET and another target."""
        method, _, target = data[: -len(known.tail)].partition(b" ")
        if method != b"GET" or target[-1:] != b" " or target[:1] != b"/":
            return None
        target = target[:-1]
        if SPACE in target or len(target) > self._target_limit - 3:
            return None
        return RequestHead(method, target, known)

    def _fields(self, block: bytes) -> Fields:
        lines = block.split(b"\r\n")
        version = lines[0]
        if version == b"HTTP/1.1":
            fields = Fields(block, 1)
        elif version == b"HTTP/1.0":
            fields = Fields(block, 0)
        else:
            raise ProtocolViolation("not HTTP/1.1 or HTTP/1.0 (RFC 9112 2.3, 3)")
        if len(lines) - 1 > self._header_count:
            raise ProtocolViolation("too many header fields", 431)
        del lines[0]
        fields.lines, special = self._sorted(lines, self._request_lines)
        self._settle(fields, special)
        return fields

    @staticmethod
    def _sorted(lines: list[bytes], known: Lines) -> tuple[list[bytes], list[tuple[int, bytes]]]:
        """(lines to forward in their order, lines that mean something with what they are)."""
        forwarded = known.forwarded
        special: list[tuple[int, bytes]] = []
        ending: set[bytes] = set()
        for line in [line for line in lines if line not in forwarded]:
            kind = known.known.get(line)
            if kind is None:
                kind = known.learn(line)
            if kind != FORWARD:
                ending.add(line)
                if kind != DROP:
                    special.append((kind, line))
        if ending:
            lines = [line for line in lines if line not in ending]
        return lines, special

    def _settle(self, fields: Fields, special: list[tuple[int, bytes]]) -> None:
        """The fields that mean something to us, and what must not stand together."""
        traces = 0
        lengths: bytes | None = None
        coding: bytes | None = None
        options: list[bytes] = []
        settings = False
        for kind, line in special:
            value = line.partition(b":")[2].strip(b" \t")
            if kind == HOST:
                if fields.host or not value:
                    raise ProtocolViolation("exactly one Host is needed (RFC 9112 3.2)")
                fields.host = value
            elif kind == COOKIE:
                fields.cookies = value if fields.cookies is None else fields.cookies + b"; " + value
            elif kind == ALIVE:
                options.append(b"keep-alive")
            elif kind == CONNECTION:
                options += connection_options(value)
            elif kind == LENGTH:
                if lengths is not None:
                    raise ProtocolViolation("Content-Length twice (RFC 9112 6.3)")
                lengths = value
            elif kind == CODING:
                if coding is not None:
                    raise ProtocolViolation("Transfer-Encoding twice")
                coding = value
            elif kind == UPGRADE:
                if fields.upgrade is not None:
                    raise ProtocolViolation("Upgrade twice")
                fields.upgrade = value.lower()
            elif kind == EXPECT:
                if value.lower() != b"100-continue" or fields.expects:
                    raise ProtocolViolation("an expectation that cannot be met", 417)
                fields.expects = True
            elif kind == TRACEPARENT:
                traces += 1
                fields.traceparent = value if traces == 1 else None
            elif kind == TRACESTATE:
                fields.tracestate = [*(fields.tracestate or ()), line]
            else:
                settings = True
        if not fields.host:
            raise ProtocolViolation("exactly one Host is needed (RFC 9112 3.2)")
        if coding is not None:
            if lengths is not None:
                raise ProtocolViolation("Content-Length and Transfer-Encoding (RFC 9112 6.1)")
            if fields.minor == 0 or coding.lower() != b"chunked":
                raise ProtocolViolation("a Transfer-Encoding other than chunked (RFC 9112 6.1)")
            fields.chunked = True
        elif lengths is not None:
            fields.length = read_length(lengths)
        fields.framed = fields.chunked or fields.length is not None
        if fields.minor == 0:
            fields.expects = False  # RFC 9110 10.1.1: to be ignored
        if options:
            self._obey(fields, options)
        else:
            fields.upgrade = None
        if settings or (fields.upgrade is not None and fields.upgrade.startswith(b"h2")):
            raise ProtocolViolation("HTTP/2 is not spoken on this connection")

    def _obey(self, fields: Fields, options: list[bytes]) -> None:
        """Connection: close and keep-alive, upgrade, and names of fields that end here."""
        if b"close" in options:
            fields.keep_alive = False
        elif b"keep-alive" in options:
            fields.keep_alive = True
        if b"upgrade" not in options or fields.minor == 0:
            fields.upgrade = None
        named = set(options) - {b"close", b"keep-alive", b"upgrade"}
        if named:
            fields.lines = [x for x in fields.lines if x.partition(b":")[0].lower() not in named]
            if b"cookie" in named:
                fields.cookies = None
            if b"expect" in named:
                fields.expects = False
            if b"traceparent" in named:
                fields.traceparent = None
            if b"tracestate" in named:
                fields.tracestate = None

    def response(self, data: bytes) -> ResponseHead:
        """``data`` is the head without its last empty line. Raises ProtocolViolation (502).

        The head of a page that many look at, or one browser again and again, is the same for a
        second: it is read once (1.3 us less). Heads that plant cookies are nobody else's."""
        known = self._responses.get(data)
        if known is None:
            known, plain = self._response(data)
            if plain and len(self._responses) < MOST_RECENT and len(data) <= LONGEST_RECENT:
                self._responses[data] = known
        return known

    def _response(self, data: bytes) -> tuple[ResponseHead, bool]:
        """The head, and whether no line in it means anything but its length to us."""
        first, _, fields = data.partition(b"\r\n")
        start = self._status_lines.get(first) or self._status_line(first)
        lines = fields.split(b"\r\n") if fields else []
        if len(lines) > 2 * self._header_count:
            raise ProtocolViolation("too many header fields", 502)
        head = ResponseHead(*start, lines)
        if data.find(b"\r\nDate:") < 0 and data.lower().find(b"\r\ndate:") < 0:
            head.dated = False
        known = self._response_lines
        forwarded, kinds = known.forwarded, known.known
        special: list[tuple[int, bytes]] | None = None
        try:
            for line in [line for line in lines if line not in forwarded]:
                kind = kinds.get(line)
                if kind is None:
                    kind = known.learn(line)
                if kind == FORWARD:
                    continue
                lines.remove(line)
                if kind == LENGTH and head.length is None:
                    head.length, head.length_line = self._lengths.get(line) or self._length(line)
                elif kind == ALIVE:
                    head.keep_alive = True
                elif kind != DROP:
                    if special is None:
                        special = []
                    special.append((kind, line))
            if special is not None:
                self._settle_response(head, special, start[0])
        except ProtocolViolation as error:
            error.status = 502
            raise
        if head.dated and head.length is not None and head.status not in (204, 304):
            head.whole = b"\r\n".join((head.start, *head.lines, head.length_line, b"\r\n"))
        return head, special is None

    def _status_line(self, line: bytes) -> tuple[int, int, bytes]:
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise ProtocolViolation("not a status line (RFC 9112 4)", 502)
        ours = b"HTTP/1.1 " + match[2] + b" " + (match[3] or b"")
        start = (int(match[1]), int(match[2]), ours)
        if len(self._status_lines) < MOST_STATUS_LINES:
            self._status_lines[line] = start
        return start

    def _length(self, line: bytes) -> tuple[int, bytes]:
        length = read_length(line[15:].strip(b" \t"))
        found = length, b"Content-Length: %d" % length
        if len(self._lengths) >= MOST_LENGTHS:
            self._lengths.clear()
        self._lengths[line] = found
        return found

    @staticmethod
    def _settle_response(head: ResponseHead, special: list[tuple[int, bytes]], minor: int) -> None:
        options: list[bytes] = []
        for kind, line in special:
            value = line.partition(b":")[2].strip(b" \t")
            if kind == LENGTH:
                raise ProtocolViolation("Content-Length twice (RFC 9112 6.3)")
            if kind == CODING:
                if head.chunked or value.lower() != b"chunked" or minor == 0:
                    raise ProtocolViolation("a Transfer-Encoding other than chunked")
                head.chunked = True
            elif kind == CONNECTION:
                options += connection_options(value)
            elif kind == UPGRADE:
                head.upgrade = value.lower()
            elif b"__host-broker" in value.lower():  # nameless and quoted ones too
                head.own_cookies = [*(head.own_cookies or ()), line]
            else:
                head.lines.append(line)
        if head.chunked and head.length is not None:
            raise ProtocolViolation("Content-Length and Transfer-Encoding (RFC 9112 6.1)")
        if options:
            if b"close" in options:
                head.keep_alive = False
            elif b"keep-alive" in options:
                head.keep_alive = True
            named = set(options) - {b"close", b"keep-alive", b"upgrade"}
            if named:
                head.lines = [x for x in head.lines if x.partition(b":")[0].lower() not in named]
                head.dated = head.dated and b"date" not in named
        if b"upgrade" not in options:
            head.upgrade = None


def forwards_left(fields: Fields) -> int | None:
    """Max-Forwards of an OPTIONS request (RFC 9110 7.6.2); None: not said, or no number."""
    value = fields.field(b"max-forwards")
    return int(value) if value is not None and value.isdigit() and len(value) < 10 else None


def forwarded_once(fields: Fields, left: int) -> Fields:
    """The same fields with ``left`` in place of what Max-Forwards says. Not the very same: the
    browser's next request may repeat them. (``copy`` cannot copy what is compiled.)"""
    counted = Fields(fields.block, fields.minor)
    counted.host, counted.client = fields.host, fields.client
    counted.lines = [
        b"Max-Forwards: %d" % left if line[:13].lower() == b"max-forwards:" else line
        for line in fields.lines
    ]
    counted.cookies, counted.split = fields.cookies, fields.split
    counted.length, counted.chunked, counted.framed = fields.length, fields.chunked, fields.framed
    counted.keep_alive, counted.expects = fields.keep_alive, fields.expects
    counted.upgrade = fields.upgrade
    counted.traceparent, counted.tracestate = fields.traceparent, fields.tracestate
    return counted


def connection_options(value: bytes) -> list[bytes]:
    """The options of Connection, lower case (RFC 9110 7.6.1)."""
    options = [option.strip(b" \t").lower() for option in value.split(b",")]
    return [option for option in options if option]


def read_length(value: bytes) -> int:
    """Content-Length: digits and nothing else, once (RFC 9110 8.6)."""
    if not value.isdigit() or len(value) > MOST_DIGITS:
        raise ProtocolViolation("not a Content-Length (RFC 9110 8.6)")
    return int(value)


def origin_form(target: bytes, host: bytes) -> bytes:
    """The path and query of an absolute-form target (RFC 9112 3.2.2) whose authority is Host's."""
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise ProtocolViolation("not a request target that is served here (RFC 9112 3.2)")
    end = min((i for i in (rest.find(b"/"), rest.find(b"?")) if i >= 0), default=len(rest))
    if rest[:end].lower() != host.lower():
        raise ProtocolViolation("the target's authority is not that of Host (RFC 9112 3.2.2)")
    path = rest[end:]
    return path if path.startswith(b"/") else b"/" + path


def broken_newline(data: bytes | bytearray, start: int = 0) -> bool:
    """Whether an unfinished head can no longer become a valid one: a bare LF or CR in it, from
    ``start`` on."""
    return BROKEN_NEWLINE.search(data, start) is not None
