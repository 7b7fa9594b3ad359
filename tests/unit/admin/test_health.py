"""What makes a host not ready, and what only deserves a warning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from broker.admin.health import readiness
from broker.admin.processes import HostState
from broker.ledger.port import WorkerView
from tests.unit.admin.fakes import USAGE

CHILDREN = [
    {"name": "worker-0", "kind": "worker", "incarnation": "h/b/0"},
    {"name": "worker-1", "kind": "worker", "incarnation": "h/b/1"},
    {"name": "portal", "kind": "portal", "incarnation": "h/b/2"},
]
WORKERS: dict[str, dict[str, Any]] = {"worker-0": {"ledger_up": True}, "worker-1": {}}
GOOD = HostState({"children": CHILDREN, "stopping": False}, WORKERS)
VIEW = WorkerView("h/b/0", 0, limits_known=7, digest="d7", held=0, used=0)


def test_all_is_well() -> None:
    found = readiness(GOOD, USAGE, [VIEW])
    assert found.ready
    assert found.warnings == ()


def test_the_ledger_is_away() -> None:
    assert readiness(GOOD, None, []).reasons == ("the ledger does not answer",)


def test_the_ledger_is_learning() -> None:
    found = readiness(GOOD, replace(USAGE, learning=True), [VIEW])
    assert found.reasons == ("the ledger lost its memory and is learning",)


def test_a_worker_is_missing() -> None:
    host = HostState(GOOD.supervisor, {"worker-0": {}})
    assert readiness(host, USAGE, []).reasons == ("worker-1 does not answer",)


def test_a_worker_drains_or_cannot_reach_the_ledger() -> None:
    host = HostState(GOOD.supervisor, {**WORKERS, "worker-1": {"draining": True}})
    assert readiness(host, USAGE, []).reasons == ("worker-1 is draining",)
    host = HostState(GOOD.supervisor, {**WORKERS, "worker-1": {"ledger_up": False}})
    assert readiness(host, USAGE, []).reasons == ("worker-1 cannot reach the ledger",)


def test_the_supervisor_is_gone_or_stopping() -> None:
    assert readiness(HostState(None, WORKERS), USAGE, []).reasons == (
        "the supervisor does not answer",
    )
    host = HostState({"children": CHILDREN, "stopping": True}, WORKERS)
    assert readiness(host, USAGE, []).reasons == ("the broker is stopping",)


def test_another_configuration_is_a_warning_not_an_outage() -> None:
    found = readiness(GOOD, USAGE, [replace(VIEW, digest="other")])
    assert found.ready
    assert "h/b/0 has another configuration" in found.warnings[0]


def test_a_worker_behind_is_named() -> None:
    found = readiness(GOOD, USAGE, [replace(VIEW, limits_known=6)])
    assert found.warnings == ("h/b/0 has not acknowledged limits 7 yet",)
