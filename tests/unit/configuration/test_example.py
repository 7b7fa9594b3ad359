"""The committed configuration files: complete, loadable, and described by a current schema."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import pytest
import yaml
from jsonschema import Draft202012Validator

from broker.configuration import digest, load_with_doubts
from broker.configuration.schema import schema_text
from broker.policy.second_factor import FactorRules
from broker.settings import Settings
from broker.settings.capacity import Deadlines
from broker.settings.doors import Door
from broker.settings.scalars import Model
from broker.site.tokens import KeyRing
from broker.wiring.gateway import gateway_plan
from broker.wiring.portal import portal_plan
from tests.support.readme import blocks

CONFIG = Path(__file__).parents[3] / "config"
ENVIRON = {
    "BROKER_REDIS_URL": "redis://:geheim@127.0.0.1:6379/0",
    "BROKER_ADMIN_TOKEN": "a-token-of-some-length",
}


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The example in a folder of its own, with the files that it names beside it."""
    path = tmp_path / "config.yaml"
    path.write_text((CONFIG / "example.yaml").read_text("utf-8"), "utf-8")
    (tmp_path / "tls").mkdir()
    for name in (
        "example.com.pem", "example.com.key", "directory-ca.pem", "internal-ca.pem",
        "admin.pem", "admin.key",
    ):  # fmt: skip
        (tmp_path / "tls" / name).touch()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "directory").write_text("a password\n", "utf-8")
    (tmp_path / "secrets" / "log-key").write_text("a key\n", "utf-8")
    (tmp_path / "secrets" / "keys.json").write_text(KeyRing.generate(), "utf-8")
    return path


def test_the_example_loads_without_a_doubt(example: Path) -> None:
    settings, doubts = load_with_doubts(example, ENVIRON)
    assert not doubts
    assert settings.directory.ca == example.parent / "tls" / "directory-ca.pem"
    password = settings.directory.bind_password
    assert password is not None
    assert password.get_secret_value() == "a password"
    assert settings.access_log.path == "stdout"


def test_the_excerpt_in_readme_goes_into_the_example(example: Path) -> None:
    (excerpt,) = blocks("yaml")
    assert len(excerpt.splitlines()) <= 10
    document = yaml.safe_load(example.read_text("utf-8")) | yaml.safe_load(excerpt)
    known = {each["name"] for each in document["populations"]}
    del document["levels"]  # which admit the example's own populations
    for pool in document["pools"].values():
        cells = pool.get("populations", {})
        pool["populations"] = {name: cells[name] for name in cells if name in known}
    example.write_text(yaml.safe_dump(document), "utf-8")
    settings, doubts = load_with_doubts(example, ENVIRON)
    assert [each.name for each in settings.populations] == ["sales", "everyone"]
    assert not doubts


def test_the_example_shows_every_field() -> None:
    shown = _paths(yaml.safe_load((CONFIG / "example.yaml").read_text("utf-8")))
    missing = [path for path in _fields(Settings, "") if path not in shown]
    assert not missing


@pytest.mark.parametrize("name", ["example.yaml", "demo.yaml"])
def test_the_schema_accepts_the_committed_files(name: str) -> None:
    document = yaml.safe_load((CONFIG / name).read_text("utf-8"))
    validator = Draft202012Validator(json.loads(schema_text()))
    found = [f"{list(error.path)}: {error.message}" for error in validator.iter_errors(document)]
    assert not found


def test_the_schema_refuses_unknown_keys() -> None:
    document = yaml.safe_load((CONFIG / "example.yaml").read_text("utf-8"))
    document["seats"]["limt"] = 3
    validator = Draft202012Validator(json.loads(schema_text()))
    assert any("limt" in error.message for error in validator.iter_errors(document))


def test_the_committed_schema_is_current() -> None:
    committed = (CONFIG / "broker.schema.json").read_text("utf-8")
    assert committed == schema_text(), (
        "run: python -m broker.configuration.schema > config/broker.schema.json"
    )


def test_the_digest_follows_limits_and_nothing_else(example: Path) -> None:
    before, _ = load_with_doubts(example, ENVIRON)
    text = example.read_text("utf-8")
    example.write_text(text.replace("workers: 2", "workers: 8"), "utf-8")
    moved, _ = load_with_doubts(example, ENVIRON)
    example.write_text(text.replace("limit: 6800", "limit: 6801"), "utf-8")
    raised, _ = load_with_doubts(example, ENVIRON)
    assert digest(before) == digest(moved)
    assert digest(before) != digest(raised)


def _paths(value: Any, at: str = "") -> set[str]:
    """``hosts[].routes[].path``, with names of pools and the like written ``*``."""
    found = {at}
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= _paths(inner, f"{at}.{key}") | _paths(inner, f"{at}.*")
    elif isinstance(value, list):
        for inner in value:
            found |= _paths(inner, f"{at}[]")
    return found


def _fields(kind: Any, at: str) -> list[str]:
    if get_origin(kind) in (Union, types.UnionType):
        return [path for arm in get_args(kind) for path in _fields(arm, at)]
    if get_origin(kind) is list:
        return _fields(get_args(kind)[0], f"{at}[]")
    if get_origin(kind) is dict:
        return _fields(get_args(kind)[1], f"{at}.*")
    if isinstance(kind, type) and issubclass(kind, Model):
        return [
            path
            for attribute, field in kind.model_fields.items()
            for name in (field.alias or attribute,)
            for path in (f"{at}.{name}", *_fields(field.annotation, f"{at}.{name}"))
        ]
    return []


def test_every_limit_and_deadline_of_the_file_reaches_the_gateway(example: Path) -> None:
    """Each gets a value of its own, so that none can stand in for another."""
    document = yaml.safe_load(example.read_text("utf-8"))
    pool = next(iter(document["pools"]))
    door = {name: 1000 + at for at, name in enumerate(Door.model_fields)}
    deadlines = {name: 2000 + at for at, name in enumerate(Deadlines.model_fields)}
    document["door"] = door
    document["pools"][pool]["deadlines"] = deadlines
    for each in document["pools"].values():
        each.pop("tls", None)  # its certificates are empty files here
    for at, route in enumerate(document["hosts"][0]["routes"]):
        route["body_limit"] = 3000 + at
        route["allow_encoded_slash"] = True
    example.write_text(yaml.safe_dump(document), "utf-8")
    settings, _ = load_with_doubts(example, ENVIRON)
    plan = gateway_plan(settings)
    assert {name: getattr(plan.door, name) for name in door} == door
    reached = plan.pools[pool].deadlines
    assert {name: getattr(reached, name) for name in deadlines} == deadlines
    routes = plan.hosts[1].routes
    assert [route.body_limit for route in routes] == [3000 + at for at in range(len(routes))]
    assert all(route.allow_encoded_slash for route in routes)


def test_who_needs_a_second_factor_reaches_portal_and_gateway(example: Path) -> None:
    document = yaml.safe_load(example.read_text("utf-8"))
    document["second_factor"] = {
        "populations": ["managers"],
        "groups": ["cn=admins"],
        "except_from": ["10.0.0.0/8"],
        "tries": 7,
        "window": "20m",
    }
    for each in document["pools"].values():
        each.pop("tls", None)  # its certificates are empty files here
    example.write_text(yaml.safe_dump(document), "utf-8")
    settings, _ = load_with_doubts(example, ENVIRON)
    rules = portal_plan(settings).factor
    assert rules == FactorRules(("managers",), ("cn=admins",), ("10.0.0.0/8",), 7, 1_200_000)
    assert gateway_plan(settings).inside == ("10.0.0.0/8",)
