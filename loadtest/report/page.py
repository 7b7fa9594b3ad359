"""``report.html``: one file, nothing fetched, light and dark, readable without scripts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtest.report.drawing import Drawing, clock, draw

if TYPE_CHECKING:
    from loadtest.report.model import Chart, Objective, Run

HERE = Path(__file__).parent
POINTS_KEPT = 400  # of each line, for the pointer; the drawing has all of them


def html(run: Run) -> str:
    """The page. Charts without any point are left out."""
    pages = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pages.filters.update(amount=amount, clock=clock, plain=plain)
    shown = [chart for chart in run.charts if any(series.points for series in chart.series)]
    drawn = [(chart, draw(chart, run.seconds, run.marks)) for chart in shown]
    return pages.get_template("page.html").render(
        run=run,
        style=Markup((HERE / "page.css").read_text("utf-8")),
        script=Markup((HERE / "page.js").read_text("utf-8")),
        timed=[pair for pair in drawn if pair[0].x == "time"],
        others=[pair for pair in drawn if pair[0].x == "number"],
        data=Markup(_for_script([_pointed(chart, drawing) for chart, drawing in drawn])),
        markup=Markup,
        marks=_placed(run),
        share=share,
    )


def amount(value: float | None, unit: str = "") -> str:
    """A number as people read it: 480 ms, 2.1 s, 3 min 20 s, 99.2 %, 41,000."""
    if value is None:
        return "not measured"
    if unit == "s":
        if value < 1:
            return f"{value * 1000:.0f} ms"
        if value < 120:
            return f"{value:.3g} s" if value < 100 else f"{value:.0f} s"
        if value < 7200:
            return f"{value // 60:.0f} min" + (f" {value % 60:.0f} s" if value < 1200 else "")
        return f"{value / 3600:.3g} h"
    if unit == "%":
        return f"{value:.3g} %"
    text = f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"
    return f"{text} {unit}".rstrip()


def plain(value: Any) -> str:
    """A parameter's value in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {plain(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(plain(each) for each in value)
    return amount(value) if isinstance(value, int | float) and not isinstance(value, bool) else str(
        value
    )  # fmt: skip


def share(objective: Objective) -> float:
    """How much of the limit is used, for a bar that is full at the limit; at most 1."""
    if objective.value is None:
        return 0.0
    if objective.limit <= 0:
        return 1.0 if objective.value > objective.limit else 0.0
    return max(0.0, min(1.0, objective.value / objective.limit))


def _placed(run: Run) -> list[dict[str, Any]]:
    """Marks in rows, so that their words do not lie on each other."""
    ends: list[float] = []
    placed = []
    for mark in sorted(run.marks, key=lambda each: each.at):
        left = 100 * mark.at / max(run.seconds, 1.0)
        width = 0.75 * len(mark.text) + 1.5
        flipped = left + width > 100
        start, end = (left - width, left) if flipped else (left, left + width)
        row = next((row for row, last in enumerate(ends) if last <= start), len(ends))
        ends[row : row + 1] = [end]
        placed.append({"left": left, "row": row, "text": mark.text, "flipped": flipped})
    return placed


def _pointed(chart: Chart, drawing: Drawing) -> dict[str, Any]:
    return {
        "id": chart.id,
        "unit": chart.unit,
        "time": chart.x == "time",
        "log": chart.log,
        "box": drawing.box,
        "x": drawing.x,
        "y": drawing.y,
        "series": [
            {
                "name": series.name,
                "role": series.role,
                "step": series.style in ("step", "area"),
                "points": [
                    (round(x, 2), y if y is None else float(f"{y:.4g}"))
                    for x, y in series.points[:: max(1, len(series.points) // POINTS_KEPT)]
                ],
            }
            for series in chart.series
        ],
    }


def _for_script(value: Any) -> str:
    """JSON inside ``<script>``: nothing in it may end the element (WHATWG HTML, 4.12.1.3)."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
