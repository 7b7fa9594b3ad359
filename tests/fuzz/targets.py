"""What can be fuzzed: for each target a check that raises when something is wrong with some bytes,
and words that are worth trying. Seeds lie in ``seeds/TARGET``, cases that were found in
``found/TARGET``: one file each, the input as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fuzz.checks import heads, requests, responses, values

if TYPE_CHECKING:
    from collections.abc import Callable

HERE: Final = Path(__file__).parent

_FRAMING: Final = (
    b"Content-Length: 5", b"Content-Length: ", b"Transfer-Encoding: chunked", b"chunked", b"\r\n",
    b"\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close", b"Connection: keep-alive",
    b"Connection: Upgrade", b"Upgrade: websocket", b"HTTP/1.1", b"HTTP/1.0", b";a=b", b" ", b"\t",
    b": ", b"\n", b"\0", b"Keep-Alive: timeout=5", b"Trailer: X",
)  # fmt: skip
_REQUEST: Final = (
    b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT ", b"CONNECT ", b"http://", b"*", b"/",
    b"Host: feed.test:8443\r\n", b"Host: home.test:8443\r\n", b"Expect: 100-continue\r\n",
    b"Cookie: __Host-broker=token-of-ada-0\r\n", b"Cookie: ", b"__Host-broker", b"X-Remote-User: x",
    b"X_Remote_User: x", b"X-Forwarded-For: 1.2.3.4", b"Forwarded: for=1.2.3.4", b"TE: trailers",
    b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Origin: https://feed.test:8443", b"HTTP2-Settings: AA", b"h2c", b"Sec-Fetch-Mode: navigate",
    b"/.broker/healthz", b"/.broker/wait/status", b"%2F", b"%2e", b"/slash/",
)  # fmt: skip
_RESPONSE: Final = (
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n", b"Set-Cookie: __Host-broker=x", b"Set-Cookie: a=b",
)  # fmt: skip
_PATH: Final = (
    b"/", b"/.", b"/..", b"/../", b"/./", b"//", b"%2e", b"%2E", b"%2f", b"%5c", b"%25", b"%00",
    b"%41", b"%7e", b"%252e", b"?", b"#", b"\\", b";", b"%c0%af", b"/slash/", b"/.broker/",
    b"http://feed.test:8443/",
)  # fmt: skip
_PROXY: Final = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"1.2.3.4 ", b"::1 ", b"::ffff:1.2.3.4 ", b"443",
    b"\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c", b"\x20\0\0\0", b"\x21\x21\0\x24",
)  # fmt: skip


class Target(NamedTuple):
    """``longest``: bytes of an input. ``runs``: how many a short run has, about four seconds."""

    check: Callable[[bytes], None]
    words: tuple[bytes, ...]
    longest: int
    runs: int


TARGETS: Final = {
    "request-head": Target(heads.check_request, _REQUEST + _FRAMING, 1024, 6_000),
    "response-head": Target(heads.check_response, _RESPONSE + _FRAMING, 1024, 10_000),
    "chunks": Target(values.check_chunks, _FRAMING, 512, 10_000),
    "cookies": Target(
        values.check_cookies,
        (b"__Host-broker=", b"__HOST-broker-lang=", b"; ", b'"', b"=", b"a=b"),
        512, 15_000,
    ),
    "path": Target(values.check_path, _PATH, 256, 20_000),
    "proxy": Target(values.check_proxy, _PROXY, 256, 20_000),
    "forwarded": Target(
        values.check_forwarded,
        (b"X-Forwarded-For: ", b"Forwarded: ", b"for=", b";", b",", b'"', b"[::1]", b"10.0.0.2",
         b"203.0.113.7", b"unknown", b"_x", b"\r\n", b"proto=https"),
        512, 15_000,
    ),
    "target": Target(requests.check_target, _PATH, 256, 1_500),
    "requests": Target(requests.check_requests, _REQUEST + _FRAMING, 2048, 500),
    "responses": Target(responses.check_responses, _RESPONSE + _FRAMING, 1024, 250),
}  # fmt: skip


def cases(kind: str, target: str) -> list[Path]:
    """The files of ``seeds`` or ``found`` for a target."""
    return sorted(path for path in (HERE / kind / target).glob("*") if path.is_file())
