"""Step loads made from a known law, with noise: what a fit is checked against."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from broker.scaling.measured import Step

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from broker.scaling.law import Law

LEVELS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 96.0)


def step_load(
    law: Law,
    levels: Sequence[float] = LEVELS,
    *,
    per_level: int = 3,
    noise: float = 0.05,
    alike: float = 0.0,
    errors_from: float | None = None,
    seed: int = 1,
) -> list[Step]:
    """``noise``: standard deviation in proportion; ``alike``: how much of it an interval has in
    common with the one before."""
    rng = np.random.default_rng(seed)
    found = []
    off = 0.0
    for load in levels:
        for _ in range(per_level):
            off = alike * off + float(np.sqrt(1 - alike**2) * rng.normal(0, noise))
            rate = law.throughput(load) * float(np.exp(off))
            bad = errors_from is not None and load >= errors_from
            found.append(
                Step(100.0, load, rate, round(rate * 5) if bad else 0, law.seconds(load) * 0.9)
            )
    return found


def write_run(path: Path, pools: Mapping[str, Sequence[Step]], **fields: Any) -> Path:
    """A report with these pools and little else."""
    steps = {
        pool: [
            {
                "at": 100.0 * number,
                "seconds": step.seconds,
                "in_flight": step.in_flight,
                "per_second": step.per_second,
                "errors": step.errors,
                "p50": step.p50,
            }
            for number, step in enumerate(load)
        ]
        for pool, load in pools.items()
    }
    path.write_text(
        json.dumps({"name": "steps", "kind": "load", "pools": steps, **fields}), "utf-8"
    )
    return path
