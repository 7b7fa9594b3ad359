"""Identifiers of an exchange: our own request id, and the W3C trace it belongs to.

The request id is ours alone (never taken from a browser) and appears in the access log and in
error pages. ``traceparent`` is passed on untouched when it is valid, and made when it is missing or
is not: https://www.w3.org/TR/trace-context/ section 3.2 (format) and 3.4 (what to do when it cannot
be parsed; the caller must then drop ``tracestate`` too). Randomness is injected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION_00 = re.compile(rb"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_LATER = re.compile(
    rb"(?!ff)[0-9a-f]{2}(-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-)[0-9a-f]([0-9a-f])(?:-.*)?"
)


class Trace(NamedTuple):
    """``request_id``: 32 hex digits, new for each exchange. ``traceparent``: the field value to
    send to the backend. ``made``: it begins here (a ``tracestate`` must not be passed on)."""

    request_id: str
    traceparent: bytes
    made: bool


class Tracing:
    """Makes ids. ``getrandbits`` is that of a ``random.Random`` seeded by the operating system:
    ids must not collide, they need not be secret (and ``os.urandom`` is a system call each)."""

    def __init__(self, getrandbits: Callable[[int], int]) -> None:
        self._getrandbits = getrandbits

    def begin(self, traceparent: bytes | None) -> Trace:
        """For a new exchange; ``traceparent`` as received, None when absent *or repeated*."""
        # One call and one conversion for both ids; all zero (forbidden) once in 2**64 exchanges.
        digits = self._getrandbits(192).to_bytes(24, "big").hex()
        request_id = digits[:32]
        if traceparent is not None:
            known = passed_on(traceparent)
            if known is not None:
                return Trace(request_id, known, False)
        # Not sampled (flags 00): whether to sample is a decision of whoever collects traces.
        return Trace(request_id, f"00-{request_id}-{digits[32:]}-00".encode(), True)


def passed_on(traceparent: bytes) -> bytes | None:
    """What to forward for a received value, or None when it is invalid.

    Version 00 is forwarded as it is. Of a later version only the four known fields are understood;
    they go on as version 00 (section 3.2.4: a vendor must not send what it cannot vouch for), with
    no flag but ``sampled``.
    """
    if _VERSION_00.fullmatch(traceparent):
        return traceparent
    later = _LATER.fullmatch(traceparent)
    if later is None or traceparent.startswith(b"00"):
        return None
    sampled = int(later[2], 16) & 1
    return b"00%b0%d" % (later[1], sampled)
