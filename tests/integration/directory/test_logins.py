"""Who gets in and who does not, on the demo's LDAP server and on OpenLDAP alike."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.demo.employees import GROUPS_DN, PASSWORD, PEOPLE_DN, accounts
from broker.errors import AccountRefused, WrongPassword
from tests.support.odd_people import MANY_GROUPS, ODD_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.directory.ldap_directory import LdapDirectory
    from broker.directory.plan import DirectoryPlan
    from tests.support.ldaptor_server import LdaptorServer
    from tests.support.slapd_server import SlapdServer

ACCOUNTS = accounts(Path(__file__).parents[3] / "config" / "demo.ldif")
MANAGER = ACCOUNTS["managers"][0]
DISABLED = ACCOUNTS["disabled"][0]


async def test_a_login_reads_the_employee(directory: LdapDirectory) -> None:
    employee = await directory.login(MANAGER, PASSWORD)
    assert employee.name == MANAGER
    assert " " in employee.display_name
    assert set(employee.groups) == {f"cn=managers,{GROUPS_DN}", f"cn=staff,{GROUPS_DN}"}
    assert employee.attributes["departmentNumber"] == "Management"
    assert len(employee.attributes["c"]) == 2


async def test_start_tls_does_the_same(
    make: Callable[..., LdapDirectory], ldap_server: LdaptorServer | SlapdServer
) -> None:
    directory = make(servers=(f"ldap://127.0.0.1:{ldap_server.ldap_port}",), start_tls=True)
    assert (await directory.login(MANAGER, PASSWORD)).name == MANAGER
    with pytest.raises(WrongPassword):
        await directory.login(MANAGER, "wrong")


@pytest.mark.parametrize("typed", [MANAGER.upper(), f"  {MANAGER} ", MANAGER.title()])
async def test_the_name_is_canonical_whatever_was_typed(
    directory: LdapDirectory, typed: str
) -> None:
    assert (await directory.login(typed, PASSWORD)).name == MANAGER


async def test_an_alias_gives_the_same_identity(directory: LdapDirectory) -> None:
    names = {(await directory.login(n, PASSWORD)).name for n in ("two.names", "ALIAS.name")}
    assert names == {"alias.name"}


async def test_wrong_password_and_no_such_employee_are_told_alike(
    directory: LdapDirectory,
) -> None:
    reasons = set()
    for username, password in ((MANAGER, "wrong"), ("nobody.at.all", PASSWORD), ("nobody", "x")):
        with pytest.raises(WrongPassword) as refused:
            await directory.login(username, password)
        reasons.add(refused.value.reason)
    assert len(reasons) == 1


@pytest.mark.parametrize("username", [MANAGER, "nobody", ""])
async def test_an_empty_password_never_reaches_the_directory(
    make: Callable[..., LdapDirectory], username: str
) -> None:
    directory = make(servers=("ldaps://localhost:1",))  # would be DirectoryAway if it tried
    with pytest.raises(WrongPassword):
        await directory.login(username, "")


@pytest.mark.parametrize("username", ["", " ", "\x00", f"{MANAGER}\x00", "a\u202eb", "x" * 300])
async def test_names_that_nobody_can_have_are_not_looked_up(
    make: Callable[..., LdapDirectory], username: str
) -> None:
    directory = make(servers=("ldaps://localhost:1",))
    with pytest.raises(WrongPassword):
        await directory.login(username, PASSWORD)
    assert await directory.lookup(username) is None


@pytest.mark.parametrize("password", ["x" * 5000, "\ud800"])
async def test_passwords_that_nobody_can_have(directory: LdapDirectory, password: str) -> None:
    with pytest.raises(WrongPassword):
        await directory.login(MANAGER, password)


async def test_a_disabled_account_is_refused_only_to_its_owner(directory: LdapDirectory) -> None:
    with pytest.raises(AccountRefused):
        await directory.login(DISABLED, PASSWORD)
    with pytest.raises(WrongPassword):
        await directory.login(DISABLED, "wrong")


async def test_an_entry_without_a_password_lets_nobody_in(directory: LdapDirectory) -> None:
    for password in (PASSWORD, "x"):
        with pytest.raises(WrongPassword):
            await directory.login("no.password", password)


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_names_like_others(directory: LdapDirectory, name: str) -> None:
    employee = await directory.login(name, PASSWORD)
    assert employee.name == name
    assert employee.display_name == f"Called {name}"
    assert await directory.lookup(name) == employee


@pytest.mark.parametrize(
    "name",
    [
        "*",
        "theo*",
        f"{MANAGER})(uid=*",
        f"{MANAGER})(objectClass=*))(|(uid=*",
        "*)(|(objectClass=*",
        f"\\2a\\28{MANAGER}",
        "\\2a",
        f"{MANAGER})%00",
        f"uid={MANAGER}",
        f"uid={MANAGER},{PEOPLE_DN}",
    ],
)
async def test_a_name_is_never_a_filter(directory: LdapDirectory, name: str) -> None:
    assert await directory.lookup(name) is None
    with pytest.raises(WrongPassword):
        await directory.login(name, PASSWORD)


async def test_more_than_one_match_is_refused(make: Callable[..., LdapDirectory]) -> None:
    directory = make(user_filter="(|(employeeNumber={username})(uid={username}))")
    assert (await directory.login("twin.one", PASSWORD)).name == "twin.one"
    with pytest.raises(WrongPassword):
        await directory.login("twins", PASSWORD)
    assert await directory.lookup("twins") is None


async def test_groups_by_attribute(directory: LdapDirectory) -> None:
    employee = await directory.login("many.groups", PASSWORD)
    assert len(set(employee.groups)) == MANY_GROUPS
    assert all(group.endswith(f",{GROUPS_DN}") for group in employee.groups)


async def test_groups_by_search(make: Callable[..., LdapDirectory]) -> None:
    directory = make(group_attribute=None, group_base=GROUPS_DN)
    assert len((await directory.login("many.groups", PASSWORD)).groups) == MANY_GROUPS
    assert set((await directory.login(MANAGER, PASSWORD)).groups) == {
        f"cn=managers,{GROUPS_DN}",
        f"cn=staff,{GROUPS_DN}",
    }


async def test_groups_by_both_are_named_once(make: Callable[..., LdapDirectory]) -> None:
    directory = make(group_base=GROUPS_DN)
    assert len((await directory.login(MANAGER, PASSWORD)).groups) == 2


async def test_lookup_reads_without_a_password(directory: LdapDirectory) -> None:
    assert await directory.lookup(MANAGER) == await directory.login(MANAGER, PASSWORD)
    assert await directory.lookup("nobody") is None
    assert await directory.lookup(DISABLED) is None


async def test_without_a_disabled_filter_nobody_is_disabled(
    make: Callable[..., LdapDirectory],
) -> None:
    directory = make(disabled_filter=None)
    assert (await directory.login(DISABLED, PASSWORD)).name == DISABLED


async def test_many_at_once_each_get_their_own_answer(make: Callable[..., LdapDirectory]) -> None:
    directory = make(threads=4, queue=200, deadline=30.0)
    names = [name for key in ("managers", "sales") for name in ACCOUNTS[key]][:100]

    async def attempt(number: int, name: str) -> str:
        try:
            return (await directory.login(name, "wrong" if number % 3 else PASSWORD)).name
        except WrongPassword:
            return "wrong"

    answers = await asyncio.gather(*(attempt(n, name) for n, name in enumerate(names)))
    assert answers == ["wrong" if n % 3 else name for n, name in enumerate(names)]
    assert directory.statistics().free == 4


async def test_the_probe_is_content(directory: LdapDirectory, plan: DirectoryPlan) -> None:
    assert plan.faults() == ()
    await directory.probe()
