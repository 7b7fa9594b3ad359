"""Second factors in Redis: one script, ``lua/factors.lua``, and the reading of its answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broker.errors import LedgerLearning
from broker.ledger.book_audit import written
from broker.ledger.book_seats import text
from broker.ledger.port import Factor, FactorView

if TYPE_CHECKING:
    from broker.ledger.book_seats import Scripts
    from broker.ledger.port import AuditEntry, Enrolled


class BookFactors:
    """Methods answer as the port's of the same name."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def factor(self, employee: str) -> FactorView:
        found, may_enrol_ms, *kept = await self._ask("look", employee)
        if text(found) == "none":
            return FactorView(None, int(may_enrol_ms))
        factor_id, sealed, step, since_ms, *digests = kept
        factor = Factor(
            text(factor_id),
            text(sealed),
            int(step),
            tuple(sorted(text(digest) for digest in digests)),
            int(since_ms),
        )
        return FactorView(factor, int(may_enrol_ms))

    async def enrol(
        self, employee: str, factor: Factor, population: str, proved_ms: int
    ) -> Enrolled:
        kept = (factor.id, factor.sealed, factor.last_step)
        (answer,) = await self._ask(
            "enrol", employee, *kept, population, proved_ms, *factor.recovery
        )
        return text(answer)  # type: ignore[return-value]

    async def spend_step(self, employee: str, factor_id: str, step: int) -> bool:
        (done,) = await self._ask("step", employee, factor_id, step)
        return bool(done)

    async def spend_recovery(self, employee: str, factor_id: str, digest: str) -> bool:
        (done,) = await self._ask("recovery", employee, factor_id, digest)
        return bool(done)

    async def reseal_factor(self, employee: str, factor_id: str, sealed: str) -> bool:
        (done,) = await self._ask("reseal", employee, factor_id, sealed)
        return bool(done)

    async def reset_factor(self, employee: str, lasts_ms: int, entry: AuditEntry) -> bool:
        return bool(await self._run("reset", employee, lasts_ms, written(entry)))

    async def open_enrolment(self, lasts_ms: int, entry: AuditEntry | None) -> None:
        await self._run("open", lasts_ms, written(entry) if entry is not None else b"")

    async def enrolment(self) -> int:
        return int(await self._run("enrolment"))

    async def _run(self, *args: str | bytes | int) -> Any:
        return await self._scripts.run("factors", *args)

    async def _ask(self, *args: str | bytes | int) -> Any:
        answer = await self._run(*args)
        if isinstance(answer[0], str | bytes) and text(answer[0]) == "learning":
            raise LedgerLearning("The ledger is learning and cannot say who has a second factor.")
        return answer
