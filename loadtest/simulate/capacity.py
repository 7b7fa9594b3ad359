"""Limits documents of a simulated site, and how a raise changes them: by the broker's own
``policy.levels`` and ``policy.ramp``, step by step as the steward would take them.

``changes`` is the seam: the rest of the simulation takes its answer, a list of (when, document).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.policy.capacity import Base, Capacity, GuardRule, Raise
from broker.policy.guard import PoolWatch
from broker.policy.levels import in_force, with_raise
from broker.policy.limits import LimitsDocument
from broker.policy.ramp import begin, next_move
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from loadtest.simulate.people import MINUTE, USUAL_IDLE

if TYPE_CHECKING:
    from loadtest.model import LoadModel

CONNECTIONS_PER_SEAT = 0.48  # the load model's 16 k at 41 k seats, and a fifth in reserve


@dataclass(frozen=True, slots=True)
class RaisePlan:
    """A raise to ``scale`` at ``at`` minutes, opening the site to ``open_to``; each step multiplies
    by ``factor`` and lasts ``every_seconds``, or as long as the guard's window, which is always a
    good one here. ``factor`` None: all at once."""

    at: float = 35.0
    scale: float = 6.0
    open_to: tuple[str, ...] = ("managers", "sales", "everyone")
    factor: float | None = 1.25
    every_seconds: float = 60.0


def base_document(model: LoadModel, *, idle_minutes: float = USUAL_IDLE) -> LimitsDocument:
    """Remote access as it was before: seats for the model's peak hour, for managers and sales only;
    connections in proportion."""
    seats = max(1, round(model.seats()))
    connections = max(24, round(seats * CONNECTIONS_PER_SEAT))
    populations = {
        "managers": PopulationLimits(True, seats, seats // 10, 1.0, 2),
        "sales": PopulationLimits(True, seats, seats // 5, 1.0, 2),
        "everyone": PopulationLimits(False, seats, 0, 1.0, 1),
    }
    pools = {
        name: PoolLimits(
            Share(max(1, round(connections * limit)), round(connections * guaranteed), 1.0),
            {population: Share(max(1, round(connections * limit))) for population in populations},
        )
        for name, limit, guaranteed in (("feed", 0.9, 0.5), ("wiki", 0.4, 0.1))
    }
    document = LimitsDocument(
        number=1,
        digest="simulated",
        scale=1.0,
        seats_limit=seats,
        connections_limit=connections,
        populations=populations,
        pools=pools,
        idle_ms=round(idle_minutes * MINUTE),
    )
    return replace(document, capacity=configured(document))


def configured(document: LimitsDocument) -> Capacity:
    """The numbers of ``document`` as the base that a raise multiplies; no ceiling bites."""
    return Capacity(
        Base(
            document.seats_limit,
            document.connections_limit,
            document.populations,
            document.pools,
            seats_ceiling=100.0,
            connections_ceiling=100.0,
        )
    )


def changes(base: LimitsDocument, plan: RaisePlan | None) -> list[tuple[int, LimitsDocument]]:
    """The documents of a day: (milliseconds, document), the first at 0."""
    days = [(0, base)]
    if plan is None:
        return days
    now, every = round(plan.at * MINUTE), round(plan.every_seconds * 1000)
    good = {pool: PoolWatch(now, verdict="good", evidence=1, p95=0.1) for pool in base.pools}
    change = Raise(
        name=2,
        ramp=begin(1.0, plan.scale, factor=plan.factor, every_ms=every, now_ms=now),
        author="simulation",
        reason="lockdown",
        began_ms=now,
        open_to=plan.open_to,
        baseline=dict.fromkeys(base.pools, 0.1),
    )
    capacity: Capacity | None = with_raise(base.capacity or configured(base), "site", change)
    while capacity is not None:
        document = in_force(capacity, replace(base, number=len(days) + 1))
        if document.scale != days[-1][1].scale:
            days.append((now, document))
        now += max(every, GuardRule().window_ms)
        move = next_move(capacity, good, now, now)
        capacity = None if move is None else move.capacity
    return days


def shrunk(document: LimitsDocument, by: int) -> LimitsDocument:
    """For an aggregated run, where one employee stands for ``by``: all seats divided by that."""
    return replace(
        document,
        seats_limit=max(1, round(document.seats_limit / by)),
        populations={
            name: replace(
                own,
                seats_maximum=round(own.seats_maximum / by),
                seats_guaranteed=round(own.seats_guaranteed / by),
            )
            for name, own in document.populations.items()
        },
    )
