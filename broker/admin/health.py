"""Whether this host can do its work, and if not why: the rules behind ``/readyz``. Pure.

A *reason* makes the host not ready. A *warning* does not: that a host runs on the ledger's limits
because its file says something else is how a new configuration is rolled out, and taking every such
host out at once would be the outage the rule is meant to prevent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.admin.processes import HostState
    from broker.ledger.port import Usage, WorkerView


@dataclass(frozen=True, slots=True)
class Readiness:
    """``reasons`` empty: ready."""

    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        return not self.reasons


def readiness(host: HostState, usage: Usage | None, workers: Sequence[WorkerView]) -> Readiness:
    """``usage`` None: the ledger did not answer (``workers`` is then empty)."""
    reasons = []
    warnings = []
    if host.supervisor is None:
        reasons.append("the supervisor does not answer")
    elif host.supervisor.get("stopping"):
        reasons.append("the broker is stopping")
    reasons += [f"{name} does not answer" for name in host.expected() if name not in host.workers]
    for name, state in host.workers.items():
        if state.get("draining"):
            reasons.append(f"{name} is draining")
        elif state.get("ledger_up") is False and usage is not None:
            reasons.append(f"{name} cannot reach the ledger")
    if usage is None:
        reasons.append("the ledger does not answer")
        return Readiness(tuple(reasons))
    if usage.learning:
        reasons.append("the ledger lost its memory and is learning")
    for worker in workers:
        if worker.digest and worker.digest != usage.limits.digest:
            warnings.append(
                f"{worker.incarnation} has another configuration than the limits in force:"
                " broker reload --publish makes it theirs"
            )
        elif worker.limits_known < usage.limits.number:
            warnings.append(
                f"{worker.incarnation} has not acknowledged limits {usage.limits.number} yet"
            )
    return Readiness(tuple(reasons), tuple(warnings))
