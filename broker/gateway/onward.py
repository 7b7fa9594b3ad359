"""What goes on to a server: the request's head, built anew, with identity *last* (step 5).

Of the browser's own fields what may pass as it came; request line, Host, framing, forwarding and
trace are ours. Nothing a browser sends can follow the identity, or stand in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broker.gateway.http1 import Fields
    from broker.gateway.relay import Exchange

NOT_FOR_PAGES: Final = (b"content-", b"if-", b"range:", b"origin:")


def head(exchange: Exchange, now: float) -> bytes:
    """All of it, in the order in which it goes out. ``now``: seconds of the gateway's clock."""
    asked, host, pool, trace = exchange.head, exchange.host, exchange.pool, exchange.trace
    assert host is not None
    assert pool is not None
    assert trace is not None
    parts = [exchange.method, b" ", exchange.target, b" HTTP/1.1\r\nHost: "]
    parts += (host.authority, b"\r\n")
    if pool.portal:
        parts.append(_for_portal(exchange, asked.fields))
    else:
        parts.append(asked.fields.passed or for_application(asked.fields))
    if asked.fields.framed and exchange.body_wanted:
        _framing(exchange, asked.fields, parts)
    if asked.upgrade is not None:
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
    if asked.fields.tracestate is not None and not trace.made:
        parts += (b"\r\n".join(asked.fields.tracestate), b"\r\n")
    if pool.via is not None:
        parts.append(pool.via[asked.fields.minor])
    if pool.forwarded:
        parts += (b"Forwarded: for=", forwarded_node(exchange.browser.address), host.reached)
    session = exchange.session
    parts += (
        exchange.browser.forwarded,
        host.forwarded,
        b"X-Request-Id: ",
        trace.request_id.encode("ascii"),
        b"\r\ntraceparent: ",
        trace.traceparent,
    )
    if pool.portal or session is None:
        assertion = exchange.journey.portal_assertion(exchange)
        parts += (b"\r\nX-Broker-Assertion: ", assertion, b"\r\n\r\n")
    else:
        assertion = exchange.journey.sessions.assertion(session, pool.name, now)
        parts += (
            b"\r\n", session.headers, b"X-Broker-Assertion: ", assertion, b"\r\n\r\n",
        )  # fmt: skip
    return b"".join(parts)


def _for_portal(exchange: Exchange, fields: Fields) -> bytes:
    """What goes on to the portal of the browser's own fields."""
    lines = fields.lines
    if exchange.page:
        lines = [line for line in lines if not line.lower().startswith(NOT_FOR_PAGES)]
    if exchange.cookies is not None and exchange.cookies.portal:
        lines = [*lines, b"Cookie: " + exchange.cookies.portal]
    return b"".join([line + b"\r\n" for line in lines])


def _framing(exchange: Exchange, fields: Fields, parts: list[bytes]) -> None:
    """Our framing of the request's body, and the wish to be told whether it is wanted."""
    if fields.length is not None:
        parts.append(b"Content-Length: %d\r\n" % fields.length)
    elif fields.chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    if fields.expects and not exchange.body_done:
        parts.append(b"Expect: 100-continue\r\n")


def forwarded_node(address: str) -> bytes:
    """A client's address as Forwarded writes it (RFC 7239 section 6); empty: it came over a Unix
    socket and has none."""
    if not address:
        return b"unknown"
    if ":" in address:
        return b'"[%b]"' % address.encode("ascii")
    return address.encode("ascii")


def for_application(fields: Fields) -> bytes:
    """What goes on to an application of the browser's own fields: all but our cookies. Made once
    for the same fields."""
    lines = fields.lines
    if fields.split is not None and fields.split.others:
        lines = [*lines, b"Cookie: " + fields.split.others]
    fields.passed = passed = b"".join([line + b"\r\n" for line in lines])
    return passed
