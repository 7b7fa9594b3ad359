"""Names in and entries out: one form for one employee, and nothing that could be something else."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import compile_filter, parse_filter

from broker.directory import reading
from broker.directory.link import Entry
from broker.directory.plan import DirectoryPlan

PLAN = DirectoryPlan(servers=("ldaps://one",), base="dc=example", attributes=("c", "employeeType"))


def entry(**attributes: tuple[str, ...]) -> Entry:
    return Entry("uid=x,dc=example", {name.lower(): v for name, v in attributes.items()})


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Anna", "anna"),
        ("  anna\t", "anna"),
        ("zażółć".upper(), "zażółć"),
        (unicodedata.normalize("NFD", "Ndèye"), "ndèye"),
        ("a b", "a b"),
    ],
)
def test_what_is_typed_comes_to_one_form(typed: str, name: str) -> None:
    assert reading.typed_name(typed) == name


@pytest.mark.parametrize("typed", ["", "   ", "a\x00", "a\nb", "a\u202eb", "\ud800", "x" * 257])
def test_what_nobody_is_called(typed: str) -> None:
    assert reading.typed_name(typed) is None


@given(st.text(max_size=300))
def test_typed_names_are_stable(typed: str) -> None:
    name = reading.typed_name(typed)
    assert name is None or reading.typed_name(name) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_value_in_a_filter_is_that_value_and_nothing_else(value: str) -> None:
    """Through ldap3's own parser: one equality match, with exactly these bytes."""
    plan = DirectoryPlan(servers=(), base="", user_filter="(uid={username})")
    root = parse_filter(  # type: ignore[no-untyped-call]
        reading.user_filter(plan, value), None, True, True, None, False
    )
    (match,) = root.elements
    assert match.tag == 10, "an equality match"
    compiled = compile_filter(match)  # type: ignore[no-untyped-call]
    sent = compiled["equalityMatch"]["assertionValue"]
    assert bytes(sent) == value.encode()


def test_the_dn_goes_into_a_group_filter_escaped() -> None:
    odd = Entry("cn=a\\2c (b)*,dc=example", {})
    plan = DirectoryPlan(servers=(), base="", group_filter="(|(member={dn})(memberUid={username}))")
    assert reading.group_filter(plan, odd, "o)(") == (
        "(|(member=cn=a\\5c2c\\20\\28b\\29\\2a,dc=example)(memberUid=o\\29\\28))"
    )


def test_a_name_that_holds_a_placeholder_stays_a_name() -> None:
    plan = DirectoryPlan(servers=(), base="", group_filter="(x={username})(y={dn})")
    found = reading.group_filter(plan, Entry("cn={username}", {}), "{dn}")
    assert found == "(x={dn})(y=cn={username})"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (("Anna",), "anna"),
        (("zoe", "Anna"), "anna"),
        ((), None),
        (("",), None),
        (("an\nna",), None),
        ((unicodedata.normalize("NFD", "É"),), "é"),
    ],
)
def test_the_canonical_name(values: tuple[str, ...], name: str | None) -> None:
    assert reading.canonical_name(entry(uid=values), PLAN) == name


def test_an_employee_from_an_entry() -> None:
    found = reading.employee(
        entry(cn=("Anna\r\nK", "Other"), memberOf=("cn=a", "cn=b"), C=("PL", "FR")),
        "anna",
        ["cn=b", "cn=c"],
        PLAN,
        ["(c=PL)"],
    )
    assert found.name == "anna"
    assert found.display_name == "Anna  K"
    assert found.groups == ("cn=b", "cn=c")
    assert found.filters == ("(c=PL)",)
    assert found.attributes == {"c": "PL"}


@pytest.mark.parametrize(
    ("user_dn", "typed", "name"),
    [
        ("uid={username},ou=p,dc=x", "anna", "uid=anna,ou=p,dc=x"),
        ("uid={username},ou=p,dc=x", "a,b", "uid=a\\,b,ou=p,dc=x"),
        ("uid={username},dc=x", 'x,dc=evil+"#<>;\\', 'uid=x\\,dc\\=evil\\+\\"#\\<\\>\\;\\\\,dc=x'),
        ("{username}@corp.example", "anna.b", "anna.b@corp.example"),
    ],
)
def test_a_name_made_from_what_was_typed(user_dn: str, typed: str, name: str) -> None:
    plan = DirectoryPlan(servers=(), base="", user_dn=user_dn)
    assert reading.direct_name(plan, typed) == name


def test_the_primary_group_s_identifier() -> None:
    sid = bytes.fromhex("0105000000000005150000001122334455667788990011223f040000")
    raw = {"objectsid": (sid,)}
    found = reading.primary_group_sid(Entry("cn=a", {"primarygroupid": ("513",)}, raw))
    assert found is not None
    assert bytes.fromhex(found.replace("\\", "")) == sid[:-4] + bytes.fromhex("01020000")
    for values, objects in (
        ({}, raw), ({"primarygroupid": ("x",)}, raw), ({"primarygroupid": ("513",)}, {}),
        ({"primarygroupid": ("99999999999",)}, raw),
        ({"primarygroupid": ("513",)}, {"objectsid": (b"short",)}),
    ):  # fmt: skip
        assert reading.primary_group_sid(Entry("cn=a", values, objects)) is None


def test_without_a_display_name_the_login_name_is_shown() -> None:
    assert reading.employee(entry(), "anna", [], PLAN).display_name == "anna"


def test_each_attribute_is_asked_for_once() -> None:
    plan = DirectoryPlan(
        servers=(), base="", user_attribute="UID", attributes=("uid", "memberof"),
        display_attribute="uid",
    )  # fmt: skip
    assert len(reading.wanted_attributes(plan)) == 2
