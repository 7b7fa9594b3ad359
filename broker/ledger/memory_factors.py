"""Second factors, in memory: the twin of ``lua/factors.lua``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import LedgerLearning
from broker.ledger.port import Factor, FactorView
from broker.policy.second_factor import usable

if TYPE_CHECKING:
    from broker.ledger.memory import MemoryState
    from broker.ledger.memory_sessions import MemorySessions
    from broker.ledger.port import Enrolled

EVERYBODY = ""


class MemoryFactors:
    """Methods answer as the port's of the same name; permissions are by employee, or EVERYBODY."""

    def __init__(self, state: MemoryState, sessions: MemorySessions) -> None:
        self._state = state
        self._sessions = sessions
        self._factors: dict[str, Factor] = {}
        self._permissions: dict[str, tuple[str, int]] = {}

    def factor(self, employee: str) -> FactorView:
        self._decided()
        return FactorView(self._factors.get(employee), self._may_enrol(employee))

    def enrol(self, employee: str, factor: Factor, population: str, proved_ms: int) -> Enrolled:
        self._decided()
        if self._sessions.is_revoked("", employee, population, proved_ms):
            return "revoked"
        if employee in self._factors:
            return "exists"
        if not self._may_enrol(employee):
            return "closed"
        self._permissions.pop(employee, None)
        self._factors[employee] = replace(
            factor, recovery=tuple(sorted(factor.recovery)), since_ms=self._state.wall_ms
        )
        return "enrolled"

    def spend_step(self, employee: str, factor_id: str, step: int) -> bool:
        factor = self._of(employee, factor_id)
        if factor is None or not usable(step, factor.last_step):
            return False
        self._factors[employee] = replace(factor, last_step=step)
        return True

    def spend_recovery(self, employee: str, factor_id: str, digest: str) -> bool:
        factor = self._of(employee, factor_id)
        if factor is None or digest not in factor.recovery:
            return False
        left = tuple(each for each in factor.recovery if each != digest)
        self._factors[employee] = replace(factor, recovery=left)
        return True

    def reseal_factor(self, employee: str, factor_id: str, sealed: str) -> bool:
        factor = self._of(employee, factor_id)
        if factor is None:
            return False
        self._factors[employee] = replace(factor, sealed=sealed)
        return True

    def reset_factor(self, employee: str, lasts_ms: int) -> bool:
        had = self._factors.pop(employee, None) is not None
        self._permit(employee, lasts_ms)
        return had

    def open_enrolment(self, lasts_ms: int) -> None:
        self._permit(EVERYBODY, lasts_ms)

    def enrolment(self) -> int:
        return self._left_of(EVERYBODY)

    def _of(self, employee: str, factor_id: str) -> Factor | None:
        self._decided()
        factor = self._factors.get(employee)
        return factor if factor is not None and factor.id == factor_id else None

    def _may_enrol(self, employee: str) -> int:
        return max(self._left_of(EVERYBODY), self._left_of(employee))

    def _left_of(self, permission: str) -> int:
        epoch, ends_ms = self._permissions.get(permission, ("", 0))
        return max(0, ends_ms - self._state.now) if epoch == self._state.grants.epoch else 0

    def _permit(self, permission: str, lasts_ms: int) -> None:
        if lasts_ms > 0:
            ends_ms = self._state.now + lasts_ms
            self._permissions[permission] = (self._state.grants.epoch, ends_ms)
        else:
            self._permissions.pop(permission, None)

    def _decided(self) -> None:
        if self._state.learning:
            raise LedgerLearning("The ledger is learning and cannot say who has a second factor.")
