"""Framing requests by hand: heads as they came, bodies skipped, whatever the pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.demo.apps.heads import HEAD_LIMIT, HeadReader

GET = b"GET /a?x=1 HTTP/1.1\r\nHost: feed\r\nX-Remote-User:  anna.nowak \r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nHost: feed\r\nContent-Length: 11\r\n\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\nHost: feed\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"5;ext=1\r\nGET /\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
UPGRADE = b"GET /live HTTP/1.1\r\nHost: feed\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
STREAM = GET + POST + b"GET / HTTP/" + CHUNKED + CHUNKS + GET + UPGRADE + GET
HEADS = [GET, POST, CHUNKED, GET, UPGRADE]


def heads(*pieces: bytes) -> list[bytes]:
    reader = HeadReader()
    return [head.raw for piece in pieces for head in reader.feed(piece)]


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_heads_are_found_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    assert heads(*(STREAM[a:b] for a, b in pairwise(edges))) == HEADS


def test_a_request_hidden_behind_another_is_seen() -> None:
    assert heads(GET + GET) == [GET, GET]


def test_what_a_tunnel_carries_is_not_taken_for_requests() -> None:
    assert heads(UPGRADE, GET, GET) == [UPGRADE]


def test_a_body_that_looks_like_a_request_is_not_one() -> None:
    body = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(GET)
    assert heads(body + GET) == [body]


@pytest.mark.parametrize("size", [b"xyz", b"-1", b"0x5", b""])
def test_framing_that_cannot_be_read_ends_the_hearing(size: bytes) -> None:
    reader = HeadReader()
    assert len(list(reader.feed(CHUNKED + size + b"\r\nabc\r\n" + GET))) == 1
    assert reader.lost
    assert list(reader.feed(GET)) == []


def test_an_endless_head_ends_the_hearing() -> None:
    reader = HeadReader()
    assert list(reader.feed(b"A" * (HEAD_LIMIT + 1))) == []
    assert reader.lost


def test_method_path_and_fields() -> None:
    (head,) = HeadReader().feed(GET)
    assert (head.method, head.path) == ("GET", "/a")
    assert head.field("x-remote-user") == "anna.nowak"
    assert head.field("X-Remote") == ""
