"""The measured throughput and the fitted law as one SVG per pool: what the words are based on.

Drawn by hand: the broker is installed without a plotting library. It follows the reader's choice of
light or dark.
"""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.scaling.answer import Answer

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 44, 46
_STYLE = """
:root { color-scheme: light dark }
svg { --ink: #1d2733; --soft: #667; --grid: #d8dde3; --line: #1f5fc4; --safe: #16823a; --back: #fff;
  font: 12px system-ui, sans-serif; fill: var(--ink); background: var(--back) }
@media (prefers-color-scheme: dark) { svg { --ink: #e8edf2; --soft: #9ab; --grid: #33404d;
  --line: #7fb0ff; --safe: #5bd083; --back: #11181f } }
"""


def svg(answers: Sequence[Answer]) -> str:
    """One picture, a panel for each pool that was fitted, the tightest first."""
    shown = [each for each in answers if each.fit is not None]
    panels = "".join(_panel(each, number * HEIGHT) for number, each in enumerate(shown))
    height = max(1, len(shown)) * HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-label="Throughput by load">'
        f"<style>{_STYLE}</style>{panels}</svg>\n"
    )


def _panel(each: Answer, top: int) -> str:
    if each.fit is None:
        return ""
    law, knee = each.fit.law, each.fit.knee
    farthest = each.measured_to * 1.1
    curve = [
        (farthest * step / 120, law.throughput(farthest * step / 120)) for step in range(1, 121)
    ]
    highest = 1.12 * max([y for _, y in curve] + [y for _, y in each.points])

    def x(load: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(load, farthest) / farthest

    def y(rate: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(rate, highest) / highest

    parts = [f'<g transform="translate(0 {top})">']
    parts.append(f'<text x="{LEFT}" y="20" font-weight="600">{escape(each.pool)}</text>')
    said = f"safe up to {each.safe:.3g} in flight" if each.answered else "no answer"
    parts.append(f'<text x="{WIDTH - RIGHT}" y="20" text-anchor="end">{said}</text>')
    parts += [
        f'<path d="M{LEFT} {y(rate):.1f}H{WIDTH - RIGHT}" stroke="var(--grid)"/>'
        f'<text x="{LEFT - 8}" y="{y(rate) + 4:.1f}" text-anchor="end" fill="var(--soft)">'
        f"{rate:g}</text>"
        for rate in _ticks(highest)
    ]
    parts += [
        f'<text x="{x(load):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" '
        f'fill="var(--soft)">{load:g}</text>'
        for load in _ticks(farthest)
    ]
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle" '
        'fill="var(--soft)">exchanges in flight</text>'
        f'<text x="{LEFT - 8}" y="{TOP - 10}" text-anchor="end" fill="var(--soft)">per s</text>'
    )
    if knee.low < farthest:
        parts.append(
            f'<rect x="{x(knee.low):.1f}" y="{TOP}" width="{x(knee.high) - x(knee.low):.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}" fill="var(--line)" opacity="0.12"/>'
            f'<text x="{x(knee.low) + 4:.1f}" y="{TOP + 12}" fill="var(--soft)">knee</text>'
        )
    ideal = min(farthest, highest / law.alone)
    parts.append(
        f'<path d="M{x(0):.1f} {y(0):.1f}L{x(ideal):.1f} {y(law.alone * ideal):.1f}" '
        'stroke="var(--soft)" stroke-dasharray="2 4" fill="none"/>'
    )
    path = "L".join(f"{x(load):.1f} {y(rate):.1f}" for load, rate in curve)
    parts.append(f'<path d="M{path}" stroke="var(--line)" stroke-width="2" fill="none"/>')
    parts += [
        f'<circle cx="{x(load):.1f}" cy="{y(rate):.1f}" r="3.5" fill="var(--ink)" opacity="0.6"/>'
        for load, rate in each.points
    ]
    if each.answered:
        parts.append(
            f'<path d="M{x(each.safe):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="var(--safe)" '
            'stroke-width="2"/>'
        )
    return "".join(parts) + "</g>"


def _ticks(highest: float) -> list[float]:
    """Round numbers from 0, at most six."""
    rough = highest / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * each for each in (1, 2, 5, 10) if size * each >= rough)
    return [round(step * number, 10) for number in range(int(highest / step) + 1)]
