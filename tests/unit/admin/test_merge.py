"""One page out of several processes: sums, maxima, minima, and counters that never fall."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from broker.admin.merge import Merger, Page
from broker.telemetry import names
from broker.telemetry.exposition import Exposition
from broker.telemetry.traffic import Traffic


class Worker:
    """A process with real telemetry; ``page`` is what its control socket would answer."""

    def __init__(self, name: str, instance: str, *, ledger_up: int = 1, healthy: int = 2) -> None:
        self.name, self.instance = name, instance
        self.traffic = Traffic()
        self.feed = self.traffic.pool("feed")
        self.exposition = Exposition()
        self.traffic.export(self.exposition)
        self.exposition.expose(names.LEDGER_UP, lambda: {(): ledger_up})
        self.exposition.expose(names.SERVERS_HEALTHY, lambda: {("feed",): healthy})
        self.exposition.expose(names.SERVERS, lambda: {("feed",): 2})

    def page(self) -> Page:
        return Page(self.name, self.instance, self.exposition.render().decode())


def values(text: bytes) -> dict[str, float]:
    """``name{a=b,...}`` (labels sorted) -> value."""
    return {
        sample.name + "".join(f" {key}={value}" for key, value in sorted(sample.labels.items())):
            sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }  # fmt: skip


def test_counters_and_histograms_add_up() -> None:
    one, two = Worker("worker-0", "a"), Worker("worker-1", "b")
    one.feed.observe(200, 0.0005)
    one.feed.observe(500, 0.4)
    two.feed.observe(200, 0.0005)
    merged = values(Merger().merge([one.page(), two.page()]))
    assert merged["broker_requests_total code_class=2xx pool=feed"] == 2
    assert merged["broker_requests_total code_class=5xx pool=feed"] == 1
    assert merged["broker_requests_total code_class=1xx pool=feed"] == 0
    assert merged["broker_request_seconds_bucket le=0.001 pool=feed"] == 2
    assert merged["broker_request_seconds_bucket le=+Inf pool=feed"] == 3
    assert merged["broker_request_seconds_count pool=feed"] == 3
    assert abs(merged["broker_request_seconds_sum pool=feed"] - 0.401) < 1e-9


def test_gauges_follow_their_rule() -> None:
    one = Worker("worker-0", "a", ledger_up=1, healthy=2)
    two = Worker("worker-1", "b", ledger_up=0, healthy=1)
    one.feed.tunnels, two.feed.tunnels = 3, 4
    merged = values(Merger().merge([one.page(), two.page()]))
    assert merged["broker_tunnels_open pool=feed"] == 7, "sum"
    assert merged["broker_ledger_up"] == 0, "min: up is only true when it is true everywhere"
    assert merged["broker_servers_healthy pool=feed"] == 1, "min"
    assert merged["broker_servers pool=feed"] == 2, "max"


def test_a_restart_never_makes_a_total_fall() -> None:
    merger = Merger()
    one, two = Worker("worker-0", "a"), Worker("worker-1", "b")
    for _ in range(10):
        one.feed.observe(200, 0.1)
    two.feed.observe(200, 0.1)
    key = "broker_requests_total code_class=2xx pool=feed"
    assert values(merger.merge([one.page(), two.page()]))[key] == 11
    assert values(merger.merge([two.page()]))[key] == 11, "dead, and not yet back"
    again = Worker("worker-0", "c")
    again.feed.observe(200, 0.1)
    assert values(merger.merge([again.page(), two.page()]))[key] == 12
    assert values(merger.merge([again.page(), two.page()]))[key] == 12, "kept once, not again"
    third = Worker("worker-0", "d")
    merged = values(merger.merge([third.page(), two.page()]))
    assert merged[key] == 12
    assert merged["broker_request_seconds_count pool=feed"] == 12


def test_a_missing_process_loses_its_gauges() -> None:
    merger = Merger()
    one = Worker("worker-0", "a")
    one.feed.tunnels = 3
    merger.merge([one.page()])
    assert "broker_tunnels_open pool=feed" not in values(merger.merge([]))


def test_help_and_type_come_from_the_one_file() -> None:
    text = Merger().merge([Worker("worker-0", "a").page()]).decode()
    assert f"# HELP broker_requests_total {names.REQUESTS.help}\n" in text
    assert "# TYPE broker_requests_total counter\n" in text
    assert "# TYPE broker_request_seconds histogram\n" in text
    assert "# TYPE broker_ledger_up gauge\n" in text


def test_what_has_no_rule_is_left_out() -> None:
    page = Page("worker-0", "a", "# TYPE python_info gauge\npython_info 1.0\n")
    assert Merger().merge([page]) == b""


def test_what_every_worker_notices_counts_once_over_lives_too() -> None:
    noticed = {"worker-0": 2, "worker-1": 1}

    def page(name: str, instance: str) -> Page:
        exposition = Exposition()
        exposition.expose(names.LEDGER_EPOCH_CHANGES, lambda: {(): noticed[name]})
        return Page(name, instance, exposition.render().decode())

    def seen(*pages: Page) -> float:
        return values(merger.merge(pages))["broker_ledger_epoch_changes_total"]

    merger = Merger()
    assert seen(page("worker-0", "a"), page("worker-1", "b")) == 2
    noticed["worker-0"] = 0
    assert seen(page("worker-0", "again"), page("worker-1", "b")) == 2, "it never falls"
    noticed.update({"worker-0": 1, "worker-1": 2})
    assert seen(page("worker-0", "again"), page("worker-1", "b")) == 3
