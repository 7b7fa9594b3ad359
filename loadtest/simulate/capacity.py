"""Limits documents of a simulated site, and how a raise changes them.

``changes`` is the seam to the raise and its ramp: everything else of the simulation takes its
answer, a list of (when, document), and asks nothing about levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from broker.policy.limits import LimitsDocument, PoolLimits, PopulationLimits, Share
from loadtest.simulate.people import MINUTE, USUAL_IDLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.model import LoadModel

CONNECTIONS_PER_SEAT = 0.48  # the load model's 16 k at 41 k seats, and a fifth in reserve


@dataclass(frozen=True, slots=True)
class Raise:
    """A raise to ``scale`` at ``at`` minutes, opening the site to ``open_to``; each step multiplies
    by ``factor`` and lasts ``every_seconds``. A factor of 0: all at once."""

    at: float = 35.0
    scale: float = 6.0
    open_to: tuple[str, ...] = ("managers", "sales", "everyone")
    factor: float = 1.25
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
    return LimitsDocument(
        number=1,
        digest="simulated",
        scale=1.0,
        seats_limit=seats,
        connections_limit=connections,
        populations=populations,
        pools=pools,
        idle_ms=round(idle_minutes * MINUTE),
    )


def raised(base: LimitsDocument, scale: float, open_to: Sequence[str]) -> LimitsDocument:
    """The configured base times ``scale``, rounded up, open to ``open_to``."""

    def times(number: int) -> int:
        return math.ceil(number * scale)

    def share(own: Share) -> Share:
        return replace(own, limit=times(own.limit), guaranteed=times(own.guaranteed))

    return replace(
        base,
        number=base.number + 1,
        scale=scale,
        seats_limit=times(base.seats_limit),
        connections_limit=times(base.connections_limit),
        populations={
            name: replace(
                own,
                admitted=own.admitted or name in open_to,
                seats_maximum=times(own.seats_maximum),
                seats_guaranteed=times(own.seats_guaranteed),
            )
            for name, own in base.populations.items()
        },
        pools={
            name: replace(
                pool,
                connections=share(pool.connections),
                cells={population: share(cell) for population, cell in pool.cells.items()},
            )
            for name, pool in base.pools.items()
        },
    )


def changes(base: LimitsDocument, plan: Raise | None) -> list[tuple[int, LimitsDocument]]:
    """The documents of a day: (milliseconds, document), the first at 0."""
    days = [(0, base)]
    if plan is None:
        return days
    at, scale = round(plan.at * MINUTE), 1.0
    while scale < plan.scale:
        scale = plan.scale if plan.factor <= 1 else min(plan.scale, scale * plan.factor)
        days.append((at, replace(raised(base, scale, plan.open_to), number=len(days) + 1)))
        at += round(plan.every_seconds * 1000)
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
