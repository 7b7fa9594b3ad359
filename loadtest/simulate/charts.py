"""The charts of a simulation, in the form of ``loadtest/report``. Counts are employees of the whole
company: what an aggregated run counted is multiplied back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.model import Chart, Mark, Series
from loadtest.simulate.sums import most_waiting, stranded, waits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.report.model import Role, Style
    from loadtest.simulate.connections import Figures
    from loadtest.simulate.measures import Sample
    from loadtest.simulate.variants import Outcome

_ROLES: tuple[Role, ...] = ("main", "second", "third", "fourth", "good", "warn")


def of_morning(outcomes: Sequence[Outcome]) -> list[Chart]:
    """Of one site, or of several together."""
    names = outcomes[0].measures.populations
    every = outcomes[0].measures.sample_ms / 1000

    def summed(value: Callable[[Sample], float]) -> list[tuple[float, float | None]]:
        series = [
            [value(sample) * outcome.plan.one_for for sample in outcome.measures.samples]
            for outcome in outcomes
        ]
        return [(at * every, sum(values)) for at, values in enumerate(zip(*series, strict=True))]

    work = [
        [count * outcome.plan.one_for for count in outcome.measures.at_work()]
        for outcome in outcomes
    ]
    at_work = [(at * every, float(sum(each))) for at, each in enumerate(zip(*work, strict=True))]
    return [
        Chart(
            id="seats",
            title="Seats",
            unit="seats",
            text="Held: occupied or reserved for somebody called. At work: between the first and "
            "the last page view of a visit. What lies between the two is held by people who have "
            "finished; it is reclaimed only while somebody waits.",
            series=[
                _line("limit", summed(lambda sample: sample.limit), "limit"),
                _line("held", summed(lambda sample: sum(sample.held.values())), "main", "area"),
                _line("at work", [*at_work], "good"),
            ],
        ),
        Chart(
            id="waiting",
            title="Waiting room",
            unit="employees",
            text="Present and not yet called, by population.",
            series=[
                _line(name, summed(lambda sample, name=name: sample.waiting[name]), role)  # type: ignore[misc]
                for name, role in zip(names, _ROLES, strict=False)
            ],
        ),
        _waited(outcomes, names),
    ]


def _waited(outcomes: Sequence[Outcome], names: Sequence[str]) -> Chart:
    series = []
    for name, role in zip(names, _ROLES, strict=False):
        all_of_them = sorted(wait for each in outcomes for wait in each.measures.waits[name])
        ranks = [0.5, 0.75, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999]
        points: list[tuple[float, float | None]] = [
            (rank * 100, all_of_them[int(len(all_of_them) * rank)] / 60_000)
            for rank in ranks
            if all_of_them
        ]
        series.append(_line(name, points, role))
    return Chart(
        id="waited",
        title="Waiting time",
        unit="minutes",
        text="So many per cent of all admissions waited no longer than this, those that were "
        "seated at once included.",
        x="number",
        x_label="% of admissions",
        series=series,
    )


def of_idle_times(outcomes: Sequence[Outcome]) -> Chart:
    """Up to an hour: a seat held all day would squeeze the rest into a corner."""
    shown = [each for each in outcomes if each.plan.idle_minutes <= 60]
    by_minutes = sorted(shown, key=lambda outcome: outcome.plan.idle_minutes)
    p90 = [(each.plan.idle_minutes, (waits(each.measures).p90 or 0) / 60) for each in by_minutes]
    return Chart(
        id="idle",
        title="Effect of the idle time",
        unit="minutes",
        text="How long nine in ten of those who had to wait waited at most, by the idle time after "
        "which a seat may be reclaimed.",
        x="number",
        x_label="idle time, minutes",
        series=[_line("wait, p90", [*p90], "main"), _line("", [*p90], "main", "dots")],
    )


def of_ramps(outcomes: Sequence[Outcome]) -> Chart:
    return Chart(
        id="ramps",
        title="Effect of the ramp",
        unit="employees",
        text="How many wait, for the same morning with another ramp.",
        series=[
            _line(
                _ramp_name(outcome),
                [
                    (
                        at * outcome.measures.sample_ms / 1000,
                        float(sum(sample.waiting.values()) * outcome.plan.one_for),
                    )
                    for at, sample in enumerate(outcome.measures.samples)
                ],
                role,
            )
            for outcome, role in zip(outcomes, _ROLES, strict=False)
        ],
    )


def _ramp_name(outcome: Outcome) -> str:
    plan = outcome.plan.plan
    if plan is None:
        return "no raise"
    if plan.factor is None:
        return "all at once"
    return f"x{plan.factor:g} every {plan.every_seconds:g} s"


def of_a_lost_host(figures: Figures) -> Chart:
    def by_second(counts: Sequence[int]) -> list[tuple[float, float | None]]:
        return [(float(second), float(count)) for second, count in enumerate(counts)]

    return Chart(
        id="host",
        title="A broker host lost at the peak",
        unit="connections",
        text="Connections in flight, what the ledger still keeps for the dead workers, and "
        "requests that wait for a connection. Where nobody tells the ledger, this lasts for "
        "keep_for.",
        x="number",
        x_label="seconds of the busiest minute, going on",
        series=[
            _line("limit", by_second([figures.limit] * len(figures.used)), "limit"),
            _line("in use", by_second(figures.used), "main", "area"),
            _line("stranded with the lost host", by_second(figures.dead), "bad"),
            _line("waiting", by_second(figures.waiting), "warn"),
        ],
    )


def marks(outcome: Outcome) -> list[Mark]:
    plan = outcome.plan.plan
    arrive = outcome.plan.arrive_at * 60
    found = [Mark(at=arrive, text="80 % come within 30 minutes")]
    if plan is not None:
        found.append(Mark(at=plan.at * 60, text=f"raise to {plan.scale:g}x begins"))
        full = next(
            (
                at
                for at, sample in enumerate(outcome.measures.samples)
                if sample.scale >= plan.scale
            ),
            None,
        )
        if full is not None:
            at = full * outcome.measures.sample_ms / 1000
            found.append(Mark(at=at, text=f"{plan.scale:g}x in force"))
    return found


def effect_rows(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """A line for each variant, for the terminal."""
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        all_of_them, lost = waits(outcome.measures), stranded(outcome.measures)
        rows.append(
            (
                outcome.plan.name,
                f"{outcome.plan.idle_minutes:g} min",
                _ramp_name(outcome),
                f"{most_waiting(outcome.measures) * outcome.plan.one_for:,}",
                minutes(all_of_them.p50),
                minutes(all_of_them.p90),
                minutes(all_of_them.longest),
                f"{all_of_them.unserved * outcome.plan.one_for:,}",
                f"{lost.all:.0%}" if lost.minutes else "-",
            )
        )
    return rows


def minutes(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def _line(
    name: str,
    points: list[tuple[float, float | None]],
    role: Role,
    style: Style = "line",
) -> Series:
    return Series(name=name, points=points, role=role, style=style)
