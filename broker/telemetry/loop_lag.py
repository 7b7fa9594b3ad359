"""How late the event loop is: a periodic timer that measures by how much it was missed.

A loop that runs 200 ms late makes every browser on this worker wait 200 ms, whatever the backends
do; no request metric shows it as clearly. The clock and the sleep are injected; the histogram is
exported as ``broker_event_loop_lag_seconds``.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from broker.telemetry import names
from broker.telemetry.exposition import Exposition, HistogramValues

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class LoopLag:
    """Run ``run`` as one task of the process's TaskGroup."""

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        every: float = 0.1,
    ) -> None:
        """``clock``: monotonic seconds; ``sleep`` and ``every``: seconds."""
        self._clock = clock
        self._sleep = sleep
        self._every = every
        self.buckets = [0] * (len(names.LOOP_LAG.bounds) + 1)
        self.seconds = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._clock() + self._every
            await self._sleep(self._every)
            self.observe(max(0.0, self._clock() - due))

    def observe(self, seconds: float) -> None:
        self.buckets[bisect_left(names.LOOP_LAG.bounds, seconds)] += 1
        self.seconds += seconds

    def export(self, exposition: Exposition) -> None:
        exposition.expose_histogram(
            names.LOOP_LAG, lambda: {(): HistogramValues(self.buckets, self.seconds)}
        )
