"""Counting on the data path and what a scrape shows of it."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker.telemetry import names
from broker.telemetry.exposition import Exposition
from broker.telemetry.traffic import Traffic


class Scraped:
    """What a scrape would see."""

    def __init__(self, exposition: Exposition) -> None:
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(exposition.render().decode())
            for sample in family.samples
        }

    def of(self, name: str, **labels: str) -> float:
        return self.values[name, frozenset(labels.items())]


@pytest.fixture
def traffic() -> Traffic:
    return Traffic()


@pytest.fixture
def exposition(traffic: Traffic) -> Exposition:
    exposition = Exposition()
    traffic.export(exposition)
    return exposition


def test_a_known_pool_is_exported_at_zero(traffic: Traffic, exposition: Exposition) -> None:
    traffic.pool("feed")
    seen = Scraped(exposition)
    for code_class in names.CODE_CLASSES:
        assert seen.of("broker_requests_total", pool="feed", code_class=code_class) == 0
    assert seen.of("broker_request_seconds_count", pool="feed") == 0
    assert seen.of("broker_dial_failures_total", pool="feed") == 0
    for reason in names.REFUSAL_REASONS:
        assert seen.of("broker_refused_total", reason=reason) == 0


@pytest.mark.parametrize(
    ("status", "code_class"),
    [
        (101, "1xx"), (200, "2xx"), (304, "3xx"), (404, "4xx"), (499, "4xx"), (503, "5xx"),
        (599, "5xx"), (0, "none"), (99, "none"), (600, "none"), (999, "none"),
    ],
)  # fmt: skip
def test_statuses_fall_into_their_class(
    traffic: Traffic, exposition: Exposition, status: int, code_class: str
) -> None:
    traffic.pool("feed").observe(status, 0.1)
    seen = Scraped(exposition)
    for each in names.CODE_CLASSES:
        assert seen.of("broker_requests_total", pool="feed", code_class=each) == (
            each == code_class
        )


def test_the_histogram_is_cumulative_and_its_bounds_inclusive(
    traffic: Traffic, exposition: Exposition
) -> None:
    pool = traffic.pool("feed")
    for seconds in (0.0, 0.001, 0.0011, 30.0, 31.0):
        pool.observe(200, seconds)
    seen = Scraped(exposition)
    assert seen.of("broker_request_seconds_bucket", pool="feed", le="0.001") == 2
    assert seen.of("broker_request_seconds_bucket", pool="feed", le="0.002") == 3
    assert seen.of("broker_request_seconds_bucket", pool="feed", le="30.0") == 4
    assert seen.of("broker_request_seconds_bucket", pool="feed", le="+Inf") == 5
    assert seen.of("broker_request_seconds_sum", pool="feed") == pytest.approx(61.0021)


def test_attributes_are_read_at_scrape_time(traffic: Traffic, exposition: Exposition) -> None:
    pool = traffic.pool("feed")
    pool.dial_failures += 1
    pool.retries += 2
    pool.tunnels += 3
    traffic.refused["no_seat"] += 4
    traffic.client_connections += 5
    seen = Scraped(exposition)
    assert seen.of("broker_dial_failures_total", pool="feed") == 1
    assert seen.of("broker_retries_total", pool="feed") == 2
    assert seen.of("broker_tunnels_open", pool="feed") == 3
    assert seen.of("broker_refused_total", reason="no_seat") == 4
    assert seen.of("broker_client_connections") == 5


def test_a_counter_knows_its_labels() -> None:
    exposition = Exposition()
    logins = exposition.counter(names.LOGINS, [("ok",)])
    assert Scraped(exposition).of("broker_logins_total", outcome="ok") == 0
    logins.add("ok")
    logins.add("busy", by=2)
    assert Scraped(exposition).of("broker_logins_total", outcome="busy") == 2
    with pytest.raises(ValueError, match="1 label values expected"):
        logins.add()


def test_a_counter_without_labels_starts_at_zero() -> None:
    exposition = Exposition()
    exposition.counter(names.WAIT_ESTIMATE_KEPT)
    assert Scraped(exposition).of("broker_wait_estimate_kept_total") == 0
