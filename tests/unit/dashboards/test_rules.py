"""Recording and alerting rules: valid, tested, about metrics that exist, and each alert with its
section of the runbook whose commands the command line knows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from broker.__main__ import main
from broker.telemetry import names
from tests.support.promql import OF_THE_TARGET, exposed, faults

ROOT = Path(__file__).parents[3]
RULES = sorted((ROOT / "dashboards" / "rules").glob("*.yml"))
UNIT_TESTS = Path(__file__).with_name("alerts_test.yml")
RUNBOOK = (ROOT / "dashboards" / "RUNBOOK.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))


def every_rule() -> list[dict[str, Any]]:
    documents = [yaml.safe_load(path.read_text("utf-8")) for path in RULES]
    return [rule for doc in documents for group in doc["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in every_rule() if "alert" in rule}
RECORDED = {rule["record"]: rule for rule in every_rule() if "record" in rule}


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("promtool is missing: apt-get install prometheus")
        pytest.skip("promtool is missing: apt-get install prometheus")
    return found


def run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules(promtool: str) -> None:
    run(promtool, "check", "rules", *RULES)


def test_promtool_runs_the_unit_tests(promtool: str) -> None:
    run(promtool, "test", "rules", UNIT_TESTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_the_unit_tests_see_each_alert_quiet_and_firing(alert: str) -> None:
    seen = {
        bool(asked["exp_samples"])
        for test in yaml.safe_load(UNIT_TESTS.read_text("utf-8"))["tests"]
        for asked in test["promql_expr_test"]
        if f'alertname="{alert}"' in asked["expr"]
    }
    assert seen == {False, True}


def recorded() -> dict[str, frozenset[str]]:
    """A recorded series has the labels that its name says before the first colon."""
    return {
        name: frozenset(name.split(":")[0].split("_")) - {"site"} | OF_THE_TARGET
        for name in RECORDED
    }


@pytest.mark.parametrize("rule", every_rule(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_rule_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    assert faults(rule["expr"], exposed() | recorded()) == []


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_series_groups_by_what_its_name_says(name: str) -> None:
    grouped: set[str] = set()

    def look(node: Any) -> None:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            grouped.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(RECORDED[name]["expr"]), look)
    if not name.startswith("site:"):  # of the site: grouped within, then added up
        assert grouped == set(name.split(":")[0].split("_"))


def test_every_bucket_asked_for_is_one_of_the_histogram() -> None:
    for rule in RECORDED.values():
        for bound in re.findall(r'le="([^"]+)"', rule["expr"]):
            assert bound in {str(each) for each in names.REQUEST_SECONDS.bounds}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_its_section_and_points_to_it(alert: str) -> None:
    assert ALERTS[alert]["annotations"]["runbook_url"] == (f"dashboards/RUNBOOK.md#{alert.lower()}")
    assert "Look:" in SECTIONS[alert]
    assert "Do:" in SECTIONS[alert]


def test_no_section_is_left_of_an_alert_that_is_gone() -> None:
    assert set(SECTIONS) == set(ALERTS)
    targets = set(re.findall(r"\(#(\w+)\)", RUNBOOK))
    assert targets <= {alert.lower() for alert in ALERTS}


def commands() -> list[str]:
    indented = re.findall(r"^    (broker .*)$", RUNBOOK, re.MULTILINE)
    return sorted({*indented, *re.findall(r"`(broker [^`]*)`", RUNBOOK)})


@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_runbook_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split()[1:]
    named = [word for word in words if word.islower() and not word.startswith("-")]
    assert main([*named, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Commands:" not in shown, f"{line}: a group is no command"
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){option}\b", shown), f"{line}: {option}"
