"""Another thread's blocked read ends when the cut is made, before or after it began."""

from __future__ import annotations

import socket
import threading

import pytest

from broker.directory.cutoff import Cutoff


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(30)
    return ours, theirs


def test_a_blocked_read_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    cutoff = Cutoff()
    cutoff.watch(ours)
    heard: list[bytes] = []
    reader = threading.Thread(target=lambda: heard.append(ours.recv(10)))
    reader.start()
    cutoff.cut(overdue=True)
    reader.join(10)
    assert heard == [b""]
    assert cutoff.passed
    assert cutoff.overdue
    cutoff.close(ours)
    theirs.close()


def test_after_the_cut_no_new_socket_is_taken(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    cutoff = Cutoff()
    cutoff.cut(overdue=False)
    assert not cutoff.overdue
    with pytest.raises(TimeoutError):
        cutoff.watch(ours)
    cutoff.renew()
    assert not cutoff.passed
    cutoff.watch(ours)
    cutoff.close(ours)
    theirs.close()


def test_a_socket_closed_before_is_let_be(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    cutoff = Cutoff()
    cutoff.watch(ours)
    cutoff.close(ours)
    cutoff.close(ours)
    cutoff.watch(theirs)
    theirs.close()
    cutoff.cut(overdue=True)


def test_a_socket_that_never_connected_is_let_be() -> None:
    cutoff = Cutoff()
    with socket.socket() as lonely:
        cutoff.watch(lonely)
        cutoff.cut(overdue=True)
