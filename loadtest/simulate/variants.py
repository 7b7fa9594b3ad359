"""The runs that a simulation consists of: the morning itself, the same morning with one thing
changed (aggregated to stay in time), and the loss of a broker host.

Runs are independent and deterministic, so they may go to several processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from loadtest.simulate.capacity import RaisePlan, base_document, changes, shrunk
from loadtest.simulate.connections import Demand, Figures, Fleet, Loss
from loadtest.simulate.morning import Morning
from loadtest.simulate.people import USUAL_IDLE, Habits, company

if TYPE_CHECKING:
    from loadtest.model import LoadModel
    from loadtest.simulate.measures import Measures

FULL_SIZE = 100_000  # up to so many employees each is simulated by itself
VARIANT_SIZE = 10_000  # of a variant, so many stand for all
SITE_SIZE = 50_000  # of each of several sites


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. ``one_for``: how many employees one simulated employee stands for; ``seed``: all
    that is random follows from it. ``plan``: the raise, None: there is none."""

    name: str
    model: LoadModel
    seed: int
    plan: RaisePlan | None = field(default_factory=RaisePlan)
    idle_minutes: float = USUAL_IDLE
    one_for: int = 1
    minutes: float = 240.0
    arrive_at: float = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """``cpu_seconds`` is what the run took, the only thing in it that differs between two runs."""

    plan: Plan
    measures: Measures
    events: int
    decisions: int
    cpu_seconds: float


def run(plan: Plan) -> Outcome:
    began = time.process_time()
    base = base_document(plan.model, idle_minutes=plan.idle_minutes)
    days = [(at, shrunk(document, plan.one_for)) for at, document in changes(base, plan.plan)]
    habits = replace(Habits.of(plan.model), arrive_at=plan.arrive_at)
    people = company(round(plan.model.employees / plan.one_for), habits, plan.seed)
    morning = Morning(people, habits, days, minutes=plan.minutes)
    measures = morning.run()
    spent = time.process_time() - began
    return Outcome(plan, measures, morning.events, morning.book.steps, spent)


def main_plan(model: LoadModel, seed: int, plan: RaisePlan | None, idle_minutes: float) -> Plan:
    return Plan(
        "morning", model, seed, plan, idle_minutes, one_for=_one_for(model.employees, FULL_SIZE)
    )


def variants(main: Plan) -> list[Plan]:
    """The main plan again at the variants' size, then with one thing changed each."""
    small = replace(main, name="aggregated", one_for=_one_for(main.model.employees, VARIANT_SIZE))
    plans = [small]
    plans += [
        replace(small, name=f"idle-{minutes:g}", idle_minutes=minutes)
        for minutes in (5.0, 15.0, 30.0, 60.0, 480.0)
        if minutes != main.idle_minutes
    ]
    if main.plan is not None:
        plans += [
            replace(small, name="ramp-none", plan=None),
            replace(small, name="ramp-at-once", plan=replace(main.plan, factor=None)),
            replace(small, name="ramp-5-min", plan=replace(main.plan, every_seconds=300.0)),
        ]
    return plans


def sites(model: LoadModel, count: int, seed: int, plan: RaisePlan | None, idle: float,
          spread: float) -> list[Plan]:  # fmt: skip
    """Independent sites with an equal part of the employees each, whose mornings begin ``spread``
    minutes apart from the first to the last; the raise is one decision for all."""
    each = replace(
        model,
        employees=round(model.employees / count),
        views_a_week=model.views_a_week / count,
    )
    return [
        Plan(
            f"site-{number + 1}",
            each,
            seed * 1000 + number,
            plan,
            idle,
            _one_for(each.employees, SITE_SIZE),
            minutes=240.0 + spread,
            arrive_at=30.0 + (spread * number / (count - 1) if count > 1 else 0.0),
        )
        for number in range(count)
    ]


def _one_for(employees: int, most: int) -> int:
    return max(1, -(-employees // most))


# --- connections

HOSTS, WORKERS_EACH = 4, 2
LOST_AT, FORGOTTEN_AFTER, WINDOW = 30.0, 60.0, 180.0


def demand_at_peak(outcome: Outcome) -> tuple[float, Demand]:
    """(page views a second, demand): the busiest minute of the morning, with cold caches."""
    model, measures = outcome.plan.model, outcome.measures
    views = measures.page_views()
    per_minute = max(1, round(60_000 / measures.sample_ms))
    minutes = [
        sum(views[start : start + per_minute]) / per_minute
        for start in range(max(1, len(views) - per_minute))
    ]
    busiest = max(range(len(minutes)), key=minutes.__getitem__)
    peak = minutes[busiest] * outcome.plan.one_for
    held = measures.samples[busiest].held
    seats = sum(held.values())
    shares = {name: count / seats if seats else 0.0 for name, count in held.items()}
    tunnels = seats * outcome.plan.one_for * model.live_share * 1.2
    return peak, Demand(
        requests={
            (pool, name): model.requests(peak) * share * part
            for pool, part in (("feed", 0.8), ("wiki", 0.2))
            for name, share in shares.items()
        },
        tunnels={("feed", name): round(tunnels * share) for name, share in shares.items()},
        hold=model.exchange_seconds,
        reconnect=model.reconnect_seconds,
    )


def lose_a_host(outcome: Outcome, demand: Demand) -> Figures:
    """The busiest minute goes on; one of four hosts is lost without a word, and an operator says
    so a minute later (``broker workers forget``)."""
    plan = outcome.plan
    limits = changes(base_document(plan.model), plan.plan)[-1][1]
    fleet = Fleet(limits, demand, hosts=HOSTS, each=WORKERS_EACH, seed=plan.seed)
    return fleet.run(WINDOW, loss=Loss(LOST_AT, FORGOTTEN_AFTER))
