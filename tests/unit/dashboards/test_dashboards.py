"""The committed dashboards are what the code generates, and ask only for what the broker tells."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from broker.telemetry import names
from dashboards.generate import FOLDER, texts
from tests.support.promql import exposed, faults

WRITTEN = texts()


def queries(board: dict[str, Any]) -> list[str]:
    found = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    return found + [note["expr"] for note in board["annotations"]["list"]]


def test_the_committed_json_is_current() -> None:
    committed = {path.name: path.read_text("utf-8") for path in FOLDER.iterdir()}
    assert committed == WRITTEN, "run: python -m dashboards.generate"


@pytest.mark.parametrize("name", WRITTEN)
def test_the_types_of_grafana_s_schema_read_the_json_and_lose_nothing(name: str) -> None:
    """There is no Grafana to import it into here: the SDK's types are made from its schemas."""
    register_default_plugins()
    read = Dashboard.from_json(json.loads(WRITTEN[name]))
    assert json.loads(JSONEncoder().encode(read)) == json.loads(WRITTEN[name])


@pytest.mark.parametrize("name", WRITTEN)
def test_every_query_asks_for_metrics_and_labels_that_exist(name: str) -> None:
    board = json.loads(WRITTEN[name])
    wrong = {query: found for query in queries(board) if (found := faults(query, exposed()))}
    assert wrong == {}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_value_asked_for_is_one_the_broker_counts(name: str) -> None:
    known = {*names.CODE_CLASSES, *names.REFUSAL_REASONS, *names.LOGIN_OUTCOMES}
    for query in queries(json.loads(WRITTEN[name])):
        for label in ("code_class", "outcome", "reason"):
            for part in query.split(f"{label}=")[1:]:
                assert set(part.split('"')[1].split("|")) <= known, query


@pytest.mark.parametrize("name", WRITTEN)
def test_panels_do_not_overlap_and_stay_within_24_columns(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(WRITTEN[name])["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_crisis_overview_is_one_screen() -> None:
    # 1080 lines hold 18 to 20 rows of Grafana's grid below its own bars.
    panels = json.loads(WRITTEN["crisis-overview.json"])["panels"]
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) <= 18


@pytest.mark.parametrize("name", WRITTEN)
def test_variables_and_the_annotation_are_on_every_dashboard(name: str) -> None:
    board = json.loads(WRITTEN[name])
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables == ["datasource", "pool", "population"]
    (note,) = board["annotations"]["list"]
    assert "broker_capacity_scale" in note["expr"]


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("sum(broker_seats_takn)", "no metric broker_seats_takn"),
        ('broker_seats_occupied{pool="feed"}', "broker_seats_occupied has no label pool"),
        ("sum by (pool) (broker_seats_occupied)", "by pool: not below"),
        ("broker_requests_total / on (person) broker_servers", "on person: not below"),
        ("rate(broker_request_seconds[5m])", "no metric broker_request_seconds"),
    ],
)
def test_a_query_that_asks_for_what_is_not_there_is_found(query: str, fault: str) -> None:
    assert fault in faults(query, exposed())
