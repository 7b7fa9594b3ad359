"""Request and response heads, one at a time: strict, without memory, and the same when said again.

``data`` is a head up to its empty line. The grammar is written here a second time, as one regular
expression out of RFC 9112 2.2 to 5, so that a fault of ``fields`` is not a fault of the test.
"""

from __future__ import annotations

import re
from typing import Final

from broker.errors import ProtocolViolation
from broker.gateway.http1 import Fields, HeadReader, RequestHead, ResponseHead
from broker.gateway.paths import canonical
from tests.fuzz.judges import h11_requests, h11_responses, llhttp_request, llhttp_response

END: Final = b"\r\n\r\n"
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_FIELD: Final = rb"(?:\r\n" + _TOKEN + rb":[\t\x20-\x7e\x80-\xff]*)*"
REQUEST: Final = re.compile(_TOKEN + rb" [^ \r\n]+ HTTP/1\.[01]" + _FIELD)
RESPONSE: Final = re.compile(rb"HTTP/1\.[01] [1-5][0-9]{2}(?: [\t\x20-\x7e\x80-\xff]*)?" + _FIELD)
# Removed on the way in: hop-by-hop fields (RFC 9110 7.6.1), what is built anew ...
_ENDS_HERE: Final = frozenset(
    b"host cookie connection keep-alive proxy-connection proxy-authenticate proxy-authorization te"
    b" trailer transfer-encoding content-length upgrade expect traceparent tracestate"
    b" http2-settings".split()
)
# ... and what only we may say, in whatever spelling: compared by letters and digits.
_OURS: Final = re.compile(
    rb"forwarded|x?remote(?:user|groups|addr)|xremote.*|xbroker.*|xforwarded.*|xrealip|xrequestid"
    rb"|xoriginalurl|xrewriteurl|contentlength|transferencoding|proxy"
)

_kept = HeadReader(header_count=24, request_line_limit=512)
"""Reads every head of the run: what it remembers of one must not change another."""


def reader() -> HeadReader:
    return HeadReader(header_count=24, request_line_limit=512)


def _request(kept: HeadReader, data: bytes, known: Fields | None = None) -> RequestHead | int:
    try:
        return kept.request(data, known)
    except ProtocolViolation as error:
        return error.status


def _facts(head: RequestHead | int) -> object:
    if isinstance(head, int):
        return head
    it = head.fields
    return (head.method, head.target, head.upgrade, it.host, it.lines, it.cookies, it.length,
            it.chunked, it.keep_alive, it.expects, it.traceparent, it.tracestate)  # fmt: skip


def check_request(data: bytes) -> None:
    data = (data + END).partition(END)[0]  # as a connection cuts it
    head = _request(reader(), data)
    assert _facts(head) == _facts(_request(_kept, data)), "what was read before changes it"
    _check_again(data, head)
    if isinstance(head, int):
        return
    try:
        canonical(head.target, encoded_slash=True)
    except ProtocolViolation:
        return  # no such target goes any further, be there whole lines in it
    assert data.count(b"\r\n") <= 24, "more fields than may be"
    assert len(data.partition(b"\r\n")[0]) <= 512, "a longer request line than may be"
    assert REQUEST.fullmatch(data), "not the grammar of RFC 9112"
    fields = head.fields
    theirs, others = llhttp_request(data + END), h11_requests(data + END)
    assert not theirs.refused, theirs.refused
    assert others, "h11 sees no request"
    assert not others[0].refused, others[0].refused
    assert theirs.method == others[0].method == head.method
    assert theirs.target == others[0].target
    assert theirs.target == head.target or b"://" in theirs.target
    assert theirs.values(b"host") == others[0].values(b"host") == [fields.host]
    lengths = theirs.values(b"content-length")
    assert lengths == ([] if fields.length is None else lengths[:1])
    assert (b"chunked" in [each.lower() for each in theirs.values(b"transfer-encoding")]) == (
        fields.chunked
    )
    assert not (fields.chunked and fields.length is not None)
    _check_lines(data, fields)
    _check_rebuilt(head)


def _check_again(data: bytes, head: RequestHead | int) -> None:
    """The shortcut for a head that ends like the one before takes only what the whole way takes."""
    block = data.partition(b" ")[2].partition(b" ")[2]
    before = _request(reader(), b"GET / " + block)
    if isinstance(before, int):
        return
    short = reader().again(data + END, before.fields)
    if short is not None:
        assert _facts(short) == _facts(head)
    assert _facts(_request(reader(), data, before.fields)) == _facts(head)


def _check_lines(data: bytes, fields: Fields) -> None:
    """What goes on are lines that came, in their order, and none that must not."""
    came = iter(data.split(b"\r\n")[1:])
    assert all(line in came for line in fields.lines)
    options = {
        option.strip(b" \t").lower()
        for line in data.split(b"\r\n")[1:]
        if line.partition(b":")[0].lower() == b"connection"
        for option in line.partition(b":")[2].split(b",")
    }
    for line in fields.lines:
        name = line.partition(b":")[0].lower()
        assert name not in options, "named in Connection"
        letters = re.sub(rb"[^a-z0-9]", b"", name)
        assert name not in _ENDS_HERE
        assert not _OURS.fullmatch(letters), f"{name!r} goes on"


def _check_rebuilt(head: RequestHead) -> None:
    """What is sent on reads like what came."""
    fields = head.fields
    framing = [b"Transfer-Encoding: chunked"] if fields.chunked else []
    if fields.length is not None:
        framing = [b"Content-Length: %d" % fields.length]
    lines = [head.method + b" " + head.target + b" HTTP/1.1", b"Host: " + fields.host,
             *fields.lines, *framing]  # fmt: skip
    again = _request(HeadReader(header_count=99, request_line_limit=9999), b"\r\n".join(lines))
    assert isinstance(again, RequestHead), "what we would send is refused"
    assert (again.method, again.target, again.fields.lines) == (
        head.method, head.target, fields.lines,
    )  # fmt: skip
    assert (again.fields.length, again.fields.chunked) == (fields.length, fields.chunked)


def _response(kept: HeadReader, data: bytes) -> ResponseHead | int:
    try:
        return kept.response(data)
    except ProtocolViolation as error:
        return error.status


def _response_facts(head: ResponseHead | int) -> object:
    if isinstance(head, int):
        return head
    return (head.status, head.start, head.lines, head.own_cookies, head.length, head.chunked,
            head.keep_alive, head.upgrade)  # fmt: skip


def check_response(data: bytes) -> None:
    data = (data + END).partition(END)[0]  # as a connection cuts it
    head = _response(reader(), data)
    assert _response_facts(head) == _response_facts(_response(_kept, data))
    if isinstance(head, int):
        assert head == 502
        return
    assert RESPONSE.fullmatch(data), "not the grammar of RFC 9112"
    if head.status < 200:
        return
    theirs = llhttp_response(data + END)
    assert not theirs.refused, theirs.refused
    assert theirs.status == head.status
    others = h11_responses(data + END, [b"HEAD"], ended=True)
    assert not others[0].refused, others[0].refused
    assert others[0].status == head.status
    for line in head.lines:
        assert line in data.split(b"\r\n")
        name, _, value = line.partition(b":")
        assert name.lower() not in (
            b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade",
            b"trailer", b"te", b"strict-transport-security",
        )  # fmt: skip
        assert name.lower() != b"set-cookie" or b"__host-broker" not in value.lower()
