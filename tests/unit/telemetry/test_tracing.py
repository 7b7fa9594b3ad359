"""traceparent: W3C Trace Context section 3.2, and our own request ids."""

from __future__ import annotations

import random

import pytest

from broker.telemetry.tracing import Tracing, passed_on

TRACE, SPAN = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
VALID = b"00-" + TRACE + b"-" + SPAN + b"-01"


@pytest.fixture
def tracing() -> Tracing:
    return Tracing(random.Random(1).getrandbits)


def test_a_valid_one_is_passed_on_untouched(tracing: Tracing) -> None:
    trace = tracing.begin(VALID)
    assert trace.traceparent == VALID
    assert not trace.made
    assert trace.request_id.encode() != TRACE, "the request id is ours, never the browser's"


def test_a_missing_one_is_made(tracing: Tracing) -> None:
    trace = tracing.begin(None)
    assert trace.made
    assert passed_on(trace.traceparent) == trace.traceparent
    assert trace.traceparent.startswith(b"00-" + trace.request_id.encode() + b"-")


def test_ids_differ(tracing: Tracing) -> None:
    assert len({tracing.begin(None).request_id for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"00",
        VALID[:-1],
        VALID + b"0",
        VALID + b"-more",  # version 00 has exactly four fields
        VALID.upper(),
        VALID.replace(b"-", b"_"),
        b"ff" + VALID[2:],
        b"0g" + VALID[2:],
        b"00-" + b"0" * 32 + b"-" + SPAN + b"-01",
        b"00-" + TRACE + b"-" + b"0" * 16 + b"-01",
        b" " + VALID,
        VALID + b"\n",
        VALID + b"\r\nX-Remote-User: root",
        b"01" + VALID[2:] + b"more",
    ],
)
def test_an_invalid_one_is_replaced(tracing: Tracing, broken: bytes) -> None:
    trace = tracing.begin(broken)
    assert trace.made
    assert passed_on(trace.traceparent) == trace.traceparent
    assert TRACE not in trace.traceparent


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (b"01" + VALID[2:], VALID),
        (b"cc" + VALID[2:] + b"-what-comes-later", VALID),
        (b"01-" + TRACE + b"-" + SPAN + b"-fe", b"00-" + TRACE + b"-" + SPAN + b"-00"),
        (b"01-" + TRACE + b"-" + SPAN + b"-ff", VALID),
    ],
)
def test_a_later_version_goes_on_as_the_one_we_know(later: bytes, expected: bytes) -> None:
    assert passed_on(later) == expected


def test_a_later_version_cannot_smuggle_a_line() -> None:
    assert passed_on(b"01" + VALID[2:] + b"-x\r\nX-Remote-User: root") in (None, VALID)
