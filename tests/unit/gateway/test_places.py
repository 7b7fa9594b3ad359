"""By what connections are counted."""

from __future__ import annotations

import pytest

from broker.gateway.doorstep import Place, counted_as


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("", ""),
        ("192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_ipv6_is_counted_by_its_network(address: str, counted: str) -> None:
    assert counted_as(address) == counted


def test_a_place_is_given_back_where_it_was_taken() -> None:
    taken: dict[str, int] = {}
    first, second = (Place(taken, f"2001:db8::{last}") for last in (1, 2))
    assert taken == {"2001:db8::/64": 2}
    first.move("192.0.2.7")
    second.leave()
    second.leave()
    second.move("192.0.2.8")
    assert taken == {"192.0.2.7": 1}
    first.leave()
    assert not taken
