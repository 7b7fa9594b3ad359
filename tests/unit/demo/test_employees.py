"""The invented company: the file is what the script makes, and the numbers are as promised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from broker.demo import employees

LDIF = Path(__file__).parents[3] / "config" / "demo.ldif"


def test_the_file_is_current() -> None:
    assert LDIF.read_bytes() == employees.ldif(), (
        "run: python -m broker.demo.employees > config/demo.ldif"
    )


def test_another_seed_is_another_company() -> None:
    assert employees.ldif(1) != employees.ldif(2)


def test_who_there_is() -> None:
    found = employees.accounts(LDIF)
    assert {name: len(people) for name, people in found.items()} == {
        "managers": 60,
        "sales": 140,
        "everyone": 780,
        "ops": 12,
        "second_factor": 2,
        "expired": 2,
        "must_change": 2,
        "disabled": 20,
    }
    populations = [*found["managers"], *found["sales"], *found["everyone"]]
    assert len({*populations, *found["disabled"]}) == 1000
    assert set(found["second_factor"]).isdisjoint({*populations, *found["disabled"]})
    assert set(found["ops"]) <= set(found["everyone"])


def test_login_names_are_plain_and_names_are_not() -> None:
    people = employees.invent()
    assert all(set(p.uid) <= set("abcdefghijklmnopqrstuvwxyz.0123456789") for p in people)
    assert len({p.uid for p in people}) == len(people)
    countries = Counter(p.community.country for p in people)
    assert countries["PL"] > 50
    assert countries["SN"] > 50
    letters = {letter for p in people for letter in p.given + p.family}
    assert set("łéèñșŻ") <= letters


def test_somebody_who_left_is_still_in_the_sales_group() -> None:
    assert any("sales" in p.groups for p in employees.invent() if p.disabled)
