"""Bans and delays: the pure rules."""

from __future__ import annotations

import pytest

from broker.policy.guessing import (
    GuessRules,
    Tally,
    bannable,
    block,
    delay_ms,
    one_more,
    one_spelling,
    subject,
)


@pytest.mark.parametrize(
    ("typed", "counted"),
    [
        ("aminata", "aminata"),
        ("\uff41MINATA", "aminata"),
        ("José", "jose"),
        ("jo\u0301se\u0301", "jose"),
        ("no \u2003 body", "no body"),
        ("Łukasz", "łukasz"),
        ("Straße", "strasse"),
        ("\u0301", "\u0301"),
    ],
)
def test_spellings_of_a_name_count_as_one(typed: str, counted: str) -> None:
    assert one_spelling(typed) == counted
    assert one_spelling(counted) == counted


def test_tries_are_counted_in_a_window_that_the_first_one_begins() -> None:
    first = one_more(None, 100, 50)
    assert first == Tally(1, 150)
    assert one_more(first, 149, 50) == Tally(2, 150)
    assert one_more(first, 150, 50) == Tally(1, 200)


def test_the_delay_doubles_up_to_the_slowest() -> None:
    rules = GuessRules(free=2, slowest_ms=1500)
    assert [delay_ms(count, rules) for count in range(1, 8)] == [0, 0, 250, 500, 1000, 1500, 1500]
    assert delay_ms(10_000_000, rules) == 1500


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::/64"),
        ("", ""),
        ("unix:", ""),
    ],
)
def test_what_an_address_is_counted_by(address: str, counted: str) -> None:
    assert block(address) == counted


@pytest.mark.parametrize(
    ("address", "trusted", "counted"),
    [
        ("127.0.0.1", (), ""),
        ("127.9.9.9", (), ""),
        ("::1", (), ""),
        ("::ffff:127.0.0.1", (), ""),
        ("unix:", (), ""),
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("192.0.2.0/24",), ""),
        ("192.0.2.7", ("198.51.100.7", "2001:db8::/32"), "192.0.2.7"),
        ("2001:db8::7", ("192.0.2.0/24", "2001:db8::7"), ""),
        ("2001:db8::7", ("2001:db9::/32",), "2001:db8::/64"),
    ],
)
def test_where_nobody_is_banned(address: str, trusted: tuple[str, ...], counted: str) -> None:
    assert bannable(address, trusted) == counted


def test_what_a_tally_is_about() -> None:
    assert subject("p 192.0.2.7 zoë łuk") == ("pair", "zoë łuk", "192.0.2.7")
    assert subject("k b1 zoë") == ("browser", "zoë", "b1")
    assert subject("a 192.0.2.7") == ("address", "", "192.0.2.7")
