"""The fixed names, and the promises every metric keeps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import broker
from broker.telemetry import names

ALL = tuple(names.every())

FIXED = {
    "broker_seats_limit": ("population",),
    "broker_seats_occupied": ("population",),
    "broker_seats_called": ("population",),
    "broker_connections_limit": ("pool", "population"),
    "broker_connections_in_use": ("pool", "population"),
    "broker_connections_granted": ("pool", "population"),
    "broker_waiting_employees": ("population",),
    "broker_wait_estimate_shown_total": (),
    "broker_wait_estimate_kept_total": (),
    "broker_logins_total": ("outcome",),
    "broker_requests_total": ("pool", "code_class"),
    "broker_request_seconds": ("pool",),
    "broker_capacity_scale": (),
    "broker_guard_state": (),
    "broker_ledger_up": (),
    "broker_ledger_epoch_changes_total": (),
    "broker_event_loop_lag_seconds": (),
}


def test_the_fixed_names_exist_with_their_labels() -> None:
    assert FIXED.items() <= {metric.name: metric.labels for metric in ALL}.items()


def test_no_name_twice() -> None:
    assert len({metric.name for metric in ALL}) == len(ALL)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_conventions(metric: names.Metric) -> None:
    assert re.fullmatch(r"broker_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.help.endswith(".")
    assert not {"user", "employee", "path", "session", "address"} & set(metric.labels)
    assert (metric.kind == "histogram") == bool(metric.bounds)
    assert list(metric.bounds) == sorted(set(metric.bounds))
    assert metric.kind == "gauge" or metric.merge in ("sum", "max"), "a least would fall"
    assert metric.kind != "histogram" or metric.merge == "sum"


def test_every_metric_is_recorded_somewhere() -> None:
    package = Path(broker.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    constants = [name for name, value in vars(names).items() if isinstance(value, names.Metric)]
    # Counters without labels are exported at 0 for all by the admin process until they are counted.
    missing = [
        name
        for name in constants
        if f"names.{name}" not in source and getattr(names, name).kind != "counter"
    ]
    assert missing == []
