"""A simulation as a ``Run``, the form of a load test's report, and marked as simulated."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.report.model import Figure, LimitUse, Objective, Run, Wait
from loadtest.simulate import charts
from loadtest.simulate.sums import (
    evenness,
    most_waiting,
    stranded,
    waits,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.model import Chart
    from loadtest.simulate.connections import Figures
    from loadtest.simulate.variants import Outcome

WAIT_BUCKET, BEGAN_BUCKET = 15, 300  # seconds: waits alike are one line of the report


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was run. ``sites``: the morning itself, one or several; ``variants``: the same with one
    thing changed; ``lost``: connections while a host is lost, at ``peak`` page views a second."""

    sites: Sequence[Outcome]
    variants: Sequence[Outcome] = ()
    lost: Figures | None = None
    peak: float = 0.0

    @property
    def cpu_seconds(self) -> float:
        return sum(outcome.cpu_seconds for outcome in (*self.sites, *self.variants))

    def named(self, start: str) -> list[Outcome]:
        """Variants whose name begins so, with the unchanged one of the same size in front."""
        return [each for each in self.variants if each.plan.name.startswith(("aggregated", start))]


def report(done: Simulated, *, started: str, command: str, wait_p90: float) -> Run:
    """``wait_p90``: the objective, in seconds, of those who have to wait."""
    first = done.sites[0].plan
    employees = sum(outcome.plan.model.employees for outcome in done.sites)
    objectives = _objectives(done, wait_p90)
    many = len(done.sites) > 1
    return Run(
        name="simulate",
        kind="simulation",
        title=f"Simulated lockdown morning, {employees:,} employees"
        + (f" on {len(done.sites)} independent sites" if many else ""),
        question=f"Does a raise to {first.plan.scale:g}x carry the morning?"
        if first.plan is not None
        else "Does the base carry the morning?",
        started=started,
        seconds=max(outcome.plan.minutes for outcome in done.sites) * 60,
        command=command,
        objectives=objectives,
        over_admissions=sum(outcome.measures.over_admissions for outcome in done.sites)
        + (done.lost.over_admissions if done.lost is not None else 0),
        figures=_figures(done),
        charts=_charts(done),
        marks=charts.marks(done.sites[0]),
        waits=_waits(done.sites),
        limits=_limits(done),
        parameters=_parameters(done),
        notes=notes(done),
    )


def _objectives(done: Simulated, wait_p90: float) -> list[Objective]:
    measures = [outcome.measures for outcome in done.sites]
    slowest = [waits(each).p90 or 0.0 for each in measures]
    unserved = sum(
        waits(outcome.measures).unserved * outcome.plan.one_for for outcome in done.sites
    )
    found = [
        Objective.judge("Seats taken above the limit", sum(m.over_admissions for m in measures), 0),
        Objective.judge(
            "Employees overtaken by a later one of their population",
            sum(m.overtaken for m in measures),
            0,
        ),
        Objective.judge(
            "Wait of nine in ten who have to wait", max(slowest), wait_p90, unit="s",
            why="of the slowest site" if len(slowest) > 1 else "",
        ),
        Objective.judge("Still waiting at the end", unserved, 0),
    ]  # fmt: skip
    if done.lost is not None:
        found.append(
            Objective.judge(
                "Connections above the limit while a host is lost", done.lost.over_admissions, 0
            )
        )
    return found


def _figures(done: Simulated) -> list[Figure]:
    all_waits = [waits(outcome.measures) for outcome in done.sites]
    weights = [outcome.plan.one_for for outcome in done.sites]
    lost = [stranded(outcome.measures) for outcome in done.sites]
    seated = sum(each.seated * by for each, by in zip(all_waits, weights, strict=True))
    waited = sum(each.waited * by for each, by in zip(all_waits, weights, strict=True))
    in_queue = sum(most_waiting(outcome.measures) * outcome.plan.one_for for outcome in done.sites)
    figures = [
        Figure(name="Admissions", value=seated, text=f"{waited:,} of them had to wait"),
        Figure(name="Most waiting at once", value=in_queue),
        Figure(
            name="Median wait",
            value=max((each.p50 or 0.0 for each in all_waits), default=0.0),
            unit="s",
            text="of those who had to wait",
        ),
        Figure(
            name="Longest wait",
            value=max((each.longest or 0.0 for each in all_waits), default=0.0),
            unit="s",
        ),
        Figure(
            name="Evenness of waiting",
            value=_fairness(done),
            text="Jain's index of the populations' mean waits: 1 is equal; guarantees favour some",
        ),
        Figure(
            name="Stranded seats",
            value=100 * sum(each.all for each in lost) / len(lost),
            unit="%",
            text="held by nobody at work while somebody waits",
        ),
    ]
    if done.lost is not None:
        figures.append(
            Figure(
                name="Lost host strands",
                value=100 * max(done.lost.dead, default=0) / max(1, done.lost.limit),
                unit="%",
                text=f"of the connections; {done.lost.refused:,} requests refused meanwhile",
            )
        )
    return figures


def _fairness(done: Simulated) -> float:
    """Over the populations that anybody of had to wait."""
    names = done.sites[0].measures.populations
    means = []
    for name in names:
        found = [waits(outcome.measures, name) for outcome in done.sites]
        count = sum(each.waited for each in found)
        if count:
            means.append(sum(each.mean * each.waited for each in found) / count)
    return evenness(means)


def _charts(done: Simulated) -> list[Chart]:
    found = charts.of_morning(done.sites)
    if ramps := done.named("ramp"):
        found.append(charts.of_ramps(ramps))
    if idle := done.named("idle"):
        found.append(charts.of_idle_times(idle))
    if done.lost is not None:
        found.append(charts.of_a_lost_host(done.lost))
    return found


def _waits(outcomes: Sequence[Outcome]) -> list[Wait]:
    counted: Counter[tuple[str, str, int, int]] = Counter()
    for outcome in outcomes:
        measures, by = outcome.measures, outcome.plan.one_for
        for name in measures.populations:
            for asked, wait in zip(measures.asked[name], measures.waits[name], strict=True):
                bucket = round(wait / 1000 / WAIT_BUCKET) * WAIT_BUCKET
                began = asked // 1000 // BEGAN_BUCKET * BEGAN_BUCKET
                counted[name, "seated", began, bucket] += by
            end = round(outcome.plan.minutes * 60)
            for wait in measures.still_waiting[name]:
                bucket = round(wait / 1000 / WAIT_BUCKET) * WAIT_BUCKET
                began = (end - wait // 1000) // BEGAN_BUCKET * BEGAN_BUCKET
                counted[name, "waiting", began, bucket] += by
    return [
        Wait(population=name, seconds=seconds, ended=ended, began=began, count=count)
        for (name, ended, began, seconds), count in sorted(counted.items())
    ]


def _limits(done: Simulated) -> list[LimitUse]:
    found = []
    for outcome in done.sites:
        measures, by = outcome.measures, outcome.plan.one_for
        name = "seats" if len(done.sites) == 1 else f"seats, {outcome.plan.name}"
        found.append(
            LimitUse(
                name=name,
                limit=max(sample.limit for sample in measures.samples) * by,
                broker=max(sum(sample.held.values()) for sample in measures.samples) * by,
                counter=measures.highest * by,
                counted_by="the simulation's own count of who entered, was called and left",
                exceeded=measures.over_admissions,
            )
        )
    if done.lost is not None:
        found.append(
            LimitUse(
                name="connections, a host lost",
                limit=done.lost.limit,
                broker=max(done.lost.held),
                counter=done.lost.highest_used,
                counted_by="the simulation's own count of connections in flight",
                exceeded=done.lost.over_admissions,
            )
        )
    return found


def _parameters(done: Simulated) -> dict[str, object]:
    plan = done.sites[0].plan
    found: dict[str, object] = {
        "seed": plan.seed,
        "employees": sum(outcome.plan.model.employees for outcome in done.sites),
        "sites": len(done.sites),
        "one_simulated_employee_stands_for": plan.one_for,
        "idle_minutes": plan.idle_minutes,
        "events": sum(outcome.events for outcome in (*done.sites, *done.variants)),
        "decisions_of_the_policy": sum(
            outcome.decisions for outcome in (*done.sites, *done.variants)
        ),
    }
    if plan.plan is not None:
        found["raise"] = {
            "at_minute": plan.plan.at, "scale": plan.plan.scale,
            "step": plan.plan.factor or "at once", "every_seconds": plan.plan.every_seconds,
        }  # fmt: skip
    return found


def notes(done: Simulated) -> list[str]:
    """What a reader must know to believe the figures."""
    main = done.sites[0]
    said = [
        "These figures are simulated, not measured: invented employees in virtual time, decided by "
        "the broker's own policy code (seats, queueing, grants, levels, ramp).",
        "Polls are not simulated one by one: who waits is present until the page is closed. On "
        "small sites mean waits lie within 15 % of those on a real ledger with every poll made "
        "(tests/integration/test_simulation_agrees.py).",
        "Logins, the directory and the applications' servers are taken to be fast enough, so the "
        "guard finds every step of the ramp good.",
    ]
    if any(outcome.plan.one_for > 1 for outcome in done.sites):
        said.append(
            f"Aggregated: one simulated employee stands for {main.plan.one_for}, and limits are "
            "divided alike. Chance then varies more than it really would."
        )
    small = next((each for each in done.variants if each.plan.name == "aggregated"), None)
    if small is not None and small.plan.one_for > main.plan.one_for:
        here, there = waits(main.measures), waits(small.measures)
        said.append(
            f"Variants are aggregated 1:{small.plan.one_for}. The unchanged morning at that size "
            f"gives a median wait of {charts.minutes(there.p50)} where the full size gives "
            f"{charts.minutes(here.p50)}, and {charts.minutes(there.p90)} against "
            f"{charts.minutes(here.p90)} for nine in ten."
        )
    if done.lost is not None:
        said.append(
            f"The lost host: the busiest minute ({done.peak:.0f} page views a second, cold caches) "
            "goes on for three; one of four hosts is lost after 30 s without a tombstone, an "
            "operator forgets its workers 60 s later. Otherwise its connections stay reserved for "
            "keep_for. Steps of 50 ms. Seats are not touched by it: they are the ledger's."
        )
    if len(done.sites) > 1:
        p90 = sorted(waits(outcome.measures).p90 or 0.0 for outcome in done.sites)
        said.append(
            f"Nine in ten waited at most {charts.minutes(p90[0])} on the luckiest site, "
            f"{charts.minutes(p90[-1])} on the unluckiest. Independent sites lend each other "
            f"nothing: {elsewhere_free(done.sites):.1%} of the seats stood free on one while "
            "somebody waited on another."
        )
    return said + [_of_population(done, name) for name in main.measures.populations]


def _of_population(done: Simulated, name: str) -> str:
    """All sites together; the percentiles are those of the slowest."""
    found = [(outcome.plan.one_for, waits(outcome.measures, name)) for outcome in done.sites]
    text = f"{name}: {sum(by * each.seated for by, each in found):,} admissions"
    waited = sum(by * each.waited for by, each in found)
    if not waited:
        return f"{text}, nobody had to wait."
    slowest = max((each for _, each in found), key=lambda each: each.p90 or 0.0)
    return (
        f"{text}, {waited:,} after waiting: half up to {charts.minutes(slowest.p50)}, nine in ten "
        f"up to {charts.minutes(slowest.p90)}, at most {charts.minutes(slowest.longest)}"
        + (" on the slowest site." if len(found) > 1 else ".")
    )


def elsewhere_free(outcomes: Sequence[Outcome]) -> float:
    """The share of all seats, while anybody waits anywhere, that stood free on other sites and that
    one ledger for all would have given to those who waited."""
    limit = useful = 0
    for samples in zip(*(outcome.measures.samples for outcome in outcomes), strict=True):
        waiting = sum(sum(sample.waiting.values()) for sample in samples)
        if waiting:
            free = sum(max(0, sample.limit - sum(sample.held.values())) for sample in samples)
            limit += sum(sample.limit for sample in samples)
            useful += min(free, waiting)
    return useful / max(1, limit)
