"""A small configured base, and raises over it, for tests of capacity."""

from __future__ import annotations

from broker.policy.capacity import Base, Capacity, GuardRule, Level
from broker.policy.limits import LimitsDocument
from broker.policy.orders import Order
from broker.policy.shares import PoolLimits, PopulationLimits, Share

BASE = Base(
    seats_limit=60,
    connections_limit=500,
    populations={
        "managers": PopulationLimits(admitted=True, seats_maximum=60, seats_guaranteed=20),
        "sales": PopulationLimits(admitted=True, seats_maximum=50),
        "everyone": PopulationLimits(admitted=False, seats_maximum=60),
    },
    pools={
        "feed": PoolLimits(
            Share(300, guaranteed=100),
            {"managers": Share(300, guaranteed=30), "sales": Share(200), "everyone": Share(300)},
        ),
        "wiki": PoolLimits(
            Share(120), {name: Share(120) for name in ("managers", "sales", "everyone")}
        ),
    },
    pool_ceilings={"feed": 10.0, "wiki": 4.0},
    guards={"feed": GuardRule(), "wiki": GuardRule()},
    levels={
        "elevated": Level(2.0),
        "crisis": Level(6.0, ("managers", "sales", "everyone"), {"wiki": 3.0}),
        "managers only": Level(1.0, ("managers",)),
    },
)
CAPACITY = Capacity(BASE)
BARE = LimitsDocument(7, "d", 1.0, 0, 0, {}, {})


def order(
    *,
    factor: float | None = 1.5,
    reason: str = "lockdown",
    now_ms: int = 1_000,
    every: int = 60_000,
) -> Order:
    """Decided on version 7 at civil time 2020-03-16T06:00Z."""
    return Order("anna", reason, 7, now_ms, 1_584_338_400_000, factor, every)
