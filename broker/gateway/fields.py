"""Header fields by name: what each line of a head is to a proxy, decided once per spelling.

Some fields end here (RFC 9110 7.6.1), some are ours alone to say, some mean something to us, the
rest go on as the very bytes that came. Lines of harmless names are the same in most requests: they
are validated once and then known whole, so that a head of sixteen lines costs a few dictionary
look-ups. No I/O; nothing personal is remembered.
"""

from __future__ import annotations

import re
from typing import Final

from broker.errors import ProtocolViolation

TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FIELD_BYTES: Final = bytes([9, *range(32, 127), *range(128, 256)])
ALPHANUMERIC: Final = b"abcdefghijklmnopqrstuvwxyz0123456789"
NOT_ALPHANUMERIC: Final = bytes(sorted(set(range(256)) - set(ALPHANUMERIC)))

(FORWARD, DROP, HOST, COOKIE, LENGTH, CODING, CONNECTION, UPGRADE, EXPECT, TRACEPARENT, TRACESTATE,
 SETTINGS, SET_COOKIE, ALIVE) = range(14)  # fmt: skip

# RFC 9110 7.6.1 and what older intermediaries treat alike; Trailer, because trailers do not go on.
HOP_BY_HOP: Final = dict.fromkeys(
    (b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization",
     b"proxy-authentication-info", b"te", b"trailer"), DROP)  # fmt: skip

REQUEST_KINDS: Final = HOP_BY_HOP | {
    b"host": HOST,
    b"cookie": COOKIE,
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"traceparent": TRACEPARENT,
    b"tracestate": TRACESTATE,
    b"http2-settings": SETTINGS,
}
RESPONSE_KINDS: Final = HOP_BY_HOP | {
    b"content-length": LENGTH,
    b"transfer-encoding": CODING,
    b"connection": CONNECTION,
    b"upgrade": UPGRADE,
    b"set-cookie": SET_COOKIE,
    # What a server says of schemes, ports and keys is not true of the broker in front of it.
    b"alt-svc": DROP,
    b"public-key-pins": DROP,
    b"strict-transport-security": DROP,
}
del RESPONSE_KINDS[b"proxy-authenticate"]  # a response's own, RFC 9110 11.7.1: it may be meant

# What speaks of identity, origin or rewriting: ours to say, in whatever spelling. Backends fold
# "-", "_" and "." into one another, so names are compared by their letters and digits alone.
RESERVED: Final = frozenset(
    (b"forwarded", b"remoteuser", b"remotegroups", b"remoteaddr", b"xrealip", b"xclientip",
     b"trueclientip", b"clientip", b"xrequestid", b"xoriginalurl", b"xrewriteurl", b"xoriginalhost",
     b"xauthrequestuser", b"xauthrequestemail", b"xauthrequestgroups", b"xhost",
     b"xproxyuser",
     # HTTP_PROXY of CGI environments (CVE-2016-5385); framing behind servlet and CGI adapters
     b"proxy", b"contentlength", b"transferencoding"))  # fmt: skip
RESERVED_PREFIXES: Final = (b"xremote", b"xbroker", b"xforwarded", b"xauthenticated", b"httpx")

# Lines worth remembering: nothing personal, and the same in many requests.
REPEATED: Final = frozenset(
    (b"accept", b"accept-encoding", b"accept-language", b"cache-control", b"connection",
     b"content-type", b"dnt", b"host", b"pragma", b"priority", b"sec-ch-ua", b"sec-ch-ua-mobile",
     b"sec-ch-ua-platform", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site",
     b"sec-fetch-user", b"sec-gpc", b"sec-websocket-version", b"upgrade",
     b"upgrade-insecure-requests", b"user-agent", b"x-requested-with",
     # and of responses
     b"server", b"vary", b"date", b"x-content-type-options", b"x-frame-options",
     b"content-encoding", b"referrer-policy", b"content-length", b"accept-ranges",
     b"transfer-encoding", b"keep-alive"))  # fmt: skip
LONGEST_REPEATED: Final = 256
MOST_REPEATED: Final = 4096
MOST_NAMES: Final = 1024


class Lines:
    """The field lines of one direction, as far as they have been seen before.

    ``forwarded`` holds lines that go on; ``known`` maps the others to what they are.
    """

    def __init__(self, kinds: dict[bytes, int]) -> None:
        self.forwarded: set[bytes] = set()
        self.known: dict[bytes, int] = {}
        self._kinds = kinds
        self._names: dict[bytes, tuple[int, bool]] = {}

    def learn(self, line: bytes) -> int:
        """Validate a line not known (RFC 9110 5.1, 5.5; RFC 9112 5) and say what it is.

        Raises ProtocolViolation."""
        name, colon, _ = line.partition(b":")
        names = self._names
        found = names.get(name) if colon else None
        if found is None:
            if not colon or not TOKEN.fullmatch(name):
                raise ProtocolViolation("not a header field (RFC 9112 5)")
            found = classify(name.lower(), self._kinds), name.lower() in REPEATED
            if len(names) < MOST_NAMES and len(name) < 64:
                names[name] = found
        kind, repeated = found
        if kind == CONNECTION and line[11:].strip(b" \t") == b"keep-alive":
            kind = ALIVE  # by far the most frequent wish, and one without consequences
        if line.translate(None, FIELD_BYTES):
            raise ProtocolViolation("a control character in a header field (RFC 9110 5.5)")
        if repeated and len(line) <= LONGEST_REPEATED:
            if kind == FORWARD:
                if len(self.forwarded) >= MOST_REPEATED:
                    self.forwarded.clear()
                self.forwarded.add(line)
            else:
                if len(self.known) >= MOST_REPEATED:
                    self.known.clear()
                self.known[line] = kind
        return kind


def classify(name: bytes, kinds: dict[bytes, int]) -> int:
    """What a (lower-case) name is. Raises ProtocolViolation for a request's name with ``_``: some
    backends read it as ``-``, so that it could pose as a name we have just removed."""
    kind = kinds.get(name)
    if kind is not None:
        return kind
    if kinds is RESPONSE_KINDS:
        return FORWARD
    if b"_" in name:
        raise ProtocolViolation("a header name with an underscore")
    letters = name.translate(None, NOT_ALPHANUMERIC)
    if letters in RESERVED or letters.startswith(RESERVED_PREFIXES):
        return DROP
    return FORWARD
