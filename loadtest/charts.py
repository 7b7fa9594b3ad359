"""The charts of a load test. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.limits import exchanges, seats_held
from loadtest.measure.overlap import highest_by_second
from loadtest.report.model import Chart, Role, Series

if TYPE_CHECKING:
    from loadtest.evidence import Evidence, Points
    from loadtest.measure.overlap import Use

ROLES: tuple[Role, ...] = ("main", "second", "third", "fourth", "quiet")


def charts(evidence: Evidence) -> list[Chart]:
    """In the order of the page; those without data are left out by the page."""
    promised = evidence.plan.objectives
    return [
        _seats(evidence),
        _connections(evidence),
        _traffic(evidence),
        _latency(evidence, "page", "Pages: how long the document takes", promised.page_p99),
        _latency(
            evidence, "login", "Logins: from the form to the page behind it", promised.login_p99
        ),
        _errors(evidence),
        _machine(evidence),
        _told(evidence),
        _waits(evidence),
    ]


def _seats(evidence: Evidence) -> Chart:
    return Chart(
        id="seats",
        title="Seats and waiting",
        unit="employees",
        series=[
            Series(name="present", points=evidence.present, role="quiet", style="dash"),
            Series(name="occupied", points=evidence.metric("broker_seats_occupied"), style="area"),
            Series(
                name="counted", points=_counted(evidence, seats_held(evidence)), role="third",
            ),
            Series(
                name="waiting", points=evidence.metric("broker_waiting_employees"), role="second"
            ),
            Series(
                name="limit", points=evidence.metric("broker_site_seats_limit"), role="limit",
                style="step",
            ),
        ],
        text="Occupied, waiting and the limit as the broker's metrics tell them. Counted: those "
        "who got a page within the idle time, who cannot be without a seat. Present: everybody who "
        "came, also those who idle without a seat or are not admitted.",
    )  # fmt: skip


def _connections(evidence: Evidence) -> Chart:
    used = evidence.metric("broker_connections_in_use")
    limit = evidence.metric("broker_site_connections_limit")
    series = [
        Series(name="in use", points=used, style="area"),
        Series(name="WebSockets", points=evidence.metric("broker_tunnels_open"), role="second"),
    ]
    highest = max((value for _, value in used if value is not None), default=0.0)
    if evidence.watch.changes:
        counted = exchanges(evidence)
        highest = max(highest, counted.highest)
        points = _counted(evidence, counted)
        series.append(Series(name="counted by the servers", points=points, role="third"))
    text = (
        "The servers' count is the highest of each second; the broker's is what its workers last "
        "reported."
    )
    if highest and max((v for _, v in limit if v is not None), default=0.0) < 4 * highest:
        series.append(Series(name="limit", points=limit, role="limit", style="step"))
    else:
        text += " The limit is far above and not drawn."
    return Chart(id="connections", title="Connections", unit="in flight", series=series, text=text)


def _traffic(evidence: Evidence) -> Chart:
    return Chart(
        id="traffic",
        title="Throughput",
        unit="a second",
        series=[
            Series(name="requests", points=evidence.rate("requests"), style="area"),
            Series(name="page views", points=evidence.rate("pages"), role="second"),
        ],
    )


def _latency(evidence: Evidence, kind: str, title: str, limit: float) -> Chart:
    lines: tuple[tuple[str, float, Role], ...] = (
        ("p50", 0.5, "main"), ("p95", 0.95, "third"), ("p99", 0.99, "second"),
    )  # fmt: skip
    series = []
    if evidence.count_of(kind):
        series = [
            Series(name=name, points=evidence.latencies(kind, q), role=role)
            for name, q, role in lines
        ]
        bound: Points = [(0.0, limit), (evidence.seconds, limit)]
        series.append(Series(name="objective for p99", points=bound, role="limit", style="dash"))
    return Chart(id=f"latency-{kind}", title=title, unit="s", series=series, log=True)


def _errors(evidence: Evidence) -> Chart:
    found = evidence.rate("failures") if evidence.total("failures") else []
    return Chart(
        id="errors", title="Errors", unit="a second",
        series=[Series(name="errors", points=found, role="bad", style="area")],
    )  # fmt: skip


def _machine(evidence: Evidence) -> Chart:
    cpu: Points = [(at, sample.cpu) for at, sample in evidence.samples()]
    return Chart(
        id="machine", title="The load generator", unit="% of a core",
        series=[Series(name="busiest process", points=cpu, role="quiet", style="area")],
        text="Above 90 % the latencies above are partly its own.",
    )  # fmt: skip


def _told(evidence: Evidence) -> Chart:
    """Who waited how long against what they were told."""
    waits = [each for each in evidence.notes.waits if each.told_p50 is not None]
    series = [
        Series(
            name=population, role=ROLES[n % len(ROLES)], style="dots",
            points=[(w.told_p50 or 0.0, w.seconds) for w in waits if w.population == population],
        )
        for n, population in enumerate(sorted({wait.population for wait in waits}))
    ]  # fmt: skip
    if series:
        end = max(max(wait.seconds, wait.told_p50 or 0.0) for wait in waits)
        same: Points = [(0.0, 0.0), (end, end)]
        series.append(Series(name="as told", points=same, role="limit", style="dash"))
    return Chart(
        id="told", title="Waited, against what was told", unit="seconds waited", x="number",
        x_label="seconds told (the median, at the first look)", series=series,
        text="Below the line people waited less than they were told, above it longer.",
    )  # fmt: skip


def _waits(evidence: Evidence) -> Chart:
    """Shares of those who waited, by how long: each line ends at 100 %."""
    waits = [each for each in evidence.notes.waits if each.ended == "seated"]
    series = []
    for n, population in enumerate(sorted({wait.population for wait in waits})):
        times = sorted(wait.seconds for wait in waits if wait.population == population)
        points: Points = [(0.0, 0.0)]
        points += [(time, 100 * (m + 1) / len(times)) for m, time in enumerate(times)]
        series.append(
            Series(name=f"{population} ({len(times)})", points=points, style="step",
                   role=ROLES[n % len(ROLES)])
        )  # fmt: skip
    return Chart(
        id="waits", title="Seated within", unit="% of those who waited", x="number",
        x_label="seconds waited", series=series,
    )  # fmt: skip


def _counted(evidence: Evidence, used: Use) -> Points:
    moved = [(at - evidence.began, count) for at, count in used.points]
    return [(at, float(high)) for at, high in highest_by_second(moved, evidence.seconds)]
