"""Contradictions in a plan are found before anything runs, all at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.directory.plan import DirectoryPlan, Server, parse_server

GOOD = DirectoryPlan(servers=("ldaps://one.example", "ldaps://two.example:3636"), base="dc=example")


def test_a_good_plan_has_no_faults() -> None:
    assert GOOD.faults() == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"servers": ()}, "at least one"),
        ({"servers": ("https://one.example",)}, "ldaps://HOST:PORT"),
        ({"servers": ("ldaps://",)}, "ldaps://HOST:PORT"),
        ({"servers": ("ldaps://one:port",)}, "Port"),
        ({"servers": ("ldaps://one/dc=example",)}, "nothing more"),
        ({"servers": ("ldaps://me@one",)}, "nothing more"),
        ({"servers": ("ldap://one",)}, "clear text"),
        ({"start_tls": True}, "cannot also start TLS"),
        ({"user_filter": "(objectClass=person)"}, "find everybody"),
        ({"user_filter": "(mail={username})"}, "must also match by uid"),
        ({"bind_dn": "cn=broker"}, "bind_password"),
        ({"disabled_filter": "employeeType=disabled"}, "disabled_filter: not a filter"),
        ({"user_filter": "(&(uid={username})"}, "user_filter: not a filter"),
        ({"group_base": "ou=g", "group_filter": "(cn=*)"}, "all groups"),
    ],
)
def test_each_fault_is_named(changes: dict[str, object], words: str) -> None:
    faults = replace(GOOD, **changes).faults()  # type: ignore[arg-type]
    assert any(words in fault for fault in faults), faults


def test_all_faults_come_at_once() -> None:
    assert len(DirectoryPlan(servers=("x", "y"), base="", user_filter="").faults()) == 4


@pytest.mark.parametrize(
    "user_filter",
    [
        "(uid={username})",
        "(|(mail={username})(UID={username}))",
        "(&(objectClass=person)( uid = {username} ))",
        "(uid:caseExactMatch:={username})",
    ],
)
def test_filters_that_match_by_the_user_attribute(user_filter: str) -> None:
    assert replace(GOOD, user_filter=user_filter).faults() == ()


def test_clear_text_only_when_said() -> None:
    assert replace(GOOD, servers=("ldap://one",), clear_text=True).faults() == ()
    assert replace(GOOD, servers=("ldap://one",), start_tls=True).faults() == ()


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("ldaps://one.example", Server(1, "one.example", 636, True)),
        ("ldap://one.example/", Server(1, "one.example", 389, False)),
        ("ldaps://[::1]:3636", Server(1, "::1", 3636, True)),
    ],
)
def test_urls(url: str, server: Server) -> None:
    assert parse_server(1, url) == server


def test_a_plan_does_not_show_its_password() -> None:
    plan = DirectoryPlan(("ldaps://one",), "dc=x", bind_dn="cn=broker", bind_password="of-service")
    assert "of-service" not in repr(plan)
