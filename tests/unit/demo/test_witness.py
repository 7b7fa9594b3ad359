"""The tap counts at the moment things happen on the wire, not when a handler gets to know."""

from __future__ import annotations

from collections import deque
from unittest import mock

from aiohttp.web_protocol import RequestHandler

from broker.demo.apps.heads import HeadReader
from broker.demo.apps.witness import Exchange, Tap, Witness

HEAD = b"GET /live HTTP/1.1\r\nHost: feed\r\nX-Remote-User: anna\r\nUpgrade: websocket\r\n\r\n"


def connected() -> tuple[Tap, Witness, mock.Mock]:
    inner, witness = mock.Mock(spec=RequestHandler), Witness()
    tap = Tap(inner, witness)
    tap.connection_made(mock.Mock())
    return tap, witness, inner


def test_an_exchange_begins_with_the_last_byte_of_its_head() -> None:
    tap, witness, inner = connected()
    tap.data_received(HEAD[:-1])
    assert witness.in_flight == 0
    tap.data_received(HEAD[-1:])
    assert (witness.in_flight, witness.by_employee["anna"].in_flight) == (1, 1)
    assert b"".join(call.args[0] for call in inner.data_received.call_args_list) == HEAD


def test_it_ends_at_once_when_the_connection_does() -> None:
    for half_closed in (True, False):
        tap, witness, _ = connected()
        tap.data_received(HEAD)
        if half_closed:
            tap.eof_received()
        else:
            tap.connection_lost(None)
        assert (witness.in_flight, witness.max_in_flight, witness.total) == (0, 1, 1)


def test_ending_twice_counts_once() -> None:
    tap, witness, _ = connected()
    tap.data_received(HEAD)
    exchange = tap.next_exchange()
    assert isinstance(exchange, Exchange)
    tap.finish(exchange)
    tap.finish(exchange)
    tap.connection_lost(None)
    assert witness.in_flight == 0
    assert witness.taps == {}


def test_a_reset_keeps_what_is_in_flight() -> None:
    tap, witness, _ = connected()
    tap.data_received(HEAD)
    witness.reset()
    report = witness.report()
    assert (report["in_flight"], report["max_in_flight"], report["total"]) == (1, 1, 0)
    assert report["by_employee"]["anna"]["in_flight"] == 1
    tap.connection_lost(None)
    assert witness.report()["by_employee"]["anna"]["in_flight"] == 0


def test_through_the_broker_even_the_oracle_counts() -> None:
    witness = Witness()
    for raw in (
        b"GET /oracle HTTP/1.1\r\nHost: feed\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: feed\r\n\r\n",
        b"GET /oracle HTTP/1.1\r\nHost: feed\r\nX-Remote-User: anna\r\n\r\n",
    ):
        (head,) = HeadReader().feed(raw)
        Exchange(witness, head)
    assert witness.total == 1


def test_bytes_that_cannot_be_framed_are_reported_once() -> None:
    tap, witness, _ = connected()
    tap.data_received(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    tap.data_received(b"more")
    assert witness.report()["unframed_connections"] == 1


def test_changes_are_told_once_in_order_and_what_was_forgotten_is_said() -> None:
    witness = Witness(changes=deque(maxlen=3))
    reader = HeadReader()
    (head,) = reader.feed(HEAD.replace(b"Upgrade: websocket", b"X-Remote-Population: sales"))
    first = Exchange(witness, head)
    told = witness.changes_after(0)
    assert [(number, step, who) for number, _, step, who in told["changes"]] == [(1, 1, "sales")]
    assert (told["last_change"], told["in_flight"], told["missed"]) == (1, 1, 0)
    first.end()
    told = witness.changes_after(told["last_change"])
    assert [step for _, _, step, _ in told["changes"]] == [-1]
    assert told["changes"][0][1] <= told["now"]
    assert witness.changes_after(told["last_change"])["changes"] == []
    for _ in range(3):
        Exchange(witness, head).end()
    told = witness.changes_after(2)
    assert [number for number, *_ in told["changes"]] == [6, 7, 8]
    assert told["missed"] == 3
