"""The simulation itself: it repeats, notices what it should, its variants differ as they must."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from loadtest.__main__ import main
from loadtest.model import LoadModel
from loadtest.report.model import load
from loadtest.simulate import seat_book
from loadtest.simulate.capacity import RaisePlan, changes
from loadtest.simulate.connections import Demand, Fleet, Loss
from loadtest.simulate.orders import SortedPeople
from loadtest.simulate.outcome import elsewhere_free
from loadtest.simulate.sums import evenness, most_waiting, stranded, waits
from loadtest.simulate.variants import Outcome, Plan, run, sites
from tests.support.ledgers import limits_document

if TYPE_CHECKING:
    from pathlib import Path

    from broker.policy.limits import LimitsDocument


def model(employees: int) -> LoadModel:
    return LoadModel(employees=employees, views_a_week=13.75 * employees, activity=1.25)


MORNING = Plan("morning", model(1200), seed=1, minutes=120.0)


@pytest.fixture(scope="module")
def morning() -> Outcome:
    return run(MORNING)


def test_the_seed_decides_everything(morning: Outcome) -> None:
    again, other = run(MORNING), run(replace(MORNING, seed=2))
    assert again.measures.waits == morning.measures.waits
    assert again.measures.samples == morning.measures.samples
    assert (again.events, again.decisions) == (morning.events, morning.decisions)
    assert other.measures.waits != morning.measures.waits


def test_the_morning_fills_the_seats_and_everybody_is_served(morning: Outcome) -> None:
    measures = morning.measures
    full = measures.samples[-1].limit
    assert full == 6 * measures.samples[0].limit
    assert measures.highest == full
    assert measures.over_admissions == measures.overtaken == 0
    assert waits(measures).waited > 50
    assert measures.not_admitted["everyone"] > 0
    assert measures.not_admitted["sales"] == 0
    first_minutes = measures.samples[: 35 * 4]
    assert all(sample.held["everyone"] == 0 for sample in first_minutes)
    assert 0.3 < stranded(measures).all < 0.95


def test_seats_above_the_limit_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the simulation's own count, should the policy ever let too many in."""
    monkeypatch.setattr(seat_book, "may_take", lambda *_: True)
    assert run(MORNING).measures.over_admissions > 0


def test_who_is_overtaken_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_first(order: SortedPeople, name: str, key: int) -> None:
        add(order, name, -key if key < 1_000_000 else key)

    add = SortedPeople.add
    monkeypatch.setattr(SortedPeople, "add", last_first)
    assert run(MORNING).measures.overtaken > 0


def test_a_longer_idle_time_makes_more_wait(morning: Outcome) -> None:
    longer = run(replace(MORNING, idle_minutes=30.0))
    shorter = run(replace(MORNING, idle_minutes=5.0))
    most = [most_waiting(each.measures) for each in (shorter, morning, longer)]
    assert most[0] < most[1] < most[2]


def test_a_slow_ramp_makes_more_wait(morning: Outcome) -> None:
    slow = run(replace(MORNING, plan=RaisePlan(every_seconds=300.0)))
    assert most_waiting(slow.measures) > 2 * most_waiting(morning.measures)


def test_an_aggregated_run_is_near_the_full_one() -> None:
    """Under a long idle time, where the queue is long and chance counts for little."""
    plan = replace(MORNING, model=model(6000), idle_minutes=30.0)
    full, rough = run(plan), run(replace(plan, one_for=3))
    here, there = waits(full.measures), waits(rough.measures)
    assert there.mean == pytest.approx(here.mean, rel=0.15)
    assert there.seated * 3 == pytest.approx(here.seated, rel=0.05)


def test_steps_of_a_raise_are_documents() -> None:
    found = changes(limits_document(seats=10), RaisePlan(at=1.0, scale=2.0, factor=1.25))
    assert [at for at, _ in found] == [0, 60_000, 120_000, 180_000, 240_000]
    assert [document.seats_limit for _, document in found] == [10, 13, 16, 20, 20]
    assert [document.populations["everyone"].admitted for _, document in found] == [False] + [
        True
    ] * 4
    assert len(changes(limits_document(), RaisePlan(scale=6.0, factor=None))) == 2
    assert len(changes(limits_document(), None)) == 1


def test_independent_sites_share_nothing() -> None:
    plans = sites(model(2000), 2, 1, RaisePlan(), 15.0, 60.0)
    outcomes = [run(plan) for plan in plans]
    assert [plan.arrive_at for plan in plans] == [30.0, 90.0]
    assert outcomes[0].measures.waits != outcomes[1].measures.waits
    assert 0 < elsewhere_free(outcomes) < 0.5


def test_evenness() -> None:
    assert evenness([3.0, 3.0, 3.0]) == pytest.approx(1.0)
    assert evenness([1.0, 0.0]) == pytest.approx(0.5)


# --- connections


def connections() -> tuple[LimitsDocument, Demand]:
    """A limit of 240, 150 of which are in use."""
    limits = limits_document(connections=240)
    pools = {
        name: replace(pool, connections=replace(pool.connections, limit=200), lease_ms=40_000,
                      cells={cell: replace(share, limit=200) for cell, share in pool.cells.items()})
        for name, pool in limits.pools.items()
    }  # fmt: skip
    return replace(limits, number=1, pools=pools), Demand(
        requests={("feed", "sales"): 200.0, ("wiki", "managers"): 50.0},
        tunnels={("feed", "sales"): 50},
    )


def test_a_lost_host_strands_its_connections_until_its_lease_ends() -> None:
    fleet = Fleet(*connections(), hosts=2, each=2, seed=1)
    figures = fleet.run(60.0, loss=Loss(10.0))
    assert figures.over_admissions == 0
    assert figures.dead[9] == 0
    assert figures.dead[15] > 40
    assert figures.dead[48] > 40
    assert figures.dead[55] == 0
    assert sum(figures.refused_by_second[11:50]) > 0
    assert max(figures.refused_by_second[55:]) == 0


def test_a_tombstone_brings_them_home_at_once() -> None:
    figures = Fleet(*connections(), hosts=2, each=2, seed=1).run(30.0, loss=Loss(10.0, 1.0))
    assert figures.dead[10] > 40
    assert figures.dead[12] == 0
    assert max(figures.held) <= figures.limit


def test_enough_for_all_refuses_nobody() -> None:
    figures = Fleet(*connections(), hosts=2, each=2, seed=1).run(20.0)
    assert figures.refused == 0
    assert figures.begun == pytest.approx(20 * 250, rel=0.1)


# --- the command


def test_the_command_leaves_a_report_that_says_it_is_simulated(tmp_path: Path) -> None:
    arguments = ["simulate", "--employees", "800", "--out", str(tmp_path), "--processes", "1"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert "simulated, not measured" in done.output
    report = load((tmp_path / "latest" / "report.json").read_bytes())
    assert report.kind == "simulation"
    assert report.ok
    assert report.over_admissions == 0
    assert "simulated, not measured" in report.notes[0]
    assert {"seats", "waiting", "waited", "ramps", "idle", "host"} == {c.id for c in report.charts}
    assert report.pools == {}  # nothing here may be taken for a measurement of servers
    assert sum(wait.count for wait in report.waits) > 800
    assert "simulated, not measured" in (tmp_path / "latest" / "report.html").read_text("utf-8")


def test_a_missed_objective_is_exit_code_1(tmp_path: Path) -> None:
    arguments = ["simulate", "--employees", "800", "--no-variants", "--wait-p90", "1"]
    done = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path), "--processes", "1"])
    assert done.exit_code == 1
    missed = json.loads((tmp_path / "latest" / "report.json").read_text("utf-8"))
    assert not missed["ok"]


@pytest.mark.parametrize("ramp", ["fast", "0.5/60s", "1.25/0s", "1.25"])
def test_a_ramp_that_is_none(ramp: str) -> None:
    done = CliRunner().invoke(main, ["simulate", "--ramp", ramp])
    assert done.exit_code == 2
    assert "--ramp" in done.output
