"""Groups in groups, many groups, populations by filter, on ldaptor and OpenLDAP alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ldap3.utils.dn import escape_rdn

from broker.demo.employees import BASE_DN, GROUPS_DN, PASSWORD
from broker.errors import WrongPassword
from broker.policy.populations import normal_dn
from tests.integration.directory.test_logins import MANAGER
from tests.support.odd_people import MANY_GROUPS, NESTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.directory.ldap_directory import LdapDirectory


def normal(names: Iterable[str]) -> list[str]:
    return [normal_dn(name) for name in names]


NESTED_DNS = normal(f"cn={escape_rdn(name)},{GROUPS_DN}" for name in NESTED)


async def test_groups_in_groups_are_not_followed_unless_wanted(
    make: Callable[..., LdapDirectory],
) -> None:
    for changes in ({}, {"group_attribute": None, "group_base": GROUPS_DN}):
        employee = await make(**changes).login("nested.groups", PASSWORD)
        assert normal(employee.groups) == NESTED_DNS[:1]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"group_attribute": None, "group_base": GROUPS_DN},
        {"group_base": GROUPS_DN},
    ],
    ids=["by attribute", "by search", "by both"],
)
async def test_groups_in_groups_are_followed_round_every_circle_once(
    make: Callable[..., LdapDirectory], changes: dict[str, object]
) -> None:
    directory = make(nested_groups="recursive", **changes)
    employee = await directory.login("nested.groups", PASSWORD)
    assert normal(employee.groups) == NESTED_DNS, "the nearest first, each once"
    assert await directory.lookup("nested.groups") == employee


async def test_more_groups_than_the_server_gives_at_once(
    make: Callable[..., LdapDirectory],
) -> None:
    """slapd cuts what is not read page by page at 100 (tests/support/slapd_server.py)."""
    directory = make(group_attribute=None, group_base=GROUPS_DN, nested_groups="recursive")
    employee = await directory.login("many.groups", PASSWORD)
    assert len(employee.groups) == MANY_GROUPS


async def test_filters_that_match_an_employee_s_entry(make: Callable[..., LdapDirectory]) -> None:
    filters = (
        "(departmentNumber=Management)",
        "(&(objectClass=person)(!(c=*)))",
        f"(memberOf=cn=managers,{GROUPS_DN})",
        "(cn=*)",
    )
    directory = make(filters=filters)
    employee = await directory.login(MANAGER, PASSWORD)
    assert employee.filters == (filters[0], filters[2], filters[3])
    assert (await directory.lookup("mixed.case")).filters == (filters[1], filters[3])  # type: ignore[union-attr]


@pytest.mark.parametrize("service", [True, False])
async def test_binding_directly_without_a_search_before(
    make: Callable[..., LdapDirectory], service: bool
) -> None:
    changes: dict[str, object] = {} if service else {"bind_dn": "", "bind_password": None}
    directory = make(user_dn=f"uid={{username}},ou=people,{BASE_DN}", **changes)
    assert directory.can_look_up == service
    employee = await directory.login(f" {MANAGER.upper()}", PASSWORD)
    assert employee.name == MANAGER
    assert employee.groups
    assert employee.attributes["departmentNumber"] == "Management"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        (MANAGER, "wrong"),
        ("nobody.at.all", PASSWORD),
        (f"{MANAGER},ou=people", PASSWORD),
        (f"x+uid={MANAGER}", PASSWORD),
        ("*", PASSWORD),
    ],
)
async def test_binding_directly_a_name_is_never_more_than_a_name(
    make: Callable[..., LdapDirectory], username: str, password: str
) -> None:
    directory = make(user_dn=f"uid={{username}},ou=people,{BASE_DN}")
    with pytest.raises(WrongPassword):
        await directory.login(username, password)


async def test_binding_directly_the_gate_comes_before_the_password(
    make: Callable[..., LdapDirectory],
) -> None:
    names = []

    async def gate(name: str) -> None:
        names.append(name)

    directory = make(user_dn=f"uid={{username}},ou=people,{BASE_DN}")
    await directory.login(MANAGER.upper(), PASSWORD, gate)
    assert names == [MANAGER]
