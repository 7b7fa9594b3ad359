"""Between the worker's book and the port: the same report in both forms.

``policy`` knows nothing of the port; these three functions are all the translation there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.ledger.port import CellReport, Promise, SyncReport, Touch
from broker.policy.grant_book import Told
from broker.policy.grants import Holding

if TYPE_CHECKING:
    from collections.abc import Sequence


def sync_report(
    told: Told,
    *,
    touches: Sequence[Touch] = (),
    present: Sequence[str] = (),
    revocations_known: int = 0,
    promises: Sequence[Promise] = (),
    calls_known: int = 0,
    sessions_used: Sequence[str] = (),
) -> SyncReport:
    """``told`` as it is sent, with what else travels along."""
    wants = {cell: (count, age) for cell, count, age in told.wants}
    cells = dict.fromkeys([*told.cells, *wants])
    return SyncReport(
        incarnation=told.incarnation,
        sequence=told.sequence,
        epoch=told.epoch,
        cells=tuple(
            CellReport(
                pool=cell[0],
                population=cell[1],
                held=told.cells[cell].held if cell in told.cells else 0,
                used=told.cells[cell].used if cell in told.cells else 0,
                want=wants.get(cell, (0, 0))[0],
                want_age_ms=wants.get(cell, (0, 0))[1],
            )
            for cell in cells
        ),
        touches=tuple(touches),
        present=tuple(present),
        revocations_known=revocations_known,
        limits_known=told.limits_known,
        digest=told.digest,
        leaving=told.leaving,
        promises=tuple(promises),
        calls_known=calls_known,
        sessions_used=tuple(sessions_used),
    )


def told(report: SyncReport) -> Told:
    """What a report says about grants."""
    return Told(
        incarnation=report.incarnation,
        sequence=report.sequence,
        epoch=report.epoch,
        cells={(c.pool, c.population): Holding(c.held, c.used) for c in report.cells},
        wants=[((c.pool, c.population), c.want, c.want_age_ms) for c in report.cells if c.want > 0],
        limits_known=report.limits_known,
        digest=report.digest,
        leaving=report.leaving,
    )
