"""Populations: the first rule that matches, whatever way its group is spelled."""

from __future__ import annotations

import pytest

from broker.policy.populations import PopulationRule, normal_dn, population_of

RULES = (
    PopulationRule("managers", groups=("CN=Managers,OU=Groups,DC=example,DC=org",)),
    PopulationRule("sales", groups=("cn=sales,dc=example,dc=org",), attributes={"title": "Seller"}),
    PopulationRule("contractors", attributes={"employeeType": "external", "l": "Dakar"}),
    PopulationRule("everyone"),
)


def test_the_first_rule_that_matches_wins() -> None:
    groups = ["cn=sales,dc=example,dc=org", "cn=managers,ou=groups,dc=example,dc=org"]
    assert population_of(groups, {}, RULES) == "managers"


def test_one_of_several_groups_is_enough_and_so_are_the_attributes() -> None:
    assert population_of(["cn=sales,dc=example,dc=org"], {}, RULES) == "sales"
    assert population_of([], {"Title": " seller "}, RULES) == "sales"


def test_all_attributes_of_a_rule_must_be_equal() -> None:
    assert population_of([], {"employeetype": "EXTERNAL", "l": "Dakar"}, RULES) == "contractors"
    assert population_of([], {"employeetype": "external", "l": "Lyon"}, RULES) == "everyone"
    assert population_of([], {"employeetype": "external"}, RULES) == "everyone"


def test_a_rule_by_filter_matches_whom_the_directory_says_it_matches() -> None:
    rules = (
        PopulationRule("senegal", filter="(c=SN)"),
        PopulationRule("sales", groups=("cn=sales",), filter="(title=Seller)"),
    )
    assert population_of([], {}, rules, ["(c=SN)", "(title=Seller)"]) == "senegal"
    assert population_of([], {}, rules, ["(title=Seller)"]) == "sales"
    assert population_of(["cn=sales"], {}, rules) == "sales"
    assert population_of([], {}, rules) is None


def test_without_a_rule_for_everyone_nobody_is_admitted_by_default() -> None:
    assert population_of(["cn=interns,dc=example,dc=org"], {}, RULES[:3]) is None
    assert population_of([], {}, ()) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("CN=Sales, OU=Groups , DC=Example,DC=ORG", "cn=sales,ou=groups,dc=example,dc=org"),
        ("cn = Sales,dc=example", "CN=sales,DC=example"),
        ("cn=Sales;dc=example", "cn=sales,dc=example"),
        ("cn=North  East,dc=example", "cn=north east,dc=example"),
        (r"cn=Smith\, Jones,dc=example", r"cn=smith\2C jones,dc=example"),
        (r"cn=Zo\C3\AB,dc=example", "cn=zoë,dc=example"),
        ("cn=a+uid=b,dc=example", "uid=b+cn=a,dc=example"),
        ("Sales ", "sales"),
    ],
)
def test_spellings_of_one_name_are_equal(one: str, other: str) -> None:
    assert normal_dn(one) == normal_dn(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"cn=a\,dc=example,dc=org", "cn=a,dc=example,dc=org"),
        ("cn=a,dc=b", "dc=b,cn=a"),
        ("cn=a+uid=b,dc=c", "cn=a,uid=b,dc=c"),
        ("cn=sales", "sales"),
        (r"cn=a\+b", "cn=a+b"),
    ],
)
def test_different_names_stay_different(one: str, other: str) -> None:
    assert normal_dn(one) != normal_dn(other)
