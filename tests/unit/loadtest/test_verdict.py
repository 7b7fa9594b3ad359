"""The verdict of a run whose every number is known: each fault shows, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.evidence import Evidence, pools
from loadtest.limits import limits
from loadtest.measure.recorder import Holding, Recorder
from loadtest.model import LoadModel
from loadtest.plan import Plan
from loadtest.report.model import Mark, Objective, Wait
from loadtest.report.page import html
from loadtest.scenarios import SCENARIOS
from loadtest.site import Site
from loadtest.verdict import judge
from loadtest.watch import Sample, Values, Watch

BEGAN = 1_000_000.0
SECONDS = 60
SITE = Site(
    home="https://h", apps={"feed": "https://f"}, admin="http://a", admin_token="t",
    accounts={"sales": ["a"]},
)  # fmt: skip


def values(**changes: float) -> Values:
    """What a broker at rest tells; keywords are metric names without ``broker_``."""
    plain = {
        "seats_called": 0.0, "seats_occupied": 0.0, "waiting_employees": 0.0,
        "seats_limit": 10.0, **changes,
    }  # fmt: skip
    site = {
        "site_seats_limit": 10.0, "tunnels_open": 0.0, "worker_restarts_total": 0.0,
    }  # fmt: skip
    found: Values = {}
    for name, value in plain.items():
        if name not in site:
            found[f"broker_{name}", (("population", "sales"),)] = value
    for name, value in site.items():
        found[f"broker_{name}", ()] = changes.get(name, value)
    cell = (("pool", "feed"), ("population", "sales"))
    found["broker_connections_in_use", cell] = changes.get("connections_in_use", 1.0)
    return found


def capacity(limit: int = 4) -> dict[str, Any]:
    shares = {"limit": limit, "populations": {"sales": {"limit": limit}}}
    return {"connections": {"limit": limit, "pools": {"feed": shares}}}


def evidence(
    scenario: str = "weekday",
    samples: dict[int, Values] | None = None,
    changes: list[tuple[float, int, str]] | None = None,
    site: Site = SITE,
    **more: Any,
) -> Evidence:
    """A minute in which one employee read a page every second. ``samples``: those that differ, by
    second."""
    watch = Watch(site=Site(home="h"))
    differing = samples or {}
    for second in range(SECONDS + 1):
        known = differing.get(second, values())
        watch.samples.append(Sample(BEGAN + second, known, capacity(), 10.0))
    watch.changes = {"feed": [(BEGAN + at, step, who) for at, step, who in changes or []]}
    recorder = Recorder()
    for second in range(SECONDS):
        recorder.request("page", BEGAN + second, 0.05)
        recorder.count("pages", BEGAN + second)
        recorder.count("requests", BEGAN + second, 20)
    recorder.request("login", BEGAN, 0.3)
    return Evidence(
        plan=Plan(model=LoadModel(), scenario=SCENARIOS[scenario], scale=400, speed=60),
        site=site, began=BEGAN, ended=BEGAN + SECONDS, notes=recorder.notes, watch=watch,
        started="2026-11-25T10:00:00Z", **more,
    )  # fmt: skip


def missed(case: Evidence) -> list[str]:
    return [each.name for each in judge(case).missed()]


def objective(case: Evidence, name: str) -> Objective:
    return next(each for each in judge(case).objectives if each.name.startswith(name))


def test_a_good_day_meets_everything_and_its_page_can_be_drawn() -> None:
    run = judge(evidence())
    assert run.missed() == []
    assert run.over_admissions == 0
    assert run.ok
    text = html(run)
    assert "<strong>Yes.</strong>" in text
    assert 'id="seats"' in text
    assert 'id="latency-page"' in text
    assert 'id="errors"' not in text, "no errors, no chart of them"


def test_slow_pages_and_logins_are_missed() -> None:
    case = evidence()
    recorder = Recorder()
    recorder.notes = case.notes
    for _ in range(2):
        recorder.request("page", BEGAN, 0.8)
        recorder.request("login", BEGAN, 2.5)
    assert missed(case) == ["Pages: 99 % within", "Logins: 99 % within"]


def test_what_was_not_measured_is_never_met() -> None:
    case = evidence()
    case.notes.latency.clear()
    case.watch.samples.clear()
    assert missed(case) == [
        "Pages: 99 % within",
        "Logins: 99 % within",
        "Admissions above a limit",
        "Seats not given back when all had left",
        "WebSockets still open when all had left",
    ]


def test_errors_are_missed_and_named() -> None:
    case = evidence()
    recorder = Recorder()
    recorder.notes = case.notes
    for _ in range(2):
        recorder.failed("page: 502", BEGAN + 7, "GET /")
    found = objective(case, "Errors")
    assert (found.ok, found.why) == (False, "2 of 1,200, most: page: 502")
    (error,) = judge(case).errors
    assert (error.kind, error.count, error.first_at) == ("page: 502", 2, 7.0)


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("seats_occupied", "Seats not given back when all had left"),
        ("seats_called", "Seats not given back when all had left"),
        ("tunnels_open", "WebSockets still open when all had left"),
        ("worker_restarts_total", "Processes of the broker that died"),
    ],
)
def test_what_stays_behind_is_a_leak(metric: str, name: str) -> None:
    assert missed(evidence(samples={SECONDS: values(**{metric: 1.0})})) == [name]


def test_seats_that_were_taken_before_are_not_ours_to_give_back() -> None:
    both = {second: values(seats_occupied=3.0) for second in (0, SECONDS)}
    found = objective(evidence(samples=both), "Seats not given back")
    assert (found.ok, found.value, found.why) == (True, 0, "3 were taken before the run began")


def test_the_broker_s_own_confession_is_an_over_admission() -> None:
    samples = {30: values(seats_occupied=9.0, seats_called=2.0)}
    run = judge(evidence(samples=samples))
    assert run.over_admissions == 2, "of the site, and of the population"
    assert [each.name for each in run.missed()] == ["Admissions above a limit"]
    lowered = {
        second: values(seats_occupied=9.0, seats_limit=5.0, site_seats_limit=5.0)
        for second in range(10, 50)
    } | {second: values(seats_occupied=9.0) for second in range(10)}
    lowered[SECONDS] = values(seats_occupied=9.0)
    assert judge(evidence(samples=lowered)).over_admissions == 0, "who is in stays in"


def test_employees_who_cannot_be_without_a_seat_count_against_the_broker() -> None:
    case = evidence()
    case.notes.holdings += [
        Holding(population="sales", began=BEGAN + 5 + n, ended=BEGAN + 40) for n in range(12)
    ]
    site, sales = limits(case)[:2]
    assert (site.counter, site.broker, site.exceeded) == (12, 0, 2)
    assert (sales.name, sales.exceeded) == ("Seats, sales", 2)
    assert missed(case) == ["Admissions above a limit"]


def test_who_idled_and_came_back_after_lowering_is_no_new_admission() -> None:
    low = {
        second: values(seats_limit=2.0, site_seats_limit=2.0) for second in range(20, SECONDS + 1)
    }
    for since, exceeded in ((None, 0), (BEGAN + 39, 1)):
        case = evidence(samples=low)
        stay = [Holding(population="sales", began=BEGAN + 5, ended=BEGAN + 50)] * 2
        back = Holding(population="sales", began=BEGAN + 40, ended=BEGAN + 50, since=since)
        case.notes.holdings += [*stay, back]
        assert limits(case)[0].exceeded == exceeded


def test_servers_count_exchanges_of_site_pool_and_cell() -> None:
    five = [(10.0 + n / 10, 1, "sales") for n in range(5)]
    case = evidence(changes=[*five, *[(20.0, -1, "sales")] * 5])
    found = {each.name: each for each in limits(case)}
    for name in ("Connections of the site", "Connections, feed", "Connections, feed, sales"):
        assert (found[name].counter, found[name].broker, found[name].exceeded) == (5, 1, 1), name
    assert limits(evidence(changes=five[:4]))[2].exceeded == 0
    blind = evidence()
    blind.watch.changes = {}
    assert [each.counter for each in limits(blind)[2:]] == [None, None, None]
    assert any("No server of feed counts" in note for note in judge(blind).notes)


def wait(seconds: float, ended: str = "seated", told: float | None = None) -> Wait:
    return Wait(population="sales", seconds=seconds, ended=ended, told_p50=told, told_p90=told,
                began=BEGAN + 1)  # fmt: skip


def test_long_waits_are_missed_also_those_that_have_not_ended() -> None:
    case = evidence()
    case.notes.waits += [wait(10)] * 18 + [wait(31, "waiting")] * 2 + [wait(999, "refused")]
    found = objective(case, "Waits for a seat")
    assert (found.ok, found.value) == (False, 31)
    assert any("no estimate" in note for note in judge(case).notes)
    assert judge(case).waits[0].began == 1.0


def test_what_people_were_told_is_held_against_what_they_waited() -> None:
    case = evidence()
    case.notes.waits += [wait(5, told=10)] * 15 + [wait(15, told=10)] * 5
    found = objective(case, "Waits no longer")
    assert (found.ok, found.value, found.why) == (False, 75, "15 of 20")
    told = next(each for each in judge(case).charts if each.id == "told")
    assert [series.name for series in told.series] == ["sales", "as told"]


def test_a_raise_that_does_not_come_is_missed_and_says_why() -> None:
    marks = [Mark(at=16.0, text="raise to 6x")]
    nothing = evidence("crisis-sixfold", marks=marks, trouble=["raise: refused"])
    assert missed(nothing)[-2:] == [
        "Seats reached, times the base",
        "First step of the raise in force after",
    ]
    assert objective(nothing, "Seats reached").why == "raise: refused"
    ramp = {second: values(site_seats_limit=12.5, seats_limit=12.5) for second in range(17, 20)}
    ramp |= {second: values(site_seats_limit=60.0, seats_limit=60.0) for second in range(20, 61)}
    raised = evidence("crisis-sixfold", samples=ramp, marks=marks)
    assert missed(raised) == []
    assert objective(raised, "First step").value == 1.0


def test_lowering_is_held_against_the_base() -> None:
    assert objective(evidence("return-to-office"), "Seats' limit").ok is False
    low = {second: values(site_seats_limit=2.0, seats_limit=2.0) for second in range(40, 61)}
    assert objective(evidence("return-to-office", samples=low), "Seats' limit").ok is True


def test_who_never_came_back_after_the_cut_is_missed() -> None:
    case = evidence("reconnect-storm")
    recorder = Recorder()
    recorder.notes = case.notes
    recorder.count("cut", BEGAN, 2)
    recorder.request("back", BEGAN + 3, 3.0)
    assert missed(case) == ["Never came back after the cut"]
    recorder.request("back", BEGAN + 30, 30.0)
    recorder.count("relogins", BEGAN)
    assert missed(case) == [
        "Back after the cut: 99 % within",
        "Had to log in again after the cut",
    ]


def test_a_soak_that_gets_slower_is_missed() -> None:
    case = evidence("soak")
    assert missed(case) == []
    recorder = Recorder()
    recorder.notes = case.notes
    for _ in range(5):
        recorder.request("page", BEGAN + 50, 0.2)
    assert missed(case) == ["p99 of pages, evening over morning"]


def test_what_could_not_be_seen_is_said() -> None:
    case = evidence()
    case.watch.blind = {"broker": 3}
    case.watch.missed = 9
    case.watch.samples[:] = [
        Sample(each.at, each.values, each.capacity, 99.0) for each in case.watch.samples
    ]
    notes = " ".join(judge(case).notes)
    for words in ("broker failed 3 times", "9 changes", "over 90 % of a core", "60 times as fast"):
        assert words in notes
    alone = judge(evidence(site=Site(home="h", accounts={"sales": ["a"]})))
    assert any("BROKER_ADMIN_URL" in note for note in alone.notes)


def test_pools_are_described_in_steps_for_capacity_planning() -> None:
    """100 exchanges a second end, half within 0.1 s, half within 0.2 s; and 7 streams, which
    are no exchanges."""

    def at(second: int) -> Values:
        found = values(connections_in_use=40.0)
        for code_class, each in (("2xx", 106.0), ("5xx", 1.0)):
            labels = (("code_class", code_class), ("pool", "feed"))
            found["broker_requests_total", labels] = each * second
        # In the first half of the run half of them were fast, later none.
        for bound, ended in (
            ("0.1", 50 * min(second, 30)),
            ("0.2", 100 * second),
            ("10.0", 100 * second),
            ("30.0", 103 * second),
            ("+Inf", 107 * second),
        ):
            labels = (("le", bound), ("pool", "feed"))
            found["broker_request_seconds_bucket", labels] = float(ended)
        return found

    steps = pools(evidence(samples={second: at(second) for second in range(61)}))["feed"]
    assert len(steps) == 12
    one = steps[3]
    assert (one.seconds, one.per_second, one.errors) == (5.0, 100.0, 5)
    assert one.in_flight == pytest.approx(50 * 0.05 + 50 * 0.15)
    assert one.p50 == pytest.approx(0.1)
    assert one.p95 == pytest.approx(0.19)
    assert steps[9].p50 == pytest.approx(0.15)
    assert steps[9].in_flight == pytest.approx(100 * 0.15)


def test_steps_promise_no_latency_but_that_different_loads_were_measured() -> None:
    """Of a load that never changes there is one level, and that is too few."""

    def at(second: int) -> Values:
        found = values()
        for bound, share in (("0.1", 0.5), ("0.2", 1.0), ("+Inf", 1.0)):
            labels = (("le", bound), ("pool", "feed"))
            found["broker_request_seconds_bucket", labels] = 100.0 * second * share
        found["broker_requests_total", (("code_class", "2xx"), ("pool", "feed"))] = 100.0 * second
        return found

    case = evidence("steps", samples={second: at(second) for second in range(61)})
    recorder = Recorder()
    recorder.notes = case.notes
    for _ in range(9):
        recorder.request("page", BEGAN, 30.0)
    loads = objective(case, "Different loads measured of feed")
    assert (loads.value, loads.limit, loads.ok) == (1, 5, False)
    assert missed(case) == [loads.name]
