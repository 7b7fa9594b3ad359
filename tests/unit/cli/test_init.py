"""``broker init``: what it writes is taken by the broker, kept private, and overwrites nothing."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from broker.cli.main import main
from broker.configuration import load

if TYPE_CHECKING:
    from pathlib import Path

GIVEN = {
    "home": "https://home.example.com",
    "application": "https://wiki.example.com http://10.0.0.5:8080 http://10.0.0.6:8080",
    "seats": "120",
    "connections": "90",
    "certificate": "",
    "kind": "openldap",
    "directory": "ldaps://one.example.com ldaps://two.example.com",
    "ca": "",
    "base": "ou=people,dc=example,dc=com",
    "bind-dn": "cn=broker,dc=example,dc=com",
    "bind-password": "of the ${service}",
    "group": "cn=staff,ou=groups,dc=example,dc=com",
    "redis": "redis://:of-redis@127.0.0.1:6379/0",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def options(**others: str) -> list[str]:
    given = {**GIVEN, **{name.replace("_", "-"): value for name, value in others.items()}}
    return [word for name, value in given.items() for word in (f"--{name}", value)]


def test_what_is_written_is_what_was_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *options()]) == 0
    assert "broker check -c broker.yaml" in capsys.readouterr().out
    settings = load(here / "broker.yaml")
    assert settings.home == "https://home.example.com"
    (pool,) = settings.pools.values()
    assert [each.address for each in pool.servers] == [
        "http://10.0.0.5:8080",
        "http://10.0.0.6:8080",
    ]
    assert (settings.seats.limit, settings.connections.limit) == (120, 90)
    assert settings.directory.servers == ["ldaps://one.example.com", "ldaps://two.example.com"]
    assert settings.directory.bind_password is not None
    assert settings.directory.bind_password.get_secret_value() == "of the ${service}"
    assert settings.ledger.url.get_secret_value() == GIVEN["redis"]
    assert settings.populations[0].groups == [GIVEN["group"]]
    assert main(["check", "-c", "broker.yaml", "--offline"]) == 0


def test_secrets_are_in_files_of_their_own_for_their_owner_alone(here: Path) -> None:
    assert main(["init", *options()]) == 0
    text = (here / "broker.yaml").read_text("utf-8")
    assert "of-redis" not in text
    assert "service}" not in text
    assert (here / "secrets").stat().st_mode & 0o777 == 0o700
    names = sorted(path.name for path in (here / "secrets").iterdir())
    assert names == ["admin-token", "directory", "keys.json", "redis"]
    assert {path.stat().st_mode & 0o777 for path in (here / "secrets").iterdir()} == {0o600}


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0?password=of-redis",
        "sentinel://a:26379/one?sentinel_password=of-redis",
    ],
)
def test_a_password_in_the_query_is_one_too(here: Path, url: str) -> None:
    assert main(["init", *options(redis=url)]) == 0
    assert "of-redis" not in (here / "broker.yaml").read_text("utf-8")
    assert (here / "secrets" / "redis").read_text("utf-8").strip() == url


def test_for_active_directory_it_knows_the_names_of_attributes(here: Path) -> None:
    assert main(["init", "ad.yaml", *options(kind="active-directory", group="")]) == 0
    settings = load(here / "ad.yaml")
    assert settings.directory.user_attribute == "sAMAccountName"
    assert settings.directory.nested_groups == "matching_rule"
    assert [each.name for each in settings.populations] == ["everyone"]


def test_two_applications_of_one_name_get_pools_of_two_names(here: Path) -> None:
    more = ["--application", "https://wiki.other.example http://10.0.0.7:80"]
    assert main(["init", *options(), *more]) == 0
    assert sorted(load(here / "broker.yaml").pools) == ["wiki", "wiki2"]


@pytest.mark.parametrize("there", ["broker.yaml", "secrets"])
def test_nothing_is_overwritten(here: Path, there: str, capsys: pytest.CaptureFixture[str]) -> None:
    (here / there).mkdir()
    assert main(["init", *options()]) in (1, 2)
    assert there in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == [there]


@pytest.mark.parametrize(
    ("others", "says"),
    [
        ({"home": "http://home.example.com/x"}, "home"),
        ({"directory": "ldap://one.example.com"}, "clear text"),
        ({"application": "https://wiki.example.com"}, "name its servers too"),
        ({"certificate": "nowhere.pem", "key": "nowhere.key"}, "nowhere.pem"),
    ],
)
def test_what_the_broker_would_not_take_is_not_written(
    here: Path, others: dict[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", *options(**others)]) == 1
    err = capsys.readouterr().err
    assert says in err
    assert ".broker-init-" not in err
    assert list(here.iterdir()) == []


def test_without_a_terminal_the_missing_option_is_named(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--home", "https://home.example.com"]) == 2
    assert "--application" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_conversation(here: Path) -> None:
    """At a terminal; the password is not shown, and what is typed wrong is asked again at once."""
    conversation = [
        ("home.example.com", "home"),
        ("home should be an origin", "https://home.example.com"),
        ("Application", "https://wiki.example.com"),
        ("servers", "sixty"),
        ("sixty should be a server", "http://10.0.0.5:8080"),
        ("Another", ""),
        ("same time", ""),
        ("in flight", ""),
        ("Certificate", ""),
        ("directory?", "openldap"),
        ("Its servers", "ldaps://one.example.com"),
        ("authorities", "/not/there.pem"),
        ("/not/there.pem is not there", ""),
        ("searched", "ou=people,dc=example,dc=com"),
        ("Service account", "cn=broker,dc=example,dc=com"),
        ("password", "of the service"),
        ("group", ""),
        ("Redis", ""),
    ]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "broker", "init"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    os.close(theirs)
    seen = ""
    for question, answer in conversation:
        before = len(seen)
        deadline = time.monotonic() + 30
        while question not in seen[before:] or not seen.rstrip(" ").endswith(":"):
            assert select.select([ours], [], [], deadline - time.monotonic())[0], seen
            seen += os.read(ours, 4096).decode()
        os.write(ours, answer.encode() + b"\n")
    assert process.wait(30) == 0, seen
    os.close(ours)
    assert "of the service" not in seen
    assert load(here / "broker.yaml").seats.limit == 100
    assert (here / "secrets" / "directory").read_text("utf-8") == "of the service\n"
