"""Hypothesis grammars: mostly well-formed messages with something odd in them. A coverage-guided
fuzzer reaches what nobody thought of, a grammar what is deep inside of what is valid."""

from __future__ import annotations

from typing import Final, TypeVar

from hypothesis import strategies as st

from broker.gateway.proxy_protocol import SIGNATURE
from tests.fuzz.targets import TARGETS

T = TypeVar("T")

_noise = st.one_of(
    st.binary(max_size=6),
    st.sampled_from([b"", b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b"\x0b", b"\x7f", b"\xff"]),
)
_token = st.text("abcXYZ019-!#$%&'*+.^_`|~", min_size=1, max_size=8).map(str.encode)
_value = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12).map(str.encode),
    st.sampled_from([b"a, b", b"", b"x" * 40, b"caf\xe9"]),
    _noise,
)
_digits = st.one_of(
    st.integers(0, 12).map(lambda n: b"%d" % n),
    st.sampled_from([b"05", b"+5", b"-5", b"5, 5", b"5 5", b"0x5", b"", b"9" * 20, b"\xb2"]),
)


def _mostly(usual: list[T], odd: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    return st.integers(0, 9).flatmap(lambda n: odd if n == 0 else st.sampled_from(usual))


def _words(target: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from(TARGETS[target].words)


_colon = _mostly([b": "] * 4 + [b":", b":\t"], st.sampled_from([b" : ", b" ", b"\r\n ", b"::"]))
_eol = _mostly([b"\r\n"], st.sampled_from([b"\n", b"\r", b"\r\n ", b"\r\r\n", b"\r\n\r\n"]))
_framing = st.one_of(
    st.just(b""),
    st.builds(lambda n: b"Content-Length: " + n, _digits),
    st.sampled_from([b"Transfer-Encoding: chunked", b"transfer-encoding:\tCHUNKED",
                     b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: identity"]),
)  # fmt: skip
_known_field = st.sampled_from(
    [b"Connection: close", b"Connection: keep-alive, X-A", b"Connection: Upgrade", b"X-A: 1",
     b"Upgrade: websocket", b"Expect: 100-continue", b"Cookie: a=b; __Host-broker-lang=fr",
     b"TE: trailers", b"Keep-Alive: timeout=5", b"X-Remote-User: eve", b"x.remote-user: eve",
     b"X-Forwarded-For: 9.9.9.9", b"Forwarded: for=9.9.9.9", b"Accept: text/html",
     b"Sec-Fetch-Mode: navigate", b"Origin: https://feed.test:8443", b"tracestate: a=b",
     b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]
)  # fmt: skip
_field = st.one_of(
    _known_field, st.builds(lambda n, c, v: n + c + v, _token, _colon, _value), _framing
)
_segment = st.one_of(
    st.sampled_from([b"", b"a", b".", b"..", b"%2e", b"%2F", b"%61", b"%7E", b"%25", b"%5c", b"...",
                     b"slash", b".broker", b"%c3%a9", b";x", b"a%", b"%2"]),
    st.text("ab0-._~!$&'()*+,;=:@|^`{}[]", max_size=5).map(str.encode),
)  # fmt: skip
_query = st.one_of(st.just(b""), _value.map(lambda v: b"?" + v))
PATH = st.builds(
    lambda segments, query: b"/" + b"/".join(segments) + query,
    st.lists(_segment, max_size=6),
    _query,
)
_target = st.one_of(
    PATH,
    st.just(b"/"),
    PATH.map(lambda path: b"http://feed.test:8443" + path),
    st.sampled_from([b"*", b"feed.test:8443", b"/.broker/healthz", b"/.broker/wait/status", b""]),
)
_method = _mostly([b"GET", b"POST", b"HEAD", b"PUT", b"OPTIONS", b"DELETE"], _token)
_host = _mostly(
    [b"Host: feed.test:8443"] * 4 + [b"Host: home.test:8443", b"host: FEED.test:8443"],
    st.sampled_from([b"Host: other.test", b"Host: ", b"Host: feed.test:8443\r\nHost: a", b""]),
)
_cookie = st.sampled_from(
    [b"Cookie: __Host-broker=token-of-ada-0"] * 3
    + [b"", b"Cookie: a=b; __Host-broker=token-of-ada-0; c", b"Cookie: __host-broker=x"]
)
_version = _mostly([b"HTTP/1.1"] * 5 + [b"HTTP/1.0"], st.sampled_from([b"HTTP/2.0", b"http/1.1"]))


def _head(
    method: bytes, target: bytes, version: bytes, lines: list[bytes], eols: list[bytes]
) -> bytes:
    lines = [method + b" " + target + b" " + version, *[line for line in lines if line]]
    return b"".join(line + eols[at % len(eols)] for at, line in enumerate(lines))


def _lines(host: bytes, cookie: bytes, fields: list[bytes]) -> list[bytes]:
    return [host, cookie, *fields]


REQUEST_HEAD = st.builds(
    _head, _method, _target, _version,
    st.builds(_lines, _host, _cookie, st.lists(_field, max_size=5)),
    st.lists(_eol, min_size=1, max_size=3),
)  # fmt: skip

_size = st.one_of(
    st.just(b""),
    st.sampled_from([b"0", b"5", b"00005", b"5 ", b"5;a=b", b"5;\n", b"-5", b"f" * 16]),
)


def _chunk(size: bytes, data: bytes, end: bytes) -> bytes:
    return (size or b"%x" % len(data)) + b"\r\n" + data + end


CHUNKS = st.builds(
    lambda chunks, last, trailers, after: b"".join(chunks) + last + trailers + b"\r\n" + after,
    st.lists(
        st.builds(_chunk, _mostly([b""], _size), st.binary(min_size=1, max_size=12), _eol),
        max_size=4,
    ),
    _mostly([b"0\r\n"], st.sampled_from([b"0;x\r\n", b"00\r\n", b"0\n", b"0 \r\n", b""])),
    _mostly([b""], st.builds(lambda n, c, v, e: n + c + v + e, _token, _colon, _value, _eol)),
    _noise,
)


def _body(head: bytes, chunks: bytes, plain: bytes) -> bytes:
    """With a body of the kind that the head promises, if it promises one."""
    lower = head.lower()
    if b"chunked" in lower:
        return head + b"\r\n" + chunks
    return head + b"\r\n" + (plain if b"content-length" in lower else b"")


def _sound(first: bytes, fields: list[bytes], kind: int, pieces: list[bytes]) -> bytes:
    """A message that is as it should be, with its body."""
    lines = [first, *fields]
    if kind == 1:
        lines.append(b"Transfer-Encoding: chunked")
        body = b"".join(_chunk(b"", piece, b"\r\n") for piece in pieces) + b"0\r\n\r\n"
    elif kind == 2:
        body = b"".join(pieces)
        lines.append(b"Content-Length: %d" % len(body))
    else:
        body = b""
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_sound_field = st.one_of(
    _known_field, st.builds(lambda n, v: n + b": " + v, _token, st.sampled_from([b"", b"a b"]))
)
_pieces = st.lists(st.binary(min_size=1, max_size=12), max_size=3)
_SOUND_REQUEST = st.builds(
    lambda method, target, cookie, *rest: _sound(
        method + b" " + target + b" HTTP/1.1\r\nHost: feed.test:8443" + cookie, *rest
    ),
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT"]),
    st.one_of(st.just(b"/"), PATH),
    st.sampled_from([b"\r\nCookie: __Host-broker=token-of-ada-0"] * 5 + [b""]),
    st.lists(_sound_field, max_size=4),
    st.integers(0, 2),
    _pieces,
)
_SOUND_RESPONSE = st.builds(
    _sound,
    st.sampled_from(
        [b"HTTP/1.1 200 OK"] * 5
        + [b"HTTP/1.1 404 Not Found", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 204 No Content",
           b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue", b"HTTP/1.1 103 Early Hints",
           b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket"]
    ),
    st.lists(
        st.sampled_from([b"Connection: close", b"Set-Cookie: a=b", b"Keep-Alive: timeout=5",
                         b"Set-Cookie: __Host-broker=x", b"Content-Type: text/html"]),
        max_size=3,
    ),
    st.integers(0, 2),
    _pieces,
)  # fmt: skip


REQUESTS = st.builds(
    lambda messages, cut: b"".join(messages)[: cut or None],
    st.lists(
        st.one_of(
            _SOUND_REQUEST,
            _SOUND_REQUEST,
            st.builds(_body, REQUEST_HEAD, CHUNKS, st.binary(max_size=12)),
        ),
        min_size=1,
        max_size=3,
    ),
    _mostly([0], st.integers(1, 400)),
)

_reason = st.sampled_from([b" OK", b" ", b"", b" caf\xe9", b"  x", b" a\x00b"])
_status = _mostly(
    [b"200"] * 6 + [b"204", b"304", b"404", b"100", b"101", b"103", b"500"],
    st.sampled_from([b"099", b"600", b"20", b"2000", b"-20"]),
)
_response_field = st.one_of(
    st.sampled_from(
        [b"Connection: close", b"Connection: Upgrade", b"Upgrade: websocket", b"Set-Cookie: a=b",
         b"Set-Cookie: __Host-broker=x", b"Keep-Alive: timeout=5", b"Content-Type: text/html",
         b"Strict-Transport-Security: max-age=0", b"Connection: X-A", b"X-A: 1", b"Trailer: X"]
    ),
    st.builds(lambda n, c, v: n + c + v, _token, _colon, _value),
    _framing,
    _framing,
)  # fmt: skip
RESPONSE_HEAD = st.builds(
    lambda v, s, r, fields, eols: b"".join(
        line + eols[at % len(eols)]
        for at, line in enumerate([v + b" " + s + r, *[field for field in fields if field]])
    ),
    _version, _status, _reason, st.lists(_response_field, max_size=5),
    st.lists(_eol, min_size=1, max_size=3),
)  # fmt: skip
RESPONSES = st.builds(
    lambda messages, cut: b"".join(messages)[: cut or None],
    st.lists(
        st.one_of(
            _SOUND_RESPONSE,
            _SOUND_RESPONSE,
            st.builds(_body, RESPONSE_HEAD, CHUNKS, st.binary(max_size=12)),
        ),
        min_size=1,
        max_size=2,
    ),
    _mostly([0], st.integers(1, 300)),
)

COOKIES = st.lists(
    st.one_of(_words("cookies"), _token, _value), max_size=12
).map(b"".join)  # fmt: skip


def _ascii(value: object) -> bytes:
    return str(value).encode()


_address = st.one_of(
    st.ip_addresses().map(_ascii),
    st.sampled_from([b"::ffff:1.2.3.4", b"1.2.3.04", b"1.2.3", b"::g", b"fe80::1%1", b""]),
)
_port = st.one_of(st.integers(0, 70_000).map(lambda n: b"%d" % n), st.sampled_from([b"", b"01"]))
_sound_line = st.one_of(
    st.builds(
        lambda *two: b"PROXY TCP4 %s %s 1 65535" % two, *[st.ip_addresses(v=4).map(_ascii)] * 2
    ),
    st.builds(
        lambda *two: b"PROXY TCP6 %s %s 0 443" % two, *[st.ip_addresses(v=6).map(_ascii)] * 2
    ),
)
_line = st.builds(
    lambda kind, *rest: b" ".join((b"PROXY", kind, *rest)),
    st.sampled_from([b"TCP4", b"TCP6", b"UNKNOWN", b"TCP", b"tcp4"]),
    _address, _address, _port, _port,
)  # fmt: skip


def _binary_header(command: int, family: int, payload: bytes, more: int) -> bytes:
    size = max(0, len(payload) + more)
    return SIGNATURE + bytes((command, family)) + size.to_bytes(2, "big") + payload


PROXY = st.builds(
    lambda header, after: header + after,
    st.one_of(
        st.builds(lambda line, eol: line + eol, st.one_of(_line, _sound_line), _eol),
        st.builds(
            _binary_header,
            st.sampled_from([0x20, 0x21, 0x21, 0x22, 0x11]),
            st.sampled_from([0, 0x11, 0x11, 0x21, 0x12, 0x31]),
            st.one_of(
                st.binary(min_size=12, max_size=12), st.binary(min_size=36, max_size=36),
                st.binary(max_size=60),
            ),
            st.sampled_from([0, 0, 0, 1, -1, 2048]),
        ),
        _words("proxy"),
    ),
    st.binary(max_size=8),
)  # fmt: skip
_node = st.one_of(
    _address,
    _address.map(lambda a: b'"[' + a + b']:80"'),
    st.sampled_from([b"unknown", b"_x", b'"a,b"', b"10.0.0.2", b"10.0.0.3", b"fd00::1"]),
    _value,
)
FORWARDED = st.lists(
    st.one_of(
        st.lists(_node, max_size=4).map(lambda n: b"X-Forwarded-For: " + b", ".join(n)),
        st.lists(_node, max_size=4).map(
            lambda n: b"Forwarded: " + b", ".join(b"proto=https;for=" + each for each in n)
        ),
    ),
    max_size=3,
).map(b"\r\n".join)

GRAMMARS: Final[dict[str, st.SearchStrategy[bytes]]] = {
    "request-head": REQUEST_HEAD,
    "response-head": RESPONSE_HEAD,
    "chunks": CHUNKS,
    "cookies": COOKIES,
    "path": PATH,
    "proxy": PROXY,
    "forwarded": FORWARDED,
    "target": PATH,
    "requests": REQUESTS,
    "responses": RESPONSES,
}
