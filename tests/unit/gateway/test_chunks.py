"""Chunked bodies: decoded whatever the reads, refused when the framing is not exact."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ProtocolViolation
from broker.gateway.chunks import LAST_CHUNK, ChunkReader, chunk


def decode(*reads: bytes) -> tuple[bytes, bytes | None]:
    reader, body = ChunkReader(), b""
    rest: bytes | None = None
    for index, data in enumerate(reads):
        piece, rest = reader.feed(data)
        body += piece
        if rest is not None:
            return body, rest + b"".join(reads[index + 1 :])
    return body, rest


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(1, 12), min_size=1),
    st.sampled_from([b"", b"X: y\r\n", b"A: 1\r\nB: 2\r\n"]),
    st.binary(max_size=10),
)
def test_any_split_gives_the_same_body(
    pieces: list[bytes], steps: list[int], trailers: bytes, after: bytes
) -> None:
    data = b"".join(map(chunk, pieces)) + b"0\r\n" + trailers + b"\r\n" + after
    reads: list[bytes] = []
    while data:
        step = steps[len(reads) % len(steps)]
        reads.append(data[:step])
        data = data[step:]
    assert decode(*reads) == (b"".join(pieces), after)


def test_extensions_are_dropped() -> None:
    assert decode(b'3;a=b;c="d"\r\nabc\r\n0;x\r\n\r\n') == (b"abc", b"")
    assert decode(b'3;a;b="\\"; 5"\r\nabc\r\n' + LAST_CHUNK) == (b"abc", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1 \r\n", b" 1\r\n", b"1\n", b"1\r",
        b"ffffffffffffffff\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n", b"3\r\nabcX", b"1;\x00\r\n",
        b"1;a\nb\r\n", b"0\r\nX\r\n", b"0\r\n X: y\r\n", b"0\r\nX : y\r\n", b"1" * 2000,
        b"0\r\ncontent-length: 5\r\n", b"0\r\nTransfer-Encoding: chunked\r\n",
        b"1 ;a\r\n", b"1; a\r\n", b"1;a =b\r\n", b"1;\r\n", b"1;a=\r\n", b'1;a="b"c\r\n',
        b'1;a="b\r\n', b"1;a b\r\n", b"1;" + b"a" * 2000,
        b"0\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 1000,
    ],
)  # fmt: skip
def test_wrong_framing_is_refused(data: bytes) -> None:
    if data == b"1\r":  # may still become right
        assert decode(data) == (b"", None)
        data = b"1\rX"
    with pytest.raises(ProtocolViolation):
        decode(data)
