"""A real Active Directory (Samba's): odd names, groups every way, sub-codes, passwords changed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import ldap3
import pytest
from ldap3.utils.dn import escape_rdn

from broker.directory.plan import DirectoryPlan
from broker.errors import (
    AccountRefused,
    FactorMissing,
    PasswordExpired,
    PasswordRefused,
    WrongPassword,
)
from broker.policy.populations import normal_dn
from tests.integration.directory.test_faults import apart
from tests.support import samba_server
from tests.support.samba_server import (
    BASE_DN,
    DISABLED,
    GROUPS_DN,
    NORMAL,
    STAFF_DN,
    SambaServer,
    add_group,
    add_person,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.directory.ldap_directory import LdapDirectory
    from broker.directory.port import Employee
    from tests.integration.conftest import Authority

PASSWORD, NEW = "The-right-1-password", "Quite-an0ther-password"
FOR_EVER = 65_536  # DONT_EXPIRE_PASSWORD
MANY_GROUPS = 200
LOCK_AFTER = 5
SERVICE_DN = f"CN=broker,{STAFF_DN}"

ODD = {
    "zażółć": "Żółć, Zażółć",
    "back.slash": 'back\\slash "quoted"',
    "blank.ends": " spaces at ends ",
    "lead.hash": "#lead+plus;semi<angle>=",
    "ياسمين": "ياسمين",
    "o'neill": "O'Neill (Seán) *",
    "amp&percent%": "100% & more|pipe!",
}
"""Login name -> the entry's name."""

STATES: dict[str, tuple[int, dict[str, object]]] = {
    "disabled": (DISABLED + FOR_EVER, {}),
    "account.expired": (NORMAL + FOR_EVER, {"accountExpires": "116444736000000000"}),
    "no.hours": (NORMAL + FOR_EVER, {"logonHours": bytes(21)}),
    "must.change": (NORMAL, {"pwdLastSet": "0"}),
    "must.change.2": (NORMAL, {"pwdLastSet": "0"}),
    "expired": (NORMAL, {}),
    "locked": (NORMAL + FOR_EVER, {}),
    "timed": (NORMAL + FOR_EVER, {}),
    "changes": (NORMAL + FOR_EVER, {}),
}


def person_dn(cn: str) -> str:
    return f"CN={escape_rdn(cn)},{STAFF_DN}"


def group_dn(cn: str) -> str:
    return f"CN={escape_rdn(cn)},{GROUPS_DN}"


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[SambaServer]:
    if reason := samba_server.missing():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    server = SambaServer(
        tmp_path_factory.mktemp("samba"), authority.certificate, authority.key, authority.ca
    )
    try:
        administrator: Any = server.administrator()
        _people(administrator)
        administrator.unbind()
        yield server
    finally:
        server.stop()


def _people(connection: Any) -> None:
    def set_to(dn: str, **values: object) -> None:
        changes = {name: [(ldap3.MODIFY_REPLACE, [value])] for name, value in values.items()}
        connection.modify(dn, changes)

    set_to(f"CN=Administrator,CN=Users,{BASE_DN}", userAccountControl=NORMAL + FOR_EVER)
    for dn in (STAFF_DN, GROUPS_DN):
        connection.add(dn, ["top", "organizationalUnit"])
    add_person(connection, "broker", SERVICE_DN, PASSWORD, control=NORMAL + FOR_EVER)
    for name, cn in ODD.items():
        more: dict[str, object] = {"co": "Senegal"} if name == "zażółć" else {}
        add_person(connection, name, person_dn(cn), PASSWORD, control=NORMAL + FOR_EVER, more=more)
    for name, (control, more) in STATES.items():
        add_person(connection, name, person_dn(name), PASSWORD, control=control, more=more)
    for number in range(MANY_GROUPS):
        name = f"team, {number} (Ñdar)"
        add_group(connection, f"team {number}", group_dn(name), person_dn(ODD["lead.hash"]))
    add_group(connection, "inner", group_dn('inner, "the first"'), person_dn(ODD["zażółć"]))
    add_group(connection, "outer", group_dn("outer \\ łódź"), group_dn('inner, "the first"'))
    add_group(connection, "round", group_dn("round about"), group_dn("outer \\ łódź"))
    connection.modify(
        group_dn('inner, "the first"'),
        {"member": [(ldap3.MODIFY_ADD, [group_dn("round about")])]},
    )
    everybody = f"CN=Domain Users,CN=Users,{BASE_DN}"
    add_group(connection, "all of us", group_dn("all of us"), everybody)
    # Times are counted in 100 ns, and below zero.
    set_to(
        BASE_DN,
        minPwdAge="0",
        lockoutDuration=str(-30 * 60 * 10_000_000),
        lockOutObservationWindow=str(-30 * 60 * 10_000_000),
        pwdHistoryLength="2",
    )


@pytest.fixture
def plan(samba: SambaServer, authority: Authority) -> DirectoryPlan:
    """As config/example.yaml says it of Active Directory."""
    return DirectoryPlan(
        servers=(f"ldaps://localhost:{samba.ldaps_port}",),
        base=BASE_DN,
        ca=authority.ca,
        bind_dn=SERVICE_DN,
        bind_password=PASSWORD,
        user_filter="(&(objectClass=user)(sAMAccountName={username}))",
        user_attribute="sAMAccountName",
        display_attribute="displayName",
        nested_groups="matching_rule",
        primary_group=True,
        disabled_filter="(userAccountControl:1.2.840.113556.1.4.803:=2)",
        password_change="active_directory",
        attributes=("co",),
        deadline=20.0,
        receive_timeout=10.0,
        threads=2,
        queue=4,
    )


def normal(*names: str) -> set[str]:
    return {normal_dn(name) for name in names}


@pytest.mark.parametrize("name", ODD)
async def test_odd_names_are_names_like_others(directory: LdapDirectory, name: str) -> None:
    employee = await directory.login(name.upper(), PASSWORD)
    assert employee.name == name
    assert employee.display_name == f"Called {name}"
    assert await directory.lookup(name) == employee


async def test_groups_in_groups_by_the_matching_rule_and_the_primary_group(
    directory: LdapDirectory,
) -> None:
    employee = await directory.login("zażółć", PASSWORD)
    users = f"CN=Domain Users,CN=Users,{BASE_DN}"
    assert {normal_dn(group) for group in employee.groups} == normal(
        group_dn('inner, "the first"'),
        group_dn("outer \\ łódź"),
        group_dn("round about"),
        users,
        group_dn("all of us"),
        f"CN=Users,CN=Builtin,{BASE_DN}",
    )
    assert employee.attributes == {"co": "Senegal"}


async def test_the_recursive_way_finds_the_same(make: Callable[..., LdapDirectory]) -> None:
    by_rule = await make().login("zażółć", PASSWORD)
    for changes in ({"group_base": BASE_DN}, {"group_base": BASE_DN, "group_attribute": None}):
        followed = await make(nested_groups="recursive", **changes).login("zażółć", PASSWORD)
        assert normal(*followed.groups) == normal(*by_rule.groups)


async def test_without_nesting_memberof_alone(make: Callable[..., LdapDirectory]) -> None:
    employee = await make(nested_groups="none", primary_group=False).login("zażółć", PASSWORD)
    assert normal(*employee.groups) == normal(group_dn('inner, "the first"'))


async def test_two_hundred_groups(directory: LdapDirectory) -> None:
    employee = await directory.login("lead.hash", PASSWORD)
    expected = normal(*(group_dn(f"team, {n} (Ñdar)") for n in range(MANY_GROUPS)))
    assert expected < normal(*employee.groups)


@pytest.mark.parametrize("service", [True, False])
async def test_binding_directly_by_the_principal_name(
    make: Callable[..., LdapDirectory], service: bool
) -> None:
    without: dict[str, object] = {
        "bind_dn": "", "bind_password": None, "password_change": "none"
    }  # fmt: skip
    directory = make(user_dn="{username}@corp.example", **({} if service else without))
    employee = await directory.login("back.slash", PASSWORD)
    assert employee.name == "back.slash"
    assert normal(group_dn("all of us")) < normal(*employee.groups)
    for name, password in (("back.slash", "wrong"), ("nobody", PASSWORD)):
        with pytest.raises(WrongPassword):
            await directory.login(name, password)


async def test_start_tls(make: Callable[..., LdapDirectory], samba: SambaServer) -> None:
    directory = make(servers=(f"ldap://127.0.0.1:{samba.ldap_port}",), start_tls=True)
    assert (await directory.login("back.slash", PASSWORD)).name == "back.slash"


@pytest.mark.parametrize(
    ("name", "because"),
    [("disabled", "disabled"), ("account.expired", "account_expired"), ("no.hours", "hours")],
)
async def test_why_an_account_is_refused_is_told_to_its_owner(
    directory: LdapDirectory, name: str, because: str
) -> None:
    with pytest.raises(AccountRefused) as refused:
        await directory.login(name, PASSWORD)
    assert (refused.value.because, refused.value.proven) == (because, True)
    with pytest.raises(WrongPassword):
        await directory.login(name, "wrong")


@pytest.fixture
def lock_out(samba: SambaServer) -> Iterator[None]:
    """LOCK_AFTER wrong passwords lock an account."""
    administrator: Any = samba.administrator()

    def set_to(tries: int) -> None:
        administrator.modify(BASE_DN, {"lockoutThreshold": [(ldap3.MODIFY_REPLACE, [tries])]})

    set_to(LOCK_AFTER)
    yield
    set_to(0)
    administrator.unbind()


@pytest.mark.usefixtures("lock_out")
async def test_an_account_locked_by_others_is_told_to_anybody(directory: LdapDirectory) -> None:
    for _ in range(LOCK_AFTER):
        with pytest.raises(WrongPassword):
            await directory.login("locked", "wrong")
    for password in (PASSWORD, "wrong"):
        with pytest.raises(AccountRefused) as refused:
            await directory.login("locked", password)
        assert (refused.value.because, refused.value.proven) == ("locked", False)


async def test_a_disabled_employee_is_looked_up_in_vain(directory: LdapDirectory) -> None:
    assert await directory.lookup("disabled") is None
    assert await directory.lookup("locked") is not None


async def test_an_expired_password(directory: LdapDirectory, samba: SambaServer) -> None:
    samba.set_long_ago(person_dn("expired"))
    with pytest.raises(PasswordExpired) as expired:
        await directory.login("expired", PASSWORD)
    assert expired.value.may_change
    with pytest.raises(WrongPassword):
        await directory.login("expired", "wrong")
    await directory.change_password("expired", PASSWORD, NEW)
    assert (await directory.login("expired", NEW)).name == "expired"


async def test_a_password_that_must_be_changed_is_changed(directory: LdapDirectory) -> None:
    name = "must.change"
    with pytest.raises(PasswordExpired) as expired:
        await directory.login(name, PASSWORD)
    assert expired.value.may_change
    with pytest.raises(WrongPassword):
        await directory.login(name, "wrong")
    with pytest.raises(WrongPassword):
        await directory.change_password(name, "wrong", NEW)
    with pytest.raises(PasswordRefused):
        await directory.change_password(name, PASSWORD, "simple")
    asked = []

    async def permit(employee: Employee) -> None:
        asked.append(employee.name)
        if len(asked) == 1:
            raise FactorMissing("not without a code")

    with pytest.raises(FactorMissing):
        await directory.change_password(name, PASSWORD, NEW, permit=permit)
    await directory.change_password(name, PASSWORD, NEW, permit=permit)
    assert asked == [name, name]
    assert (await directory.login(name, NEW)).name == name


async def test_a_password_that_has_not_expired_is_left_alone(directory: LdapDirectory) -> None:
    with pytest.raises(AccountRefused) as refused:
        await directory.change_password("Changes", PASSWORD, NEW)
    assert (refused.value.because, refused.value.proven) == ("not_expired", True)
    assert (await directory.login("changes", PASSWORD)).name == "changes"


async def test_a_directory_that_changes_no_passwords_says_so(
    make: Callable[..., LdapDirectory],
) -> None:
    with pytest.raises(PasswordExpired) as expired:
        await make(password_change="none").login("must.change.2", PASSWORD)
    assert not expired.value.may_change


async def test_the_probe_is_content(directory: LdapDirectory) -> None:
    await directory.probe()


async def test_no_match_and_wrong_password_take_the_same_time(
    make: Callable[..., LdapDirectory],
) -> None:
    assert await apart(make(threads=1), "timed") < 0.005
