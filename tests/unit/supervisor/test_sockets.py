"""Addresses, groups of listening sockets, and the messages when one cannot be opened."""

from __future__ import annotations

import os
import resource
import socket
from typing import TYPE_CHECKING

import pytest

from broker.errors import ConfigurationError
from broker.supervisor import sockets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("address", "first"),
    [
        ("127.0.0.1:8443", "127.0.0.1:8443"),
        ("[::1]:8443", "[::1]:8443"),
        ("unix:/run/broker/x.sock", "unix:/run/broker/x.sock"),
    ],
)
def test_addresses(address: str, first: str) -> None:
    assert [str(place) for place in sockets.resolve(address)] == [first]


@pytest.mark.parametrize(
    "address", ["", "8443", ":8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536"]
)
def test_what_is_not_an_address(address: str) -> None:
    with pytest.raises(ConfigurationError, match="not an address"):
        sockets.resolve(address)


def test_a_path_too_long() -> None:
    with pytest.raises(ConfigurationError, match="at most 107 bytes"):
        sockets.resolve("unix:/" + "x" * 107)


def test_a_group_shares_one_chosen_port_over_all_slots() -> None:
    slots = sockets.open_group("127.0.0.1:0", 3)
    try:
        assert len({sockets.names_of(slot) for slot in slots}) == 1
        assert len({one.fileno() for slot in slots for one in slot}) == 3
        for slot in slots:
            assert slot[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            assert not slot[0].getblocking()
            assert not os.get_inheritable(slot[0].fileno())
    finally:
        sockets.close_all(slots)


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *places: sockets.Place) -> None:
    monkeypatch.setattr(sockets, "resolve", lambda _: places)


def test_a_name_with_several_addresses_listens_on_all_of_them_on_one_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _resolve_to(
        monkeypatch,
        sockets.Place(socket.AF_INET, ("127.0.0.1", 0)),
        sockets.Place(socket.AF_INET, ("127.0.0.2", 0)),
    )
    slots = sockets.open_group("both:0", 2)
    try:
        assert [len(slot) for slot in slots] == [2, 2]
        first, second = sockets.names_of(slots[0])
        assert first.rpartition(":")[2] == second.rpartition(":")[2]
        assert {first.rpartition(":")[0], second.rpartition(":")[0]} == {"127.0.0.1", "127.0.0.2"}
        assert sockets.names_of(slots[1]) == (first, second)
    finally:
        sockets.close_all(slots)


def test_an_address_this_machine_lacks_is_left_out_while_another_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    elsewhere = sockets.Place(socket.AF_INET, ("192.0.2.1", 0))
    _resolve_to(monkeypatch, elsewhere, sockets.Place(socket.AF_INET, ("127.0.0.1", 0)))
    slots = sockets.open_group("half:0", 1)
    assert len(slots[0]) == 1
    sockets.close_all(slots)
    _resolve_to(monkeypatch, elsewhere)
    with pytest.raises(ConfigurationError, match="cannot assign requested address"):
        sockets.open_group("none:0", 1)


def test_a_port_in_use_is_named_and_nothing_stays_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            sockets.open_group(f"127.0.0.1:{port}", 2)
    assert caught.value.reason == f"cannot listen on 127.0.0.1:{port}: address already in use"


def test_an_address_of_another_machine() -> None:
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1:80: cannot assign"):
        sockets.open_group("192.0.2.1:80", 1)


def test_a_unix_socket_is_private_and_in_use_while_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "s"
    slots = sockets.open_group(f"unix:{path}", 2)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="address already in use"):
        sockets.open_group(f"unix:{path}", 1)
    sockets.close_all(slots)
    sockets.close_all(sockets.open_group(f"unix:{path}", 1))  # the stale file is no obstacle
    sockets.forget_file(f"unix:{path}")
    assert not path.exists()


def test_a_file_in_the_way_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="a file is in the way"):
        sockets.open_group(f"unix:{path}", 1)
    assert path.read_text(encoding="utf-8") == "data"


def test_a_run_dir_has_one_owner(tmp_path: Path) -> None:
    run_dir = tmp_path / "deep" / "run"
    held = sockets.claim_run_dir(run_dir)
    assert run_dir.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigurationError, match="another broker is running"):
        sockets.claim_run_dir(run_dir)
    os.close(held)
    os.close(sockets.claim_run_dir(run_dir))


def test_a_run_dir_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot use run_dir"):
        sockets.claim_run_dir(tmp_path / "file")


def test_the_file_limit_is_raised_to_what_is_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
        assert sockets.raise_file_limit() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
