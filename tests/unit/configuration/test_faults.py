"""Every fault of a configuration, at once, with its place, in words that say what to do."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest
import yaml

from broker.configuration import load, load_with_doubts
from broker.errors import ConfigurationError
from broker.site.tokens import KeyRing
from broker.wiring.portal import portal_plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEYS = KeyRing.generate()


def valid() -> dict[str, Any]:
    return {
        "site": "test",
        "home": "https://home.test",
        "listeners": [{"address": "127.0.0.1:8443"}],
        "hosts": [{"origin": "https://feed.test", "routes": [{"pool": "feed"}]}],
        "pools": {"feed": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}},
        "populations": [
            {"name": "sales", "groups": ["cn=sales"]},
            {"name": "everyone"},
        ],
        "seats": {"limit": 10},
        "connections": {"limit": 10},
        "levels": {"crisis": {"scale": 6, "open_to": ["sales"], "pools": {"feed": 2}}},
        "directory": {"servers": ["ldaps://localhost"], "base": "dc=test"},
        "sessions": {"keys": "${KEYS}"},
        "ledger": {"url": "redis://127.0.0.1"},
        "admin": {"token": "a token long enough"},
    }


Check: TypeAlias = "Callable[[dict[str, Any] | str], list[str]]"


@pytest.fixture
def faults(tmp_path: Path) -> Check:
    """Load a configuration; its faults without the file's name."""

    def run(configuration: dict[str, Any] | str) -> list[str]:
        path = tmp_path / "config.yaml"
        text = configuration
        if not isinstance(text, str):
            text = yaml.safe_dump(configuration, sort_keys=False)
        path.write_text(text, "utf-8")
        try:
            load(path, {"KEYS": KEYS, "EMPTY": "", "LIMIT": "25"})
        except ConfigurationError as error:
            return [fault.removeprefix(f"{path}:") for fault in error.faults]
        return []

    return run


def test_valid_has_none(faults: Check) -> None:
    assert faults(valid()) == []


def put(path: str, value: Any) -> dict[str, Any]:
    """``valid()`` with one value changed: ``hosts.0.routes.0.pool``."""
    document = copy.deepcopy(valid())
    at: Any = document
    *way, last = path.split(".")
    for step in way:
        at = at[int(step) if step.isdigit() else step]
    at[int(last) if last.isdigit() else last] = value
    return document


ROUTES = [{"path": "/a", "pool": "feed"}, {"path": "/a/", "pool": "feed"}]


@pytest.mark.parametrize(
    ("path", "value", "place", "sentence"),
    [
        ("site", "No Name", "site", "should be a name"),
        ("workers", 0, "workers", "greater than or equal to 1"),
        ("workers", "two", "workers", "should be a whole number"),
        ("seats.idle", "15 minutes", "seats.idle", "a duration like"),
        ("seats.idle", True, "seats.idle", "a duration like"),
        ("door", {"head_limit": "3MB"}, "door.head_limit", "a size like"),
        ("door", None, "door", "should be a mapping"),
        ("hosts", [], "hosts", "at least one"),
        ("seats.limt", 3, "seats.limt", "did you mean limit"),
        ("wokers", 3, "wokers", "did you mean workers?"),
        ("pools.feed.deadlines", {"dail": 1}, "pools.feed.deadlines.dail", "did you mean dial?"),
        ("pools.feed.lease", "kep", "pools.feed.lease", "'keep' or 'fence'"),
        ("pools.feed.servers", ["ftp://x"], "pools.feed.servers[0]", "should be a server like"),
        ("pools.feed.queue_timeout", "500ms", "pools.feed.queue_timeout", "at least 1s"),
        ("pools.feed.keep_for", "5s", "pools.feed.keep_for", "lease: fence"),
        (
            "pools.feed.connections",
            {"limit": 5, "guaranteed": 6},
            "pools.feed.connections.guaranteed",
            "6 is above the limit of 5",
        ),
        (
            "pools.feed.connections",
            {"limit": 50, "guaranteed": 11},
            "pools",
            "guarantees of 11 together are above connections.limit of 10",
        ),
        (
            "pools.feed.populations",
            {"sale": {}},
            "pools.feed.populations.sale",
            "there is no population sale; did you mean sales?",
        ),
        (
            "pools.feed.populations",
            {"sales": {"guaranteed": 11}},
            "pools.feed.populations.sales.guaranteed",
            "11 is above the limit of 10",
        ),
        (
            "pools.feed.populations",
            {"sales": {"guaranteed": 6}, "everyone": {"guaranteed": 6}},
            "pools.feed.populations",
            "guarantees of 12 together",
        ),
        (
            "pools.feed.servers",
            ["http://a:1", "http://a:1"],
            "pools.feed.servers",
            "http://a:1 stands 2 times",
        ),
        ("pools.portal", valid()["pools"]["feed"], "pools.portal", "the broker's own"),
        (
            "hosts.0.routes.0.pool",
            "fed",
            "hosts[0].routes[0].pool",
            "there is no pool fed; did you mean feed?",
        ),
        ("hosts.0.routes", ROUTES, "hosts[0].routes[1].path", "is also that of routes[0]"),
        (
            "hosts.0.routes.0.path",
            "/.broker/login",
            "hosts[0].routes[0].path",
            "the broker's own",
        ),
        ("hosts.0.origin", "https://home.test:443", "hosts[0].origin", "is the home host"),
        ("hosts.0.origin", "http://feed.test", "hosts[0].origin", "an origin like"),
        ("hosts.0.origin", "https://Feed.test", "hosts[0].origin", "lower case"),
        ("listeners.0.address", "0.0.0.0:8443", "listeners[0]", "clear text is allowed only on"),
        ("listeners.0.address", "127.0.0.1", "listeners[0].address", "HOST:PORT"),
        ("listeners.0.address", "127.0.0.1:70000", "listeners[0].address", "HOST:PORT"),
        ("listeners.0.address", "unix:run/x", "listeners[0].address", "absolute path"),
        (
            "listeners.0.tls",
            {"certificates": [{"certificate": "c.pem", "key": "k.pem"}]},
            "listeners[0].tls.certificates[0].key",
            "cannot be read: No such file",
        ),
        (
            "listeners.0.trusted_proxies",
            ["10.0.0.1/8"],
            "listeners[0].trusted_proxies[0]",
            "an address or network",
        ),
        (
            "listeners.0.proxy_protocol",
            {"from": ["10.0.0.1/8"]},
            "listeners[0].proxy_protocol.from[0]",
            "an address or network",
        ),
        ("admin.address", "0.0.0.0:8444", "admin.address", "loopback or a Unix socket"),
        ("admin.address", "127.0.0.1:8443", "admin.address", "is also a public listener's"),
        ("admin.token", "short", "admin.token", "shorter than 16"),
        ("admin.token", "${EMPTY}", "admin.token", "is empty"),
        ("admin.token", 1234567890123456, "admin.token", "should be text"),
        ("admin.token", "file:nowhere", "admin.token", "cannot be read from"),
        ("admin.token", "${NOT_SET}", "admin.token", "variable NOT_SET is not set"),
        ("admin.token", "${1 X}", "admin.token", "the name of an environment variable"),
        ("populations.0.name", "everyone", "populations[1].name", "is also that of populations[0]"),
        ("populations.0.groups", [], "populations[1]", "sales before it takes everyone"),
        (
            "populations.0.attributes",
            {"co": "PL"},
            "populations[0].attributes.co",
            "add it to directory.attributes",
        ),
        (
            "populations.0.seats",
            {"on_call": 2},
            "populations[0].seats.on_call",
            "on-call seats of 2 together are above a tenth of seats.limit: 1",
        ),
        (
            "populations.0.seats",
            {"guaranteed": 3, "maximum": 2},
            "populations[0].seats.guaranteed",
            "3 is above the maximum of 2",
        ),
        (
            "populations.0.seats",
            {"guaranteed": 11},
            "populations",
            "guaranteed seats of 11 together are above seats.limit of 10",
        ),
        (
            "populations.0.seats",
            {"lendable": 1.5},
            "populations[0].seats.lendable",
            "or equal to 1",
        ),
        ("seats.claim", 0, "seats.claim", "at least 1s"),
        ("seats.ticket_lost", "10s", "seats.ticket_lost", "at least seats.absent"),
        ("levels.crisis.open_to", ["sals"], "levels.crisis.open_to[0]", "did you mean sales?"),
        ("levels.crisis.pools", {"fed": 2}, "levels.crisis.pools.fed", "did you mean feed?"),
        ("levels.crisis.scale", 0, "levels.crisis.scale", "greater than 0"),
        (
            "directory.servers",
            ["ldap://localhost"],
            "directory.servers[0]",
            "would send passwords in clear text",
        ),
        ("directory.servers", ["http://x"], "directory.servers[0]", "ldaps://HOST"),
        ("directory.start_tls", True, "directory.servers[0]", "is TLS from the start"),
        ("directory.user_filter", "(uid=x)", "directory.user_filter", "should hold {username}"),
        ("directory.bind_dn", "cn=x", "directory.bind_dn", "needs directory.bind_password"),
        ("directory.bind_password", "x", "directory.bind_password", "needs directory.bind_dn"),
        ("directory.group_attribute", None, "populations[0].groups", "groups are never read"),
        ("directory.user_dn", "uid=anna,dc=x", "directory.user_dn", "should hold {username}"),
        ("directory.password_change", "rfc3062", "directory.password_change", "needs directory.bi"),
        ("directory.password_change", "yes", "directory.password_change", "rfc3062"),
        ("directory.nested_groups", "deep", "directory.nested_groups", "recursive"),
        ("directory.tls_minimum", "1.0", "directory.tls_minimum", "1.2"),
        ("populations.0.filter", "c=SN", "populations[0].filter", "parentheses around it"),
        ("sessions.when_full", "wait", "sessions.when_full", "evict"),
        ("sessions.reread", 0, "sessions.reread", "should be above 0"),
        ("bans", {"window": 0}, "bans.window", "should be above 0"),
        ("bans", {"duration": 0}, "bans.duration", "should be above 0"),
        ("bans", {"slowest": "1m"}, "bans.slowest", "should be below 30 s"),
        ("bans", {"trusted": ["office"]}, "bans.trusted[0]", "address or network"),
        ("bans", {"per_address": 0}, "bans.per_address", "greater than or equal to 1"),
        ("second_factor", {"window": 0}, "second_factor.window", "should be above 0"),
        ("second_factor", {"tries": 0}, "second_factor.tries", "greater than or equal to 1"),
        (
            "second_factor",
            {"populations": ["sales", "saels"]},
            "second_factor.populations[1]",
            "there is no population saels; did you mean sales?",
        ),
        ("second_factor", {"except_from": ["x"]}, "second_factor.except_from[0]", "network"),
        ("directory.deadline", 0, "directory.deadline", "should be above 0"),
        ("directory.ca", "nowhere.pem", "directory.ca", "cannot be read"),
        ("sessions.keys", "{}", "sessions.keys", "broker keys generate"),
        (
            "sessions.token_refresh",
            "15m",
            "sessions.token_refresh",
            "below sessions.token_lifetime",
        ),
        ("sessions.lifetime", "10m", "sessions.token_lifetime", "not be above sessions.lifetime"),
        ("ledger.url", "http://x", "ledger.url", "redis://"),
        ("company", {"color": "blue"}, "company.color", "a colour like"),
    ],
)
def test_a_fault_is_told_with_its_place(
    faults: Check, path: str, value: Any, place: str, sentence: str
) -> None:
    found = faults(put(path, value))
    assert any(f": {place}: " in fault and sentence in fault for fault in found), found


def test_with_tls_the_operators_door_may_be_anywhere(faults: Check, tmp_path: Path) -> None:
    for name in ("a.pem", "a.key"):
        (tmp_path / name).touch()
    admin = {**valid()["admin"], "address": "0.0.0.0:8444"}
    assert faults(put("admin", {**admin, "tls": {"certificate": "a.pem", "key": "a.key"}})) == []


def test_a_group_of_operators_that_is_never_read(faults: Check) -> None:
    configuration = put("directory.group_attribute", None)
    configuration["populations"] = [{"name": "everyone"}]
    configuration["levels"] = {}
    configuration["admin"]["operators"] = "cn=ops"
    (found,) = faults(configuration)
    assert "admin.operators: groups are never read" in found


def test_all_faults_are_told_at_once_in_the_order_of_the_file(faults: Check) -> None:
    document = put("workers", 0)
    document["pools"]["feed"]["lease"] = "kep"
    document["pools"]["wiki"] = {
        "servers": ["http://127.0.0.1:1"],
        "connections": {"limit": 1, "guaranteed": 2},
    }
    document["hosts"][0]["routes"][0]["pool"] = "fed"
    del document["seats"]
    found = faults(document)
    assert [fault.partition(":")[0] for fault in found] == sorted(
        (fault.partition(":")[0] for fault in found), key=int
    )
    text = "\n".join(found)
    for place in ("workers", "pools.feed.lease", "pools.wiki.connections.guaranteed", "seats"):
        assert f": {place}: " in text
    assert "there is no pool fed; did you mean feed?" in text


def test_lines_are_those_of_the_keys(faults: Check) -> None:
    text = "# a comment\n\n" + yaml.safe_dump(put("seats.limit", -1), sort_keys=False)
    line = text.split("\n").index("seats:") + 2
    assert faults(text) == [f"{line}: seats.limit: should be greater than or equal to 0"]


def test_a_key_that_stands_twice(faults: Check) -> None:
    text = yaml.safe_dump(valid(), sort_keys=False) + "workers: 3\nworkers: 4\n"
    (fault,) = faults(text)
    assert "workers: stands twice; the first one is in line" in fault


@pytest.mark.parametrize(
    "text",
    ["", "- a\n", "a: [1\n", "a: !!python/object:x {}\n", "a: &b [*b]\n", "? [a]\n: b\n", "\x07"],
)
def test_what_is_no_configuration_is_refused_with_a_place(faults: Check, text: str) -> None:
    assert faults(text)
    assert all(fault.partition(":")[0].isdigit() for fault in faults(text))


def test_words_of_yaml_1_1_are_text(faults: Check, tmp_path: Path) -> None:
    document = yaml.safe_dump(valid(), sort_keys=False) + "access_log: {path: off, employee: off}\n"
    path = tmp_path / "config.yaml"
    path.write_text(document, "utf-8")
    settings = load(path, {"KEYS": KEYS})
    assert (settings.access_log.path, settings.access_log.employee) == ("off", "off")


def test_variables_become_numbers_where_numbers_are_wanted(tmp_path: Path) -> None:
    document = put("seats.limit", "${LIMIT}")
    document["seats"]["idle"] = "${IDLE}"
    document["company"] = {"name": "$${LIMIT} is ${LIMIT}"}
    document["admin"]["token"] = "${DIGITS}"
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    environ = {"KEYS": KEYS, "LIMIT": "25", "IDLE": "90", "DIGITS": "0123456789012345"}
    settings = load(path, environ)
    assert settings.seats.limit == 25
    assert settings.seats.idle == 90.0
    assert settings.company.name == "${LIMIT} is 25"
    assert settings.admin.token.get_secret_value() == "0123456789012345"


def test_secrets_are_in_no_fault_and_no_representation(tmp_path: Path) -> None:
    document = put("admin.token", "${TOKEN}")
    document["ledger"]["url"] = "http://user:open-sesame@x"
    document["directory"] |= {"bind_password": "open-sesame"}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document), "utf-8")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {"KEYS": KEYS, "TOKEN": "open-sesame"})
    assert "open-sesame" not in str(caught.value) + repr(caught.value.faults)
    path.write_text(yaml.safe_dump(put("admin.token", "open-sesame-open-sesame")), "utf-8")
    settings = load(path, {"KEYS": KEYS})
    assert "open-sesame" not in repr(settings) + settings.model_dump_json()


def test_a_file_that_is_missing_is_named_beside_another_fault_of_its_section(
    faults: Check,
) -> None:
    document = put("directory.ca", "nowhere.pem")
    document["directory"]["bind_password"] = "file:nowhere"
    found = faults(document)
    assert any("directory.ca" in fault and "cannot be read" in fault for fault in found), found
    assert any("directory.bind_password" in fault for fault in found), found


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("pools.feed.connections.limit", 20, "above the site's limit of 10"),
        ("pools.feed.populations", {"sales": {"limit": 11}}, "above the pool's limit of 10"),
        ("pools.spare", valid()["pools"]["feed"], "no route leads to this pool"),
        ("directory.user_dn", "uid={username},dc=test", "who is disabled stays logged in"),
        ("populations.0.weight", 0, "called only while nobody else waits"),
        ("populations.0.seats", {"maximum": 11}, "above the site's 10 seats"),
        ("populations", [{"name": "sales", "admitted": False}], "nobody is admitted"),
        ("levels.crisis.scale", 12, "above seats.ceiling"),
        (
            "populations",
            [
                {"name": "sales", "groups": ["cn=sales"], "seats": {"guaranteed": 10}},
                {"name": "everyone"},
            ],
            "whole limit of 10: while they are used, nothing is left for everyone",
        ),
        (
            "pools.feed",
            {
                **valid()["pools"]["feed"],
                "connections": {"limit": 9, "guaranteed": 9},
                "populations": {"everyone": {"guaranteed": 9}},
            },
            "nothing is left for sales",
        ),
    ],
)
def test_doubts_are_told_and_start_all_the_same(
    tmp_path: Path, path: str, value: Any, sentence: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(put(path, value), sort_keys=False), "utf-8")
    _, doubts = load_with_doubts(file, {"KEYS": KEYS})
    assert any(sentence in doubt for doubt in doubts), doubts


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load(tmp_path / "none.yaml", {})
    (tmp_path / "latin.yaml").write_bytes(b"site: caf\xe9\n")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(tmp_path / "latin.yaml", {})


@pytest.mark.parametrize(
    "changes",
    [
        {"nested_groups": "matching_rule"},
        {"primary_group": True},
        {"group_base": "ou=groups,dc=test"},
    ],
)
def test_groups_are_read_in_any_of_these_ways(faults: Check, changes: dict[str, Any]) -> None:
    document = put("directory.group_attribute", None)
    assert any("groups are never read" in fault for fault in faults(document))
    document["directory"] |= changes
    assert faults(document) == []
    document["directory"] |= {"nested_groups": "recursive"}
    needs = [fault for fault in faults(document) if "needs group_attribute or group_base" in fault]
    assert bool(needs) == ("group_base" not in changes)


def test_a_ring_without_keys_for_second_factors_is_told_where_they_are_needed(
    faults: Check,
) -> None:
    old = json.loads(KEYS)
    del old["factors"]
    document = valid()
    document["sessions"]["keys"] = json.dumps(old).replace("$", "$$")
    assert faults(document) == []
    document["second_factor"] = {"groups": ["cn=admins"]}
    (fault,) = faults(document)
    assert "sessions.keys" in fault
    assert "broker keys rotate" in fault


def test_exceptions_for_nobody_are_doubted(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    document = put("second_factor", {"except_from": ["10.0.0.0/8"]})
    path.write_text(yaml.safe_dump(document), "utf-8")
    _, doubts = load_with_doubts(path, {"KEYS": KEYS})
    assert any("second_factor.except_from" in str(doubt) for doubt in doubts)


PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n....",
    "image/jpeg": b"\xff\xd8\xff\xe0....",
    "image/webp": b"RIFF....WEBPVP8 ",
    "image/svg+xml": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize("kind", PICTURES)
def test_a_logo_is_a_picture_that_browsers_show(tmp_path: Path, kind: str) -> None:
    (tmp_path / "logo").write_bytes(PICTURES[kind])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(put("company", {"logo": "logo"})), "utf-8")
    settings = load(path, {"KEYS": KEYS})
    assert portal_plan(settings).logo == (kind, PICTURES[kind])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"GIF89a", "is no SVG, PNG, JPEG or WebP"),
        (b"", "is no SVG, PNG, JPEG or WebP"),
        (PICTURES["image/png"] + bytes(64 * 1024), "at most 65536"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_logo(faults: Check, tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "logo").write_bytes(content)
    (fault,) = faults(put("company", {"logo": "logo"}))
    assert "company.logo" in fault
    assert told in fault
