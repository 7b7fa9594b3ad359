"""The answer in plain words: what is safe, what breaks first, what to add."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from broker.scaling.answer import SAME_LEVEL, Answer
from broker.scaling.fit import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.scaling.fit import Fit


def about(each: Answer, scale: float) -> list[str]:
    """Sentences about one pool. ``scale``: what it is wanted to carry."""
    if each.fit is None or not each.answered:
        return [f"No answer: {reason}." for reason in each.refused]
    found = [_safe(each, each.fit), _beyond(each.fit), _why(each.fit)]
    if each.errors_from is not None:
        found.append(
            f"Errors began at {_number(each.errors_from)} in flight"
            + (
                ", before the knee: what refuses there comes first, and the safe load is below it."
                if each.errors_from / SAME_LEVEL <= each.fit.knee.low
                else "."
            )
        )
    if each.base is not None:
        found.append(_add(each, each.fit, each.base, scale))
    return found


def breaks_first(answers: Sequence[Answer]) -> str:
    """``answers`` with the tightest first."""
    known = [each for each in answers if each.answered]
    unknown = [each.pool for each in answers if not each.answered]
    if not known:
        return "No pool's figures carry an answer, so nothing is said about what is safe."
    first = known[0]
    if first.safe_scale is not None:
        text = f"{first.pool} breaks first: beyond {_scale(first.safe_scale)} of its base."
    else:
        text = f"{first.pool} breaks first, in the mix of this run."
    if unknown:
        text += f" Of {' and '.join(unknown)} nothing is known: it may be sooner."
    return text


def as_json(answers: Sequence[Answer], scale: float) -> dict[str, Any]:
    """For scripts. Null where nothing bounds a figure or it is not known."""
    pools = {}
    for each in answers:
        pools[each.pool] = {
            "answered": each.answered,
            "refused": list(each.refused),
            "safe_in_flight": each.safe if each.answered else None,
            "safe_scale": each.safe_scale,
            "errors_from": each.errors_from,
            "measured_to": each.measured_to,
            "fit": None if each.fit is None else _fit(each.fit),
            "words": about(each, scale),
        }
    first = next((each.pool for each in answers if each.answered), None)
    return {"confidence": CONFIDENCE, "scale": scale, "breaks_first": first, "pools": pools}


def _fit(fit: Fit) -> dict[str, Any]:
    law = fit.law
    return {
        "alone_per_second": law.alone,
        "contention": [law.contention, fit.contention.low, _finite(fit.contention.high)],
        "coherency": [law.coherency, fit.coherency.low, _finite(fit.coherency.high)],
        "knee": [_finite(law.knee()), fit.knee.low, _finite(fit.knee.high)],
        "peak": _finite(law.peak()),
        "ceiling_per_second": _finite(law.ceiling()),
        "scatter": fit.scatter,
    }


def _safe(each: Answer, fit: Fit) -> str:
    law, safe = fit.law, each.safe
    text = (
        f"Safe up to {_number(safe)} exchanges in flight: {_number(law.throughput(safe))} a second "
        f"of {_time(law.seconds(safe))} each ({_time(law.seconds(1.0))} alone). The knee lies at "
        f"{_number(law.knee())}, between {_number(fit.knee.low)} and {_number(fit.knee.high)} "
        f"({CONFIDENCE:.0%} confidence); measured up to {_number(each.measured_to)}."
    )
    if each.safe_scale is not None and each.base is not None:
        text += f" That is {_scale(each.safe_scale)} of the base of {_number(each.base)}."
    return text


def _beyond(fit: Fit) -> str:
    law = fit.law
    if fit.coherency.low > 0.0:
        return (
            f"Beyond it everybody waits longer for little more throughput, and past "
            f"{_number(law.peak())} in flight there is less of it: the most is "
            f"{_number(law.ceiling())} a second."
        )
    return (
        "Beyond it everybody waits longer for little more throughput, which levels off at "
        f"{_number(law.ceiling())} a second."
    )


def _why(fit: Fit) -> str:
    law, knee = fit.law, fit.law.knee()
    shares = (
        f"contention {_interval(law.contention, fit.contention.low, fit.contention.high)}, "
        f"coherency {_interval(law.coherency, fit.coherency.low, fit.coherency.high)}"
    )
    if law.coherency * knee > law.contention:
        cause = (
            "the exchanges in flight hinder each other in pairs (shared state, locks handed to and "
            "fro, caches that invalidate each other), which grows with the square of the load"
        )
    else:
        cause = (
            "all exchanges take turns at one thing (a lock, a database connection, a CPU), and "
            "wait in line for it"
        )
    return f"What limits it: {cause}. {shares[0].upper()}{shares[1:]}."


def _add(each: Answer, fit: Fit, base: float, scale: float) -> str:
    needed = scale * base
    if needed <= each.safe:
        return f"{scale:g}x ({_number(needed)} in flight) is safe with what is there."
    times = needed / each.safe
    text = (
        f"For {scale:g}x ({_number(needed)} in flight) add servers, {_number(times)} times as many "
        "as were measured, if what limits is inside each server"
    )
    behind = "; if it lies behind all of them (a database, a file server), more servers make it "
    worse = fit.law.coherency * fit.law.knee() > fit.law.contention
    return text + behind + ("worse: relieve that first." if worse else "no faster: add there.")


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2%} ({low:.2%} to {high:.2%})" if value >= 1e-4 else f"{value:.2g}"


def _scale(scale: float) -> str:
    return f"{math.floor(scale * 10) / 10:g}x"


def _number(value: float) -> str:
    if math.isinf(value):
        return "no end"
    return f"{value:,.0f}" if value >= 20 else f"{value:.2g}"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2g} s"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
