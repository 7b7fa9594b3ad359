"""What the data path counts, as plain integers: the only telemetry called once for each exchange.

The gateway keeps a ``PoolTraffic`` beside each pool and calls ``observe`` when an exchange ends
(about 0.3 us); everything else is an attribute to add to. ``Traffic`` exports them all at scrape
time. It takes no lock: one event loop counts and the same loop scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import TYPE_CHECKING

from broker.policy.guard import BOUNDS, Figures
from broker.telemetry import names
from broker.telemetry.exposition import Exposition, HistogramValues, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BOUNDS = names.REQUEST_SECONDS.bounds
_CLASSES = len(names.CODE_CLASSES)


class PoolTraffic:
    """The numbers of one pool on this worker."""

    __slots__ = ("answers", "buckets", "classes", "dial_failures", "failed_answers", "received",
                 "retries", "seconds", "sent", "tunnels")  # fmt: skip

    def __init__(self) -> None:
        self.classes = [0] * _CLASSES
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0
        self.dial_failures = 0
        self.retries = 0
        self.received = 0
        self.sent = 0
        self.tunnels = 0
        self.answers = [0] * (len(BOUNDS) + 1)
        self.failed_answers = 0

    def answered(self, status: int, seconds: float) -> None:
        """A server began its final response, or failed to and ``status`` is what we say instead;
        ``seconds`` since it was admitted. What the guard of a raise looks at: a
        stream that lasts an hour is not a slow answer."""
        self.answers[bisect_left(BOUNDS, seconds)] += 1
        if status >= 500:
            self.failed_answers += 1

    def figures(self) -> Figures:
        """For the guard, since this worker started."""
        return Figures(tuple(self.answers), self.failed_answers, self.dial_failures)

    def observe(self, status: int, seconds: float) -> None:
        """An exchange ended: ``status`` as sent to the browser (0: none could be sent), ``seconds``
        since its head was complete. A status outside 100..599 counts as none."""
        self.classes[status // 100 - 1 if 99 < status < 600 else -1] += 1
        self.buckets[bisect_left(_BOUNDS, seconds)] += 1
        self.seconds += seconds


class Traffic:
    """All pools of this worker, refusals, TLS handshakes, and open connections of browsers."""

    def __init__(self) -> None:
        self.pools: dict[str, PoolTraffic] = {}
        self.refused: dict[str, int] = dict.fromkeys(names.REFUSAL_REASONS, 0)
        self.handshakes: dict[str, int] = dict.fromkeys(names.HANDSHAKE_OUTCOMES, 0)
        self.client_connections = 0

    def pool(self, name: str) -> PoolTraffic:
        """The pool's numbers, made (all 0) on first use. Ask for every configured pool at start,
        so that its series are known before its first request."""
        found = self.pools.get(name)
        if found is None:
            found = self.pools[name] = PoolTraffic()
        return found

    def figures(self) -> dict[str, Figures]:
        """By pool, what the guard of a raise looks at."""
        return {name: pool.figures() for name, pool in self.pools.items()}

    def export(self, exposition: Exposition) -> None:
        """Register everything with this process's exposition."""
        exposition.expose(names.REQUESTS, self._requests)
        exposition.expose_histogram(names.REQUEST_SECONDS, self._request_seconds)
        for metric, attribute in (
            (names.DIAL_FAILURES, "dial_failures"),
            (names.RETRIES, "retries"),
            (names.RECEIVED_BYTES, "received"),
            (names.SENT_BYTES, "sent"),
            (names.TUNNELS_OPEN, "tunnels"),
        ):
            exposition.expose(metric, self._each(attrgetter(attribute)))
        exposition.expose(names.REFUSED, lambda: {(k,): v for k, v in self.refused.items()})
        exposition.expose(
            names.TLS_HANDSHAKES, lambda: {(k,): v for k, v in self.handshakes.items()}
        )
        exposition.expose(names.CLIENT_CONNECTIONS, lambda: {(): self.client_connections})

    def _each(self, get: Callable[[PoolTraffic], int]) -> Callable[[], Mapping[Labels, float]]:
        return lambda: {(name,): get(pool) for name, pool in self.pools.items()}

    def _requests(self) -> Mapping[Labels, float]:
        return {
            (name, code_class): count
            for name, pool in self.pools.items()
            for code_class, count in zip(names.CODE_CLASSES, pool.classes, strict=True)
        }

    def _request_seconds(self) -> Mapping[Labels, HistogramValues]:
        return {
            (name,): HistogramValues(pool.buckets, pool.seconds)
            for name, pool in self.pools.items()
        }
