"""The guard of a ramp: windows of what servers answered, each judged against the time before.

Workers report counters that only grow. A window is the difference between two readings of every
live worker; one that lacks a worker at either end, or holds too few responses, is no evidence: it
neither breaches nor lets a ramp go on. Pure: the steward brings readings and ledger time.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # stored between stewards by its types
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from broker.policy.capacity import GuardRule

BOUNDS: tuple[float, ...] = (  # said, or compiled code makes 26 new floats at each use
    0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075,
    0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds, in seconds, of the buckets in which times to the first byte are counted; one more
bucket takes what is above the last."""

Verdict = Literal["none", "incomplete", "little", "good", "breach"]


@dataclass(frozen=True, slots=True)
class Figures:
    """One pool on one worker, since that worker started: final responses by time to their first
    byte, those that were 5xx (a server's, or ours because it did not answer), and attempts that
    found no connection. For what-if: exchanges (no WebSockets) that gave their connection back, how
    long they had held it together, and WebSockets open at this moment."""

    buckets: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    failed: int = 0
    undialled: int = 0
    held: int = 0
    held_seconds: float = 0.0
    tunnels: int = 0


@dataclass(frozen=True, slots=True)
class Load:
    """What one pool carried in a whole window: ``exchanges`` that ended, how many a second, how
    long (seconds) each held its connection on average, and the WebSockets open at its end."""

    exchanges: int
    per_second: float
    seconds: float
    tunnels: int

    @property
    def connections(self) -> float:
        """In use on average: Little's law (1961), plus the WebSockets."""
        return self.per_second * self.seconds + self.tunnels


@dataclass(frozen=True, slots=True)
class PoolWatch:
    """What the guard knows of one pool.

    ``opened``: figures by incarnation when the window now open began; ``whole``: whether that was
    every live worker. ``verdict`` and ``text``: of the last window that was closed. ``evidence``:
    windows judged good or breach since the watch was started anew; ``breaches``: those in breach
    at the end of that row. ``p95``: of the last window with enough responses, in seconds.
    ``load``: of the last window that every worker reported throughout.
    """

    opened_ms: int
    opened: Mapping[str, Figures] = field(default_factory=dict)
    whole: bool = False
    verdict: Verdict = "none"
    text: str = ""
    evidence: int = 0
    breaches: int = 0
    p95: float | None = None
    load: Load | None = None


def open_watch(
    readings: Mapping[str, Figures | None], now_ms: int, *, before: PoolWatch | None = None
) -> PoolWatch:
    """A first window from here on. ``readings``: of every live worker, None where it is unknown.
    What was learnt ``before`` of the times stays; verdicts start anew."""
    return PoolWatch(
        now_ms,
        {worker: each for worker, each in readings.items() if each is not None},
        whole=None not in readings.values(),
        p95=before.p95 if before is not None else None,
        load=before.load if before is not None else None,
    )


def look(
    watch: PoolWatch,
    readings: Mapping[str, Figures | None],
    rule: GuardRule,
    baseline: float | None,
    now_ms: int,
) -> PoolWatch:
    """The watch after a reading: the same while its window is open, else judged and opened anew."""
    if now_ms - watch.opened_ms < rule.window_ms:
        return watch
    following = open_watch(readings, now_ms, before=watch)
    kept = replace(following, evidence=watch.evidence, breaches=watch.breaches)
    if not (watch.whole and following.whole and watch.opened.keys() <= readings.keys()):
        return replace(kept, verdict="incomplete", text="a worker did not report throughout")
    seen = difference(watch.opened, following.opened)
    kept = replace(kept, load=_load(seen, now_ms - watch.opened_ms))
    responses = sum(seen.buckets)
    if responses < rule.responses:
        text = f"{responses} responses are too few to judge"
        return replace(kept, verdict="little", text=text)
    p95 = quantile(seen.buckets, 0.95)
    wrong = _breach(seen, responses, p95, rule, baseline)
    text = wrong or f"p95 {1000 * p95:.0f} ms over {responses} responses"
    return replace(
        kept,
        verdict="breach" if wrong else "good",
        text=text,
        evidence=watch.evidence + 1,
        breaches=watch.breaches + 1 if wrong else 0,
        p95=p95,
    )


def slowest_allowed(rule: GuardRule, baseline: float) -> float:
    """The 95th percentile, in seconds, above which a window is a breach."""
    return max(rule.slower * baseline, baseline + rule.slower_ms / 1000)


def quantile(buckets: tuple[int, ...], share: float) -> float:
    """The time below which ``share`` (0..1) of the responses began, in seconds: linear inside its
    bucket; the last bound for what is above it."""
    wanted = share * sum(buckets)
    below = 0.0
    lower = 0.0
    for count, upper in zip(buckets, BOUNDS, strict=False):
        if count and below + count >= wanted:
            return lower + (upper - lower) * (wanted - below) / count
        below += count
        lower = upper
    return BOUNDS[-1]


def _breach(
    seen: Figures, responses: int, p95: float, rule: GuardRule, baseline: float | None
) -> str:
    """What is wrong, with the numbers; empty when nothing is."""
    if baseline is not None and p95 > (most := slowest_allowed(rule, baseline)):
        return (
            f"p95 {1000 * p95:.0f} ms is above {1000 * most:.0f} ms"
            f" ({1000 * baseline:.0f} ms before the raise)"
        )
    failed = seen.failed / responses
    if failed > rule.failed:
        return f"{failed:.1%} of {responses} responses are 5xx, more than {rule.failed:.1%}"
    attempts = responses + seen.undialled
    undialled = seen.undialled / attempts
    if undialled > rule.undialled:
        return (
            f"{undialled:.1%} of {attempts} attempts found no connection,"
            f" more than {rule.undialled:.1%}"
        )
    return ""


def _load(seen: Figures, window_ms: int) -> Load:
    return Load(
        exchanges=seen.held,
        per_second=1000 * seen.held / window_ms,
        seconds=seen.held_seconds / seen.held if seen.held else 0.0,
        tunnels=seen.tunnels,
    )


def difference(before: Mapping[str, Figures], after: Mapping[str, Figures]) -> Figures:
    """All workers together; one that started meanwhile counted from 0."""
    buckets = [0] * (len(BOUNDS) + 1)
    failed = undialled = held = tunnels = 0
    held_seconds = 0.0
    for worker, now in after.items():
        then = before.get(worker, Figures())
        for index, count in enumerate(now.buckets):
            buckets[index] += count - then.buckets[index]
        failed += now.failed - then.failed
        undialled += now.undialled - then.undialled
        held += now.held - then.held
        held_seconds += now.held_seconds - then.held_seconds
        tunnels += now.tunnels
    return Figures(tuple(buckets), failed, undialled, held, held_seconds, tunnels)
