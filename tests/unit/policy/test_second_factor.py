"""Who needs a second factor, what is asked for, which codes count."""

from __future__ import annotations

import pytest

from broker.policy.guessing import CODES, code_rules, subject
from broker.policy.second_factor import (
    FactorRules,
    asked,
    excepted,
    needs_factor,
    read_code,
    read_recovery,
    steps_to_try,
    usable,
    wants_factor,
    written,
)

RULES = FactorRules(("managers",), ("cn=Admins,ou=groups",), ("10.0.0.0/8", "2001:db8::/32"))


@pytest.mark.parametrize(
    ("population", "groups", "address", "needs"),
    [
        ("managers", (), "192.0.2.7", True),
        ("sales", (), "192.0.2.7", False),
        (None, (), "192.0.2.7", False),
        ("sales", ("CN=admins, OU=Groups",), "192.0.2.7", True),
        (None, ("cn=admins,ou=groups",), "192.0.2.7", True),
        ("sales", ("cn=admins,ou=other",), "192.0.2.7", False),
        ("managers", (), "10.9.8.7", False),
        ("managers", (), "::ffff:10.9.8.7", False),
        ("managers", (), "2001:db8::7", False),
        ("managers", (), "2001:db9::7", True),
        ("managers", (), "11.0.0.1", True),
        ("managers", (), "", True),
        ("managers", (), "unix:", True),
    ],
)
def test_who_needs_one(
    population: str | None, groups: tuple[str, ...], address: str, needs: bool
) -> None:
    assert needs_factor(RULES, population, groups, address) is needs


def test_it_is_off_where_it_names_nobody() -> None:
    assert not FactorRules(except_from=("10.0.0.0/8",)).on
    assert not needs_factor(FactorRules(), None, (), "192.0.2.7")
    assert FactorRules(("a",)).on
    assert FactorRules(groups=("a",)).on


def test_an_exception_is_one_of_the_network_only() -> None:
    assert wants_factor(RULES, "managers", ())
    assert not wants_factor(RULES, "sales", ())
    assert excepted("10.9.8.7", RULES.except_from)
    assert not excepted("192.0.2.7", RULES.except_from)
    assert not excepted("10.9.8.7", ())


def test_what_is_asked_for() -> None:
    assert asked(enrolled=True, may_enrol=True) == "code", "never another one"
    assert asked(enrolled=True, may_enrol=False) == "code"
    assert asked(enrolled=False, may_enrol=True) == "enrol"
    assert asked(enrolled=False, may_enrol=False) == "closed"


def test_one_step_either_way_and_each_once() -> None:
    assert steps_to_try(59.99) == (1, 0, 2)
    assert steps_to_try(60.0) == (2, 1, 3)
    assert usable(3, 2)
    assert not usable(2, 2)
    assert not usable(1, 2)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("123456", "123456"),
        (" 123 456 ", "123456"),
        ("123-456", "123456"),
        ("123\u00a0456", "123456"),
        ("12345", None),
        ("1234567", None),
        ("12345a", None),
        ("\uff11\uff12\uff13\uff14\uff15\uff16", None),
        ("\u00b2\u00b2\u00b2\u00b2\u00b2\u00b2", None),
        ("", None),
    ],
)
def test_codes_as_people_type_them(typed: str, read: str | None) -> None:
    assert read_code(typed) == read


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("ABCD-EFGH-IJKL-MNOP", "ABCDEFGHIJKLMNOP"),
        ("abcd efgh ijkl mnop", "ABCDEFGHIJKLMNOP"),
        ("0BCD8FGH1JKLMNOP", "OBCDBFGHIJKLMNOP"),
        ("ABCD-EFGH-IJKL-MNO", None),
        ("ABCD-EFGH-IJKL-MNO9", None),
        ("ÀBCD-EFGH-IJKL-MNOP", None),
        ("", None),
    ],
)
def test_recovery_codes_as_people_type_them(typed: str, read: str | None) -> None:
    assert read_recovery(typed) == read


def test_recovery_codes_as_people_read_them() -> None:
    assert written("ABCDEFGHIJKLMNOP") == "ABCD-EFGH-IJKL-MNOP"
    assert read_recovery(written("ABCDEFGHIJKLMNOP")) == "ABCDEFGHIJKLMNOP"


def test_codes_have_tallies_of_their_own() -> None:
    assert subject(f"p {CODES} zoë łuk") == ("codes", "zoë łuk", "")
    assert subject(f"k {CODES}/b1 zoë") == ("browser", "zoë", "codes/b1")
    rules = code_rules(7, 1234)
    assert (rules.per_pair, rules.window_ms, rules.ban_ms) == (7, 1234, 1234)
