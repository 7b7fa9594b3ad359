"""The demo's LDAP server keeps its own rules, whoever speaks to it."""

from __future__ import annotations

import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ldap3
import pytest

from broker.demo.employees import BASE_DN, GROUPS_DN, PASSWORD, PEOPLE_DN, SERVICE_DN, accounts
from broker.demo.employees import SERVICE_PASSWORD as SERVICE
from tests.integration.directory.test_logins import MANAGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.conftest import Authority
    from tests.support.ldaptor_server import LdaptorServer

pytestmark = pytest.mark.filterwarnings(
    r"ignore:ssl\.match_hostname\(\) is deprecated:DeprecationWarning"
)
"""ldap3's own way of connecting, which the broker does not use."""

LDIF = Path(__file__).parents[3] / "config" / "demo.ldif"
OWN_DN = f"uid={MANAGER},{PEOPLE_DN}"


@pytest.fixture
def connect(ldaptor: LdaptorServer, authority: Authority) -> Iterator[Callable[..., Any]]:
    opened: list[Any] = []

    def connection(user: str | None = None, password: str | None = None) -> Any:
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(authority.ca))
        server = ldap3.Server(
            "localhost", ldaptor.ldaps_port, use_ssl=True, tls=tls, get_info=ldap3.NONE
        )
        opened.append(ldap3.Connection(server, user, password, receive_timeout=20))
        assert opened[-1].bind(read_server_info=False), opened[-1].result
        return opened[-1]

    yield connection
    for each in opened:
        each.unbind()


def search(connection: Any, wanted: str, base: str = BASE_DN, **more: object) -> int:
    """How many entries; -1 when refused."""
    connection.search(base, wanted, attributes=["*"], **more)
    return -1 if connection.result["result"] else len(connection.entries)


def test_nobody_anonymous_sees_more_than_the_root(connect: Callable[..., Any]) -> None:
    anonymous = connect()
    assert search(anonymous, "(objectClass=*)") == -1
    assert search(anonymous, "(objectClass=*)", "", search_scope=ldap3.BASE) == 1
    assert anonymous.entries[0]["namingContexts"].value == BASE_DN


def test_employees_see_themselves(connect: Callable[..., Any]) -> None:
    own = connect(OWN_DN, PASSWORD)
    assert search(own, "(objectClass=person)") == 1
    assert own.entries[0].entry_dn == OWN_DN


def test_the_service_account_sees_everybody_and_no_password(
    connect: Callable[..., Any],
) -> None:
    service = connect(SERVICE_DN, SERVICE)
    assert search(service, "(&(objectClass=inetOrgPerson)(employeeNumber=*)(c=*))") == 1006
    assert not any("userPassword" in entry for entry in service.entries)


@pytest.mark.parametrize(
    ("wanted", "base", "scope", "count"),
    [
        (f"(uid={MANAGER.upper()})", BASE_DN, ldap3.SUBTREE, 1),
        (f"(|(uid={MANAGER})(mail={MANAGER}@intranet.example)(uid=nobody))", BASE_DN, "SUBTREE", 1),
        (f"(&(uid={MANAGER})(!(employeeType=disabled)))", BASE_DN, ldap3.SUBTREE, 1),
        (f"(&(uid={MANAGER})(employeeType=disabled))", BASE_DN, ldap3.SUBTREE, 0),
        (f"(uid={MANAGER})", GROUPS_DN, ldap3.SUBTREE, 0),
        (f"(uid={MANAGER})", BASE_DN, ldap3.LEVEL, 0),
        (f"(uid={MANAGER})", PEOPLE_DN, ldap3.LEVEL, 1),
        (f"(member={OWN_DN})", GROUPS_DN, ldap3.SUBTREE, 2),
        (f"(memberOf=cn=managers,{GROUPS_DN})", BASE_DN, ldap3.SUBTREE, 60),
        ("(ou=*)", BASE_DN, ldap3.LEVEL, 4),
        ("(uid=x)", "dc=elsewhere", ldap3.SUBTREE, -1),
    ],
)
def test_what_the_index_finds_is_what_is_there(
    connect: Callable[..., Any], wanted: str, base: str, scope: str, count: int
) -> None:
    service = connect(SERVICE_DN, SERVICE)
    assert search(service, wanted, base, search_scope=scope) == count


def test_the_size_limit_holds(connect: Callable[..., Any]) -> None:
    service = connect(SERVICE_DN, SERVICE)
    service.search(BASE_DN, "(objectClass=person)", size_limit=2)
    assert service.result["description"] == "sizeLimitExceeded"
    assert len(service.response) == 2


def test_nothing_else_can_be_changed(connect: Callable[..., Any]) -> None:
    own = connect(OWN_DN, PASSWORD)
    for refused in (
        own.modify(OWN_DN, {"sn": [(ldap3.MODIFY_REPLACE, ["New"])]}),
        own.delete(OWN_DN),
        own.add(f"uid=new,{PEOPLE_DN}", "person", {"sn": "New", "cn": "New"}),
        own.modify_dn(OWN_DN, "uid=other"),
    ):
        assert refused is False
        assert own.result["description"] == "unwillingToPerform"


@pytest.mark.parametrize(("kind", "code"), [("expired", "532"), ("must_change", "773")])
def test_a_password_that_must_be_changed_opens_nothing_until_it_is(
    ldaptor: LdaptorServer, authority: Authority, connect: Callable[..., Any],
    kind: str, code: str,
) -> None:  # fmt: skip
    """As Active Directory tells it, and to nobody but who has the password."""
    dn = f"uid={accounts(LDIF)[kind][0]},{PEOPLE_DN}"
    new = "a new one, long enough"

    def told(password: str) -> str:
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=str(authority.ca))
        server = ldap3.Server(
            "localhost", ldaptor.ldaps_port, use_ssl=True, tls=tls, get_info=ldap3.NONE
        )
        connection = ldap3.Connection(server, dn, password, receive_timeout=20)
        connection.bind(read_server_info=False)
        result = connection.result
        connection.unbind()
        return f"{result['description']} {result['message']}"

    assert f"data {code}," in told(PASSWORD)
    assert "data" not in told("wrong")
    service = connect(SERVICE_DN, SERVICE)
    change = service.extend.standard.modify_password
    other = connect(OWN_DN, PASSWORD)
    assert not other.extend.standard.modify_password(dn, PASSWORD, new)
    assert other.result["description"] == "insufficientAccessRights"
    assert not change(dn, "wrong", new)
    assert not change(dn, PASSWORD, "short")
    assert service.result["description"] == "constraintViolation"
    assert not change(dn, PASSWORD, PASSWORD)
    assert f"data {code}," in told(PASSWORD), "nothing has changed yet"
    assert change(dn, PASSWORD, new)
    assert told(new).startswith("success")
    assert told(PASSWORD).startswith("invalidCredentials")


def test_without_tls_no_password_is_taken(ldaptor: LdaptorServer) -> None:
    plain = ldap3.Server("localhost", ldaptor.ldap_port, get_info=ldap3.NONE)
    connection = ldap3.Connection(plain, OWN_DN, PASSWORD, receive_timeout=20)
    assert not connection.bind(read_server_info=False)
    assert connection.result["description"] == "confidentialityRequired"
    connection.unbind()


def test_a_port_in_use_is_one_clear_sentence(
    ldaptor: LdaptorServer, authority: Authority, tmp_path: Path
) -> None:
    ldif = tmp_path / "empty.ldif"
    ldif.write_text(f"dn: {BASE_DN}\nobjectClass: top\n\n")
    second = subprocess.run(
        [sys.executable, "-m", "broker.demo.ldap_server", "--ldif", ldif,
         "--port", str(ldaptor.ldaps_port), "--certificate", authority.certificate,
         "--key", authority.key],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr == f"Port {ldaptor.ldaps_port} cannot be used: Address already in use.\n"
