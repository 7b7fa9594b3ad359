"""The configuration that the demo writes is one that the broker takes."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from broker.configuration import load_with_doubts
from broker.demo.certificates import certificates
from broker.demo.plan import (
    Plan,
    Ports,
    environment_lines,
    numbers,
    ready_object,
    render,
    write_configuration,
    write_secrets,
)
from broker.site.tokens import KeyRing

PORTS = Ports(ldap=1636, feed=(9001, 9002), wiki=(9003, 9004))


def make(state: Path, seats: int = 60) -> Plan:
    state.mkdir(exist_ok=True)
    return Plan(public_port=9443, admin_port=9444, seats=seats, workers=3, state=state)


@pytest.mark.parametrize("name", ["demo", "it's a ${HOME} folder: #1"])
@pytest.mark.parametrize("seats", [1, 60, 5000])
def test_the_written_configuration_is_valid(tmp_path: Path, name: str, seats: int) -> None:
    plan = make(tmp_path / name, seats)
    certificates(plan.state / "tls", datetime.now(UTC))
    write_secrets(plan.state)
    write_configuration(plan, PORTS, plan.state / "run", plan.state / "run" / "redis.sock")
    settings, doubts = load_with_doubts(plan.configuration, {})
    assert doubts == ()
    assert settings.home == "https://localhost:9443"
    assert (settings.workers, settings.seats.limit) == (3, seats)
    assert [p.name for p in settings.populations if p.admitted] == ["managers", "sales"]
    assert all(p.seats.lendable == 1.0 for p in settings.populations)
    tls = settings.listeners[0].tls
    assert tls is not None
    assert tls.hsts == 0
    assert tls.certificates[0].certificate == plan.state / "tls" / "public.pem"
    pools = settings.pools.items()
    assert {pool: [s.address for s in p.servers] for pool, p in pools} == PORTS.backends()
    KeyRing.from_json(settings.sessions.keys.get_secret_value())


def test_secrets_stay_over_runs_and_private(tmp_path: Path) -> None:
    token = write_secrets(tmp_path)
    keys = (tmp_path / "keys.json").read_text()
    assert write_secrets(tmp_path) == token
    assert (tmp_path / "keys.json").read_text() == keys
    for name in ("admin-token", "keys.json", "ldap-password"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_an_unknown_variable_is_an_error_and_others_are_left_alone() -> None:
    assert "a: ${HOME} 7" in render("a: ${HOME} ${DEMO_SEATS}", {"DEMO_SEATS": 7})
    with pytest.raises(KeyError):
        render("a: ${DEMO_NOBODY}", {})


@pytest.mark.parametrize("seats", [1, 60, 200, 10_000])
def test_guarantees_fit_into_limits(seats: int) -> None:
    n = numbers(seats)
    assert n["DEMO_SEATS_MANAGERS"] + n["DEMO_SEATS_SALES"] <= seats
    assert n["DEMO_CONNECTIONS_FEED"] <= n["DEMO_CONNECTIONS"]
    assert (
        n["DEMO_CONNECTIONS_FEED_GUARANTEED"] + n["DEMO_CONNECTIONS_WIKI_GUARANTEED"]
        <= n["DEMO_CONNECTIONS"]
    )


def test_what_scripts_and_the_command_line_learn(tmp_path: Path) -> None:
    plan = make(tmp_path)
    files = certificates(tmp_path / "tls", datetime.now(UTC))
    known = ready_object(plan, PORTS, files, "token")
    assert known["apps"] == {
        "feed": "https://feed.localhost:9443",
        "wiki": "https://wiki.localhost:9443",
    }
    assert {name: len(people) for name, people in known["accounts"].items()} == {
        "managers": 60,
        "sales": 140,
        "everyone": 780,
        "ops": 12,
        "second_factor": 2,
        "expired": 2,
        "must_change": 2,
        "disabled": 20,
    }
    assert Path(known["ca"]).is_file()
    lines = dict(line.split("=", 1) for line in environment_lines(plan, files, "t").splitlines())
    assert lines["BROKER_ADMIN_URL"] == "http://127.0.0.1:9444"
    assert lines["BROKER_ADMIN_TOKEN"] == "t"
