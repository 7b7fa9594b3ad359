"""Scenarios scaled to employees and time; who comes; what operations publish."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.crew import Crew
from loadtest.model import LoadModel
from loadtest.options import add_options, plan_of, site_of
from loadtest.own_demo import multiplied
from loadtest.plan import Plan
from loadtest.run_command import forwarded
from loadtest.scenarios import SCENARIOS
from loadtest.site import Site, SiteError, TooFewAccounts, deal

ROOT = Path(__file__).parents[3]
ACCOUNTS = {
    "managers": [f"m{n}" for n in range(60)],
    "sales": [f"s{n}" for n in range(140)],
    "everyone": [f"e{n}" for n in range(800)],
    "disabled": ["gone"],
}
SITE = Site(home="https://localhost", accounts=ACCOUNTS)


def plan(name: str = "crisis-sixfold", scale: float = 400.0, speed: float = 15.0) -> Plan:
    return Plan(model=LoadModel(), scenario=SCENARIOS[name], scale=scale, speed=speed)


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_begins_and_ends_with_hardly_anybody(name: str) -> None:
    scenario = SCENARIOS[name]
    minutes = [minute for minute, _ in scenario.presence]
    assert minutes == sorted(minutes)
    assert scenario.present(0) <= 0.02
    assert scenario.present(scenario.minutes) == 0
    assert scenario.present(-1) == scenario.present(scenario.minutes + 1) == 0
    assert all(0 <= step.minute < scenario.minutes for step in scenario.steps)
    assert scenario.speed > 0


def test_steps_hold_twelve_loads_and_are_measured_without_their_beginnings() -> None:
    steps = plan("steps", 800, 24)
    held = steps.held()
    assert len(held) == 12
    for begin, end in held:
        assert steps.present(begin) == steps.present(end) > 0
        assert end - begin == pytest.approx(0.8 * 5 * 60 / 24)
    assert steps.present(held[-1][1]) == steps.employees
    assert plan("weekday").held() == [], "elsewhere the whole run is"


def test_the_lockdown_morning_brings_80_per_cent_in_30_minutes() -> None:
    morning = SCENARIOS["lockdown-morning"]
    assert morning.present(35) - morning.present(5) == pytest.approx(0.8)
    assert plan("lockdown-morning", 1, 1).present(20 * 60) == pytest.approx(0.42 * 80_000, abs=1)


def test_the_storm_of_logins_is_twice_the_model_s() -> None:
    storm = plan("login-storm", 1, 1)
    assert (storm.present(900) - storm.present(0)) / 900 == pytest.approx(
        2 * LoadModel().logins_storm(), rel=0.01
    )


def test_scale_divides_people_and_speed_divides_time() -> None:
    full, small = plan(scale=1, speed=1), plan()
    assert (full.employees, small.employees) == (80_000, 200)
    assert full.seconds == 15 * small.seconds == 3600
    assert full.seats == pytest.approx(6.8e3, rel=0.01)
    assert small.seats == 18
    assert small.present(120) == round(full.present(1800) / 400)
    assert full.think == pytest.approx(15 * small.think)
    assert full.idle == 15 * small.idle == 900
    assert plan(speed=600).idle == 30
    assert plan(speed=600).seats > 10 * small.seats, "what cannot be sped up needs more seats"
    assert replace(small, idle_seconds=77).idle == 77


def test_a_visit_every_so_often_makes_the_model_s_page_views() -> None:
    """Everybody there: visits that follow each other after a pause add up to the crisis' views."""
    crisis = plan(scale=1, speed=1)
    cycle = crisis.pause + crisis.think * (crisis.model.views_a_visit - 1)
    views = crisis.employees / cycle * crisis.model.views_a_visit
    assert views == pytest.approx(LoadModel().views_peak_hour() * 7.5, rel=0.01)


def test_populations_come_in_proportion_and_the_mobile_first_when_that_is_asked() -> None:
    mixed = deal(SITE, 100, mobile_first=False)
    assert [sum(p == name for p, _ in mixed) for name in ("managers", "sales", "everyone")] == [
        6, 14, 80,
    ]  # fmt: skip
    assert {p for p, _ in mixed[:20]} == {"managers", "sales", "everyone"}
    first = deal(SITE, 100, mobile_first=True)
    assert {p for p, _ in first[:20]} == {"managers", "sales"}
    assert {p for p, _ in first[20:]} == {"everyone"}
    assert len({person for _, person in first}) == 100
    with pytest.raises(TooFewAccounts, match="1001 employees"):
        deal(SITE, 1001, mobile_first=True)


def test_two_workers_share_the_names_and_who_left_comes_back() -> None:
    crews = [Crew(plan(), SITE, worker=n, workers=2) for n in range(2)]
    people = [crew.enter() for crew in crews for _ in range(100)]
    assert len({person for _, _, person in people}) == 200
    crews[0].leave(7)
    assert crews[0].enter()[0] == 7
    assert crews[0].enter()[0] == 100


def test_what_is_published_is_the_base_multiplied_and_rounded_up() -> None:
    text = (ROOT / "config/demo.yaml").read_text("utf-8")
    for name, value in (("${DEMO_SEATS}", "7"), ("${DEMO_SEATS_MANAGERS}", "1")):
        text = text.replace(name, value)
    base: dict[str, Any] = yaml.safe_load(text)
    for pool in base["pools"].values():
        pool["connections"].update(limit=10, guaranteed=3)
        for cell in pool.get("populations", {}).values():
            cell["guaranteed"] = 1
    base["connections"]["limit"] = 15
    base["populations"][1]["seats"]["guaranteed"] = 2
    found = multiplied(base, 1.5, ["everyone"])
    assert found["seats"]["limit"] == 11
    assert found["connections"]["limit"] == 23
    assert found["pools"]["feed"]["connections"] == {"limit": 15, "guaranteed": 5, "lendable": 1.0}
    assert found["pools"]["feed"]["populations"]["managers"]["guaranteed"] == 2
    assert found["populations"][0]["seats"]["guaranteed"] == 2
    assert found["populations"][2]["admitted"] is True
    assert base["seats"]["limit"] == 7, "the base stays as it was"


def test_options_make_a_plan_and_say_what_is_wrong_with_them() -> None:
    made = plan_of("weekday", options("--scale", "80", "--set", "live_share=0.4", "--idle", "60"))
    assert (made.employees, made.speed, made.idle, made.model.live_share) == (1000, 120, 60, 0.4)
    strict = plan_of("weekday", options("--objective", "wait_p95=3", "--objective", "page_p99=0.2"))
    assert (strict.longest_wait, strict.objectives.page_p99) == (3, 0.2)
    for words, fault in (
        (("--set", "lives=9"), "live_share"),
        (("--set", "employees=many"), "no number"),
        (("--scale", "0"), "above 0"),
        (("--objective", "page_p50=1"), "page_p99"),
    ):
        with pytest.raises(SiteError, match=fault):
            plan_of("weekday", options(*words))
    with pytest.raises(SiteError, match="crisis-sixfold"):
        plan_of("sunday", options())


def test_the_site_is_put_together_from_files_options_and_the_environment(tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text('{"accounts": {"sales": ["ann"]}, "password": "p", "unknown": 1}')
    words = ("--target", "https://home/", "--app", "feed=https://feed", "--accounts", str(accounts))
    found = site_of(
        options(*words), {"BROKER_ADMIN_TOKEN": "t", "LOADTEST_PASSWORD": "q"}, tmp_path
    )
    assert (found.home, found.app, found.pool) == ("https://home", "https://feed", "feed")
    assert (found.admin_token, found.password_of("ann")) == ("t", "q")
    faults = {
        (): "--target",
        ("--target", "https://home"): "accounts",
        ("--target", "h", "--app", "feed"): "NAME=https",
        ("--site", str(tmp_path / "none.json")): "No such file",
        ("--site", __file__): "test_plan.py",
    }
    for given, fault in faults.items():
        with pytest.raises(SiteError, match=fault):
            site_of(options(*given), {}, tmp_path)
    (tmp_path / ".demo").mkdir()
    (tmp_path / ".demo/ready.json").write_text('{"home": "h", "accounts": {"sales": ["bob"]}}')
    assert site_of(options(), {}, tmp_path).accounts == {"sales": ["bob"]}


def test_what_is_not_ours_goes_to_locust() -> None:
    words = ["--scale", "9", "weekday", "--running-demo", "--processes", "2"]
    assert forwarded(words, "weekday") == ["--scale", "9", "--processes", "2"]
