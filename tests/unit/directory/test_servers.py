"""The order in which servers are asked, and what is said about it in the log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.directory.plan import Server
from broker.directory.servers import FORGIVEN_AFTER, Servers

if TYPE_CHECKING:
    import pytest

ONE, TWO, THREE = (Server(n, f"host-{n}", 636, True) for n in (1, 2, 3))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_configured_order_at_first() -> None:
    assert Servers((ONE, TWO), Clock()).in_order() == [ONE, TWO]


def test_one_that_failed_goes_last_until_it_is_forgiven() -> None:
    clock = Clock()
    servers = Servers((ONE, TWO, THREE), clock)
    servers.failed(ONE, "no connection")
    assert servers.in_order() == [TWO, THREE, ONE]
    clock.now += FORGIVEN_AFTER
    assert servers.in_order() == [ONE, TWO, THREE]


def test_one_asker_at_a_time_finds_out_whether_a_server_is_back() -> None:
    clock = Clock()
    servers = Servers((ONE, TWO), clock)
    servers.failed(ONE, "no answer in time")
    clock.now += FORGIVEN_AFTER
    assert servers.in_order() == [ONE, TWO]
    assert servers.in_order() == [TWO, ONE], "the others do not wait for it"
    clock.now += FORGIVEN_AFTER
    assert servers.in_order() == [ONE, TWO], "whoever was to find out never came back"
    servers.worked(ONE)
    assert servers.in_order() == servers.in_order() == [ONE, TWO]


def test_of_those_that_failed_the_one_longest_ago_first() -> None:
    clock = Clock()
    servers = Servers((ONE, TWO, THREE), clock)
    for server in (TWO, THREE, ONE):
        clock.now += 1
        servers.failed(server, "no connection")
    assert servers.in_order() == [TWO, THREE, ONE]


def test_one_that_works_again_is_back_in_its_place() -> None:
    servers = Servers((ONE, TWO), Clock())
    servers.failed(ONE, "no connection")
    servers.worked(ONE)
    assert servers.in_order() == [ONE, TWO]


def test_each_change_is_logged_once_and_without_addresses(
    caplog: pytest.LogCaptureFixture,
) -> None:
    servers = Servers((ONE, TWO), Clock())
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            servers.failed(ONE, "no connection")
        for _ in range(3):
            servers.worked(ONE)
    assert caplog.messages == [
        "directory server 1 failed: no connection",
        "directory server 1 works again",
    ]
