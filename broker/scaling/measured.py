"""A run as capacity planning reads it: of ``report.json`` only the step load of each pool.

The form is that of ``loadtest/report/model.py`` (``Run.pools``), stated again because the broker is
installed without its load tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from broker.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path


class Step(msgspec.Struct, frozen=True):
    """One interval of one pool, ``seconds`` long. ``in_flight``: mean of exchanges (not of
    WebSockets, which end no exchange); ``per_second``: how many ended, ``errors`` of them badly;
    ``p50`` in seconds."""

    seconds: float
    in_flight: float
    per_second: float
    errors: int = 0
    p50: float | None = None

    @property
    def ended(self) -> float:
        return self.per_second * self.seconds

    @property
    def error_share(self) -> float:
        return self.errors / self.ended if self.ended > 0 else 0.0


class Measured(msgspec.Struct, frozen=True):
    """``kind``: load or simulation. ``parameters``: what the run was started with."""

    pools: dict[str, list[Step]]
    kind: str = "load"
    name: str = ""
    started: str = ""
    parameters: dict[str, Any] = {}


def read(path: Path) -> Measured:
    """Raises Refused when there is no such run, or none that measured a server."""
    try:
        run = msgspec.json.decode(path.read_bytes(), type=Measured)
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise Refused(f"{path} is no report of a load test: {error}") from error
    if run.kind == "simulation":
        raise Refused(
            f"{path} is a simulation: it measured no server. Take the report of a load test."
        )
    if not any(run.pools.values()):
        raise Refused(f"{path} holds no step load of any pool.")
    return run
