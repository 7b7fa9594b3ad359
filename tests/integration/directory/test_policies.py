"""What a directory says beside yes and no: OpenLDAP's password policies, and expired passwords
changed from home where that is allowed."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from ldaptor.protocols.ldap.ldif import asLDIF

from broker.demo.employees import BASE_DN, PEOPLE_DN, SERVICE_DN, SERVICE_PASSWORD, _hashed
from broker.demo.employees import ldif as demo_ldif
from broker.directory.plan import DirectoryPlan
from broker.errors import (
    AccountRefused,
    DirectoryAway,
    FactorMissing,
    PasswordExpired,
    PasswordRefused,
    WrongPassword,
)
from tests.support import slapd_server
from tests.support.slapd_server import DEFAULT_POLICY_DN, POLICIES_DN, SlapdServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.directory.ldap_directory import LdapDirectory
    from broker.directory.port import Employee
    from tests.integration.conftest import Authority

PASSWORD = "the-old-password-1"
NEW = "a-Quite-new-password-2"
LONG_AGO = "20200101000000Z"
FOR_GOOD = "000001010000Z"

PEOPLE: dict[str, list[tuple[str, list[str]]]] = {
    "fine": [],
    "expired": [("pwdChangedTime", [LONG_AGO])],
    "expired.grace": [
        ("pwdChangedTime", [LONG_AGO]),
        ("pwdPolicySubentry", [f"cn=grace,{POLICIES_DN}"]),
    ],
    "must.change": [("pwdReset", ["TRUE"])],
    "locked": [("pwdAccountLockedTime", [FOR_GOOD])],
}


def _ldif() -> bytes:
    policy = [
        ("objectClass", ["top", "device", "pwdPolicy"]),
        ("pwdAttribute", ["userPassword"]),
        ("pwdMaxAge", ["31536000"]),
        ("pwdMinLength", ["10"]),
        ("pwdCheckQuality", ["2"]),
        ("pwdInHistory", ["3"]),
        ("pwdMustChange", ["TRUE"]),
        ("pwdAllowUserChange", ["TRUE"]),
        ("pwdLockout", ["TRUE"]),
        ("pwdMaxFailure", ["3"]),
        ("pwdLockoutDuration", ["0"]),
    ]
    entries = [
        (POLICIES_DN, [("objectClass", ["top", "organizationalUnit"]), ("ou", ["policies"])]),
        (DEFAULT_POLICY_DN, [*policy, ("cn", ["default"])]),
        (f"cn=grace,{POLICIES_DN}", [*policy, ("cn", ["grace"]), ("pwdGraceAuthNLimit", ["4"])]),
    ]
    for name, more in PEOPLE.items():
        classes = ["top", "person", "organizationalPerson", "inetOrgPerson"]
        person = [("objectClass", classes), ("uid", [name]), ("cn", [name]), ("sn", ["P"])]
        person += [("userPassword", [_hashed(PASSWORD, name)]), *more]
        entries.append((f"uid={name},{PEOPLE_DN}", person))
    return b"".join(asLDIF(dn, attributes) for dn, attributes in entries)


@pytest.fixture(params=[False, True], ids=["service reads", "service writes"])
def service_may_write(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def ldap_server(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, service_may_write: bool
) -> Iterator[SlapdServer]:
    """A fresh one for each test: policies count."""
    if not slapd_server.installed():
        missing = "slapd is not installed (Debian: apt-get install slapd)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    server = SlapdServer(
        tmp_path_factory.mktemp("slapd"),
        demo_ldif() + _ldif(),
        authority.certificate,
        authority.key,
        policies=True,
        service_may_write=service_may_write,
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def plan(ldap_server: SlapdServer, authority: Authority) -> DirectoryPlan:
    return DirectoryPlan(
        servers=(f"ldaps://localhost:{ldap_server.ldaps_port}",),
        base=BASE_DN,
        ca=authority.ca,
        bind_dn=SERVICE_DN,
        bind_password=SERVICE_PASSWORD,
        password_change="rfc3062",
        deadline=20.0,
        threads=2,
        queue=4,
    )


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_each_state_is_told_to_who_has_the_right_password_and_to_nobody_else(
    make: Callable[..., LdapDirectory],
) -> None:
    directory = make()
    assert (await directory.login("fine", PASSWORD)).name == "fine"
    for name in ("expired", "expired.grace", "must.change"):
        with pytest.raises(PasswordExpired) as expired:
            await directory.login(name, PASSWORD)
        assert expired.value.may_change
        with pytest.raises(WrongPassword):
            await directory.login(name, "wrong")


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_a_locked_account_is_what_the_directory_says_to_anybody(
    make: Callable[..., LdapDirectory],
) -> None:
    for password in (PASSWORD, "wrong"):
        with pytest.raises(AccountRefused) as refused:
            await make().login("locked", password)
        assert refused.value.because == "locked"
        assert not refused.value.proven, "so it counts as a try"


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_where_no_password_is_changed_a_grace_login_is_a_login(
    make: Callable[..., LdapDirectory],
) -> None:
    directory = make(password_change="none")
    assert (await directory.login("expired.grace", PASSWORD)).name == "expired.grace"
    with pytest.raises(PasswordExpired) as expired:
        await directory.login("expired", PASSWORD)
    assert not expired.value.may_change
    with pytest.raises(AccountRefused):
        await directory.change_password("expired.grace", PASSWORD, NEW)


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
@pytest.mark.parametrize("name", ["must.change", "expired.grace"])
async def test_a_password_is_changed_by_its_owner(
    make: Callable[..., LdapDirectory], name: str
) -> None:
    directory = make()
    with pytest.raises(WrongPassword):
        await directory.change_password(name, "wrong", NEW)
    with pytest.raises(PasswordRefused):
        await directory.change_password(name, PASSWORD, "short")
    await directory.change_password(name, PASSWORD, NEW)
    assert (await directory.login(name, NEW)).name == name
    with pytest.raises(WrongPassword):
        await directory.login(name, PASSWORD)
    with pytest.raises(AccountRefused) as refused:
        await directory.change_password(name, NEW, PASSWORD)
    assert (refused.value.because, refused.value.proven) == ("not_expired", True)


async def test_one_that_opens_nothing_any_more_is_changed_where_the_service_account_may(
    make: Callable[..., LdapDirectory], service_may_write: bool
) -> None:
    directory = make()
    with pytest.raises(WrongPassword):
        await directory.change_password("expired", "wrong", NEW)
    if service_may_write:
        await directory.change_password("expired", PASSWORD, NEW)
        assert (await directory.login("expired", NEW)).name == "expired"
    else:
        with pytest.raises(AccountRefused):
            await directory.change_password("expired", PASSWORD, NEW)


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_a_change_passes_the_gate_like_a_login(make: Callable[..., LdapDirectory]) -> None:
    names = []

    async def gate(name: str) -> None:
        names.append(name)
        raise AccountRefused("no further")

    directory = make()
    for name in ("Fine", "nobody"):
        with pytest.raises(AccountRefused, match="no further"):
            await directory.change_password(name, PASSWORD, NEW, gate)
    assert names == ["fine", "nobody"]
    assert (await directory.login("fine", PASSWORD)).name == "fine"


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_a_change_asks_once_between_the_old_password_and_the_new_one(
    make: Callable[..., LdapDirectory],
) -> None:
    """With one bind in all: each uses up a grace login, and there are four."""
    directory, asked = make(), []

    async def permit(employee: Employee) -> None:
        asked.append(employee.name)
        if len(asked) < 4:
            raise FactorMissing("not without a code")

    with pytest.raises(WrongPassword):
        await directory.change_password("expired.grace", "wrong", NEW, permit=permit)
    with pytest.raises(AccountRefused):
        await directory.change_password("fine", PASSWORD, NEW, permit=permit)
    assert asked == [], "of neither anything is asked"
    for _ in range(3):
        with pytest.raises(FactorMissing):
            await directory.change_password("expired.grace", PASSWORD, NEW, permit=permit)
    await directory.change_password("expired.grace", PASSWORD, NEW, permit=permit)
    assert asked == ["expired.grace"] * 4
    assert (await directory.login("expired.grace", NEW)).name == "expired.grace"


async def test_nor_is_one_that_opens_nothing_changed_without_asking(
    make: Callable[..., LdapDirectory], service_may_write: bool
) -> None:
    directory = make()

    async def never(_: Employee) -> None:
        raise FactorMissing("not without a code")

    with pytest.raises(FactorMissing):
        await directory.change_password("expired", PASSWORD, NEW, permit=never)
    with pytest.raises(PasswordExpired):
        await directory.login("expired", PASSWORD)


@pytest.mark.parametrize("service_may_write", [False], indirect=True)
async def test_who_is_asked_for_long_holds_nothing_beyond_the_deadline(
    make: Callable[..., LdapDirectory],
) -> None:
    directory = make(deadline=1.0, threads=1)
    answer = asyncio.Event()

    async def silent(_: Employee) -> None:
        await answer.wait()

    with pytest.raises(DirectoryAway):
        await directory.change_password("must.change", PASSWORD, NEW, permit=silent)
    answer.set()
    with pytest.raises(PasswordExpired):
        await directory.login("must.change", PASSWORD)
