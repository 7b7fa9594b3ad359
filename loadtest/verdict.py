"""From what was measured to what may be said: objectives with their verdicts, and the run as a
report. Pure. Nothing is judged that was not measured: an objective without a value is missed.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING

from broker.scaling.answer import LEVELS, levels, tells
from broker.scaling.measured import Step
from loadtest.charts import charts
from loadtest.evidence import pools
from loadtest.limits import limits
from loadtest.report.model import ErrorCount, Figure, Objective, Run, Wait

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.evidence import Evidence
    from loadtest.report.model import LimitUse

TOLD_ENOUGH = 10
BUSY = 90.0  # per cent of a core


def judge(evidence: Evidence) -> Run:
    """The whole report."""
    plan = evidence.plan
    used = limits(evidence)
    over = sum(each.exceeded for each in used)
    model = asdict(plan.model)
    return Run(
        name=plan.scenario.name,
        kind="load",
        title=plan.scenario.name,
        question=plan.scenario.question,
        started=evidence.started,
        seconds=evidence.seconds,
        command=evidence.command,
        objectives=[*_common(evidence, over if used else None), *_of_the_scenario(evidence)],
        over_admissions=over,
        figures=_figures(evidence, used),
        charts=charts(evidence),
        marks=[*evidence.marks],
        waits=[_since(wait, evidence.began) for wait in evidence.notes.waits],
        limits=used,
        errors=[
            ErrorCount(
                kind=kind, count=each.count, first_at=each.first_at - evidence.began,
                example=each.example,
            )
            for kind, each in sorted(evidence.notes.failures.items(), key=lambda e: -e[1].count)
        ],
        pools=pools(evidence),
        notes=[*_notes(evidence)],
        parameters={
            "site": evidence.site.home,
            "scale": f"1:{plan.scale:g}",
            "speed": f"{plan.speed:g} times",
            "employees at this scale": plan.employees,
            "load generator processes": evidence.workers,
            "idle time": f"{plan.idle:g} s",
            "think time": f"{plan.think:.1f} s",
            "pause between visits": f"{plan.pause:.1f} s",
            **model,
            "activity": plan.scenario.activity,
        },
    )  # fmt: skip


def _common(evidence: Evidence, over: int | None) -> Iterator[Objective]:
    promised = evidence.plan.objectives
    if not evidence.plan.scenario.saturates:
        yield from _smooth(evidence)
    yield Objective.judge("Admissions above a limit", over, 0)
    yield Objective.judge("Places in the queue lost", evidence.total("lost_places"), 0)
    yield Objective.judge("Thrown out of a seat in use", evidence.total("thrown_out"), 0)
    yield _leaked(evidence)
    yield Objective.judge(
        "WebSockets still open when all had left", evidence.last("broker_tunnels_open"), 0
    )
    yield _waited(evidence)
    told = [w for w in evidence.notes.waits if w.told_p90 is not None and w.ended == "seated"]
    if len(told) >= TOLD_ENOUGH:
        kept = sum(wait.seconds <= (wait.told_p90 or 0) for wait in told)
        yield Objective.judge(
            "Waits no longer than the p90 told", 100 * kept / len(told),
            promised.estimates_kept, unit="%", at_least=True, why=f"{kept} of {len(told)}",
        )  # fmt: skip
    if evidence.watch.samples:
        died = evidence.grew("broker_worker_restarts_total")
        yield Objective.judge("Processes of the broker that died", died, 0)


def _smooth(evidence: Evidence) -> Iterator[Objective]:
    """What employees feel, where the load is one that the site should carry."""
    promised = evidence.plan.objectives
    yield Objective.judge(
        "Pages: 99 % within", evidence.latency("page", 0.99), promised.page_p99, unit="s",
        why=_of(evidence, "page", "page views"),
    )  # fmt: skip
    yield Objective.judge(
        "Logins: 99 % within", evidence.latency("login", 0.99), promised.login_p99, unit="s",
        why=_of(evidence, "login", "logins"),
    )  # fmt: skip
    requests, failures = evidence.total("requests"), evidence.total("failures")
    worst = max(evidence.notes.failures.items(), key=lambda e: e[1].count, default=None)
    yield Objective.judge(
        "Errors, of all requests", 100 * failures / requests if requests else None, promised.errors,
        unit="%", why="" if worst is None else f"{failures} of {requests:,}, most: {worst[0]}",
    )  # fmt: skip


def _leaked(evidence: Evidence) -> Objective:
    """Everybody has logged out: what is still occupied belongs to nobody."""
    before, after = (
        None if occupied is None else occupied + (called or 0)
        for occupied, called in (
            (evidence.first("broker_seats_occupied"), evidence.first("broker_seats_called")),
            (evidence.last("broker_seats_occupied"), evidence.last("broker_seats_called")),
        )
    )
    leaked = None if before is None or after is None else max(0.0, after - before)
    return Objective.judge(
        "Seats not given back when all had left", leaked, 0,
        why="" if not before else f"{before:.0f} were taken before the run began",
    )  # fmt: skip


def _waited(evidence: Evidence) -> Objective:
    """Those still waiting at the end waited at least so long; who was refused did not wait."""
    times = sorted(w.seconds for w in evidence.notes.waits if w.ended != "refused")
    value = times[max(0, math.ceil(0.95 * len(times)) - 1)] if times else 0.0
    limit = evidence.plan.longest_wait
    return Objective.judge(
        "Waits for a seat: 95 % within", value, limit, unit="s",
        why=f"{len(times)} waited" if times else "nobody waited",
    )  # fmt: skip


def _of_the_scenario(evidence: Evidence) -> Iterator[Objective]:
    plan = evidence.plan
    before = evidence.first("broker_site_seats_limit")
    for step in plan.scenario.steps:
        if step.do == "raise":
            highest = evidence.highest("broker_site_seats_limit")
            reached = highest / before if before and highest else None
            yield Objective.judge(
                "Seats reached, times the base", reached, step.factor, at_least=True,
                why="; ".join(evidence.trouble),
            )  # fmt: skip
            yield Objective.judge(
                "First step of the raise in force after", _first_step(evidence),
                plan.objectives.first_step, unit="s",
            )  # fmt: skip
        elif step.do == "lower":
            base = (before or 0) * step.factor / plan.scenario.factor
            yield Objective.judge(
                "Seats' limit after lowering", evidence.last("broker_site_seats_limit"),
                math.ceil(base), why="; ".join(evidence.trouble),
            )  # fmt: skip
        else:
            yield Objective.judge(
                "Back after the cut: 99 % within", evidence.latency("back", 0.99), plan.reconnect,
                unit="s", why=f"{evidence.count_of('back')} of {evidence.total('cut')} came back",
            )  # fmt: skip
            missing = evidence.total("cut") - evidence.count_of("back")
            yield Objective.judge("Never came back after the cut", missing, 0)
            yield Objective.judge(
                "Had to log in again after the cut", evidence.total("relogins"), 0
            )
    if plan.scenario.saturates:
        yield from _loads(evidence)
    if plan.scenario.name == "soak":
        morning = evidence.latency_between("page", 0.99, 0.1, 0.3)
        evening = evidence.latency_between("page", 0.99, 0.7, 0.9)
        drift = evening / morning if morning and evening else None
        yield Objective.judge(
            "p99 of pages, evening over morning", drift, plan.objectives.soak_drift
        )


def _loads(evidence: Evidence) -> Iterator[Objective]:
    """Whether the run is what it is for: so many loads of the pool people use that a law can be
    fitted to them (``broker capacity plan --from``)."""
    pool = evidence.site.pool
    measured = [Step(s.seconds, s.in_flight, s.per_second) for s in pools(evidence).get(pool, [])]
    different = levels([step.in_flight for step in measured if tells(step)])
    highest = max(different, default=0.0)
    yield Objective.judge(
        f"Different loads measured of {pool}", len(different), LEVELS, at_least=True,
        why=f"up to {highest:.3g} in flight; next: broker capacity plan --from report.json",
    )  # fmt: skip


def _first_step(evidence: Evidence) -> float | None:
    ordered = next((mark.at for mark in evidence.marks if mark.text.startswith("raise to")), None)
    if ordered is None:
        return None
    limit = [(at, value) for at, value in evidence.metric("broker_site_seats_limit") if value]
    before = [value for at, value in limit if at <= ordered]
    higher = (at for at, value in limit if at > ordered and before and value > before[-1])
    first = next(higher, None)
    return None if first is None else first - ordered


def _figures(evidence: Evidence, used: list[LimitUse]) -> list[Figure]:
    plan = evidence.plan
    requests = max((v for _, v in evidence.rate("requests") if v is not None), default=0.0)
    came = max((v for _, v in evidence.present if v is not None), default=0.0)
    waits = [wait.seconds for wait in evidence.notes.waits if wait.ended == "seated"]
    seats = next((each for each in used if each.name == "Seats of the site"), None)
    found = [
        Figure(
            name="Employees", value=came,
            text=f"1:{plan.scale:g} of {plan.model.employees:,}, {plan.speed:g} times as fast",
        ),
        Figure(name="Page views", value=float(evidence.total("pages"))),
        Figure(
            name="Requests", value=float(evidence.total("requests")),
            text=f"up to {requests:.0f} a second",
        ),
        Figure(name="Pages, median", value=evidence.latency("page", 0.5), unit="s"),
        Figure(name="Logins", value=float(evidence.count_of("login"))),
    ]  # fmt: skip
    if seats is not None:
        found.append(Figure(name="Most seats", value=seats.broker, text=f"of {seats.limit:.0f}"))
    if waits:
        text = f"longest of {len(waits)}; median {statistics.median(waits):.0f} s"
        found.append(Figure(name="Longest wait", value=max(waits), unit="s", text=text))
    return found


def _notes(evidence: Evidence) -> Iterator[str]:
    watch, site = evidence.watch, evidence.site
    yield from evidence.trouble
    if not site.admin:
        yield (
            "The broker's metrics were not at hand (BROKER_ADMIN_URL): seats, waiting, connections "
            "are not shown, and leaks and admissions above a limit could not be judged."
        )
    elif not site.admin_token:
        yield "Without BROKER_ADMIN_TOKEN limits of connections were not known and not judged."
    uncounted = sorted(set(site.apps) - set(watch.changes))
    if uncounted:
        yield (
            f"No server of {', '.join(uncounted)} counts by itself (its oracle was not at hand): "
            "connections there are the broker's own account."
        )
    for what, count in sorted(watch.blind.items()):
        yield f"Looking at the {what} failed {count} times; what happened meanwhile is not counted."
    if watch.missed:
        yield f"{watch.missed} changes at servers were forgotten there before they were read."
    busy = [sample for sample in watch.samples if sample.cpu > BUSY]
    if len(busy) > 0.1 * max(1, len(watch.samples)):
        yield (
            f"A process of the load generator used over {BUSY:.0f} % of a core in {len(busy)} of "
            f"{len(watch.samples)} seconds: latencies are partly its own. Use more processes."
        )
    waits = evidence.notes.waits
    if waits and not any(wait.told_p50 is not None for wait in waits):
        yield "The waiting room gave no estimate, so waits cannot be held against one."
    if evidence.total("refused"):
        yield f"{evidence.total('refused')} times somebody was told: not admitted at present."
    if evidence.total("impolite"):
        yield f"{evidence.total('impolite')} polls were told to come later (429)."
    if evidence.plan.speed != 1:
        yield (
            f"Time runs {evidence.plan.speed:g} times as fast: rates are that much higher than the "
            f"scale alone says, so that the broker carries what 1:"
            f"{evidence.plan.scale / evidence.plan.speed:.3g} of all employees would ask. Poll "
            "intervals and claim times are the broker's and do not shrink, so waits look longer."
        )


def _of(evidence: Evidence, kind: str, what: str) -> str:
    return f"of {evidence.count_of(kind):,} {what}"


def _since(wait: Wait, began: float) -> Wait:
    return Wait(
        population=wait.population, seconds=wait.seconds, ended=wait.ended, told_p50=wait.told_p50,
        told_p90=wait.told_p90, began=wait.began - began, count=wait.count,
    )  # fmt: skip
