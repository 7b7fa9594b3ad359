"""Capacity as a value: what was configured, the levels, and what of them is in force.

It travels inside the limits document, so that one number and one compare-and-set hold for both, and
a worker that writes the document back after a fault brings the raise in force back with it. The
functions are in ``levels.py`` (what follows from it) and ``ramp.py`` (what becomes of it). Units:
ledger time and civil time in milliseconds, scales as factors on the configured numbers.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # the ledger decodes these by their types
from dataclasses import dataclass, field
from typing import Literal

from broker.policy.shares import PoolLimits, PopulationLimits  # noqa: TC001

RampState = Literal["climbing", "paused", "held", "reached"]
GuardMode = Literal["rollback", "hold"]


@dataclass(frozen=True, slots=True)
class GuardRule:
    """When a window of one pool is a breach. A window lasts ``window_ms`` and counts only with at
    least ``responses``; it is a breach when the 95th percentile of the times to the first byte is
    above max(``slower`` x baseline, baseline + ``slower_ms``), more than ``failed`` of the
    responses are 5xx, or more than ``undialled`` of the attempts found no connection (fractions).
    """

    window_ms: int = 30_000
    responses: int = 200
    slower: float = 2.0
    slower_ms: int = 250
    failed: float = 0.02
    undialled: float = 0.01


@dataclass(frozen=True, slots=True)
class Level:
    """A named plan: ``scale``, who is admitted (empty: as configured), scales of single pools."""

    scale: float = 1.0
    open_to: tuple[str, ...] = ()
    pools: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Base:
    """What was configured, before any scale. A scale multiplies by no more than the ceilings."""

    seats_limit: int
    connections_limit: int
    populations: Mapping[str, PopulationLimits]
    pools: Mapping[str, PoolLimits]
    seats_ceiling: float = 10.0
    connections_ceiling: float = 10.0
    pool_ceilings: Mapping[str, float] = field(default_factory=dict)
    guards: Mapping[str, GuardRule] = field(default_factory=dict)
    levels: Mapping[str, Level] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ramp:
    """The way from ``start`` to ``target``: step n stands at start x factor^n, at most the target.

    ``climbing``: the next step follows ``every_ms`` after the last, if the guard has seen a good
    window since. ``paused``: by the guard, until its next good window. ``held``: until somebody
    resumes. ``reached``: the last step has proved itself; the guard looks no longer.
    ``stepped_ms``: ledger time of the last step. ``why``: what paused or held it.
    """

    start: float
    target: float
    factor: float
    every_ms: int
    step: int
    stepped_ms: int
    state: RampState
    why: str = ""
    rolled_back: bool = False

    @property
    def scale(self) -> float:
        """The factor in force at this step."""
        if self.target <= self.start or self.state == "reached":
            return self.target
        return min(self.target, self.start * self.factor**self.step)


@dataclass(frozen=True, slots=True)
class Raise:
    """One change of capacity in force. ``name``: the number of the document that began it.

    ``level``: the level it stands for, empty for a free raise. ``open_to``: who is admitted while
    it is in force, in place of what lies underneath (empty: as underneath). ``pools``: scales of
    single pools in place of the ramp's target (levels only). ``began_ms``, ``ends_ms``: civil time.
    ``baseline``: by pool, the 95th percentile (seconds) seen before it, frozen.
    """

    name: int
    ramp: Ramp
    author: str
    reason: str
    began_ms: int
    ends_ms: int | None = None
    level: str = ""
    open_to: tuple[str, ...] = ()
    pools: Mapping[str, float] = field(default_factory=dict)
    guard: GuardMode = "rollback"
    baseline: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The base and what lies over it: a level, over that a raise of the site, over that raises of
    single pools. Each replaces what lies underneath for its scope and never adds to it."""

    base: Base
    level: Raise | None = None
    site: Raise | None = None
    pools: Mapping[str, Raise] = field(default_factory=dict)
