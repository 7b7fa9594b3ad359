"""Encodings that only become double when they are taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolViolation
from broker.gateway.paths import canonical


@pytest.mark.parametrize(
    "target",
    [b"/a%25%32%46b", b"/x/%25%32%65%25%32%65/y", b"/a%25%35%63", b"/a%252%46", b"/a%25%32F"],
)
def test_a_double_encoding_is_refused_however_its_digits_are_written(target: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        canonical(target)


@given(st.lists(st.sampled_from([b"%25", b"%32", b"%46", b"%65", b"2", b"F", b"/", b".", b"a"])))
def test_canonical_is_a_fixed_point_of_encoded_digits_too(pieces: list[bytes]) -> None:
    try:
        path, target = canonical(b"/" + b"".join(pieces))
    except ProtocolViolation:
        return
    assert canonical(target) == (path, target)
