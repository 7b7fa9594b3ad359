"""One spelling for each target; what two servers could read differently is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolViolation
from broker.gateway.paths import TARGET_BYTES, canonical


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/", b"/"),
        (b"/a/b?c=%2F..&d", b"/a/b?c=%2F..&d"),
        (b"/%61dmin/%7Eu", b"/admin/~u"),
        (b"/caf%c3%a9", b"/caf%C3%A9"),
        (b"/a/./b/../c", b"/a/c"),
        (b"/a/..", b"/"),
        (b"/a/b/.", b"/a/b/"),
        (b"/.hidden/...", b"/.hidden/..."),
        (b"/a//b", b"/a//b"),
        (b"/100%25", b"/100%25"),
        (b"/a|b^c{d}`[e]", b"/a|b^c{d}`[e]"),
    ],
)
def test_canonical(target: bytes, expected: bytes) -> None:
    assert canonical(target) == (expected.partition(b"?")[0], expected)


@pytest.mark.parametrize(
    "target",
    [
        b"/a%2fb", b"/a%2Fb", b"/%2e%2e/a", b"/%2E/a", b"/a%5cb", b"/a\\b", b"/a%00b", b"/a#b",
        b"/a%252fb", b"/a%2541", b"/a%zz", b"/a%2", b"/a%", b"//evil.test/", b"/..", b"/a/../../b",
        b"/a/..//b", b"/a b", b"/a\tb", b"/a\x00", b"/\xc3\xa9", b'/"', b"/<a>", b"/a?b#c",
        b"/a?b\\c", b"/a?\x7f", b"/.//a",
    ],
)  # fmt: skip
def test_refused(target: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        canonical(target)


def test_a_route_may_allow_the_encoded_slash() -> None:
    assert canonical(b"/a%2fb", encoded_slash=True)[0] == b"/a%2Fb"


@pytest.mark.parametrize(
    "target",
    [b"/a/..%2fb", b"/a%2F..", b"/a%2f./b", b"/a%2F..%2Fb", b"/a/..;/b", b"/a/.;", b"/a%2f..;b"],
)
def test_dot_segments_that_only_some_servers_see_are_refused(target: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        canonical(target, encoded_slash=True)


@given(st.lists(st.sampled_from([bytes((c,)) for c in TARGET_BYTES] + [b"%", b"/", b"..", b"%41"])))
def test_canonical_is_a_fixed_point(pieces: list[bytes]) -> None:
    try:
        path, target = canonical(b"/" + b"".join(pieces))
    except ProtocolViolation:
        return
    assert canonical(target) == (path, target)
    assert b"/../" not in path
    assert b"/./" not in path
