"""One chart as SVG, drawn by matplotlib, coloured by the page's style sheet.

matplotlib lays out axes, ticks and lines; every colour it is given is a stand-in that is replaced
by a CSS variable afterwards, so that one drawing serves light and dark. Texts stay texts (they can
be selected and scale with the page). With the SVG comes what the page's script needs to find a
point under the pointer: where the axes lie, and their ranges.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from loadtest.report.model import Chart, Mark, Role, Series

WIDTH, HEIGHT = 9.6, 2.5  # inches at 100 px
_ROLES: tuple[Role, ...] = (
    "main", "second", "third", "fourth", "good", "bad", "warn", "limit", "quiet",
)  # fmt: skip
_STAND_INS = {name: f"#01{number:02x}07" for number, name in enumerate((*_ROLES, "ink", "grid"))}
_BACK = {hexadecimal: name for name, hexadecimal in _STAND_INS.items()}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "path.simplify": True,
    "path.simplify_threshold": 0.5,
}


@dataclass(frozen=True, slots=True)
class Drawing:
    """``box``: left, top, right, bottom of the axes as fractions of the picture; ``x``, ``y``: the
    ranges they span."""

    svg: str
    box: tuple[float, float, float, float]
    x: tuple[float, float]
    y: tuple[float, float]


def draw(chart: Chart, end: float, marks: Sequence[Mark]) -> Drawing:
    """``end``: where the shared time axis ends, in seconds."""
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=100)
        axes = figure.add_axes((0.062, 0.135, 0.925, 0.815))
        for series in chart.series:
            _line(axes, series)
        _scales(axes, chart, end)
        if chart.x == "time":
            for mark in marks:
                axes.axvline(mark.at, color=_STAND_INS["quiet"], lw=0.8, ls=(0, (2, 3)), zorder=1)
        _dress(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
        box = axes.get_position()
        (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
        return Drawing(
            _coloured(text.getvalue(), chart.id),
            (box.x0, 1 - box.y1, box.x1, 1 - box.y0),
            (float(x0), float(x1)),
            (float(y0), float(y1)),
        )


def _line(axes: Axes, series: Series) -> None:
    x = [point[0] for point in series.points]
    y = [math.nan if point[1] is None else point[1] for point in series.points]
    colour = _STAND_INS[series.role]
    if series.style == "dots":
        axes.scatter(x, y, s=14, color=colour, alpha=0.55, linewidths=0, zorder=3)
    elif series.style == "bars":
        width = min((b - a for a, b in itertools.pairwise(x)), default=1.0) * 0.86
        axes.bar(x, y, width=width, color=colour, alpha=0.85, zorder=3)
    elif series.style == "area":
        axes.fill_between(x, y, color=colour, alpha=0.18, linewidth=0, step="post", zorder=2)
        axes.step(x, y, where="post", color=colour, lw=1.4, zorder=3)
    else:
        dashes: dict[str, Any] = {"ls": (0, (5, 3))} if series.style == "dash" else {}
        how = "steps-post" if series.style == "step" else "default"
        axes.plot(x, y, color=colour, lw=1.6, drawstyle=how, zorder=4, **dashes)


def _scales(axes: Axes, chart: Chart, end: float) -> None:
    drawn = [y for line in chart.series for _, y in line.points if y is not None]
    if chart.x == "time":
        axes.set_xlim(0, max(end, 1.0))
        axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 3, 6, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))
    else:
        axes.margins(x=0.02)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    if chart.log and any(y > 0 for y in drawn):
        axes.set_yscale("log")
        lowest = min(y for y in drawn if y > 0)
        axes.set_ylim(lowest / 1.5, max(drawn) * 1.6)
        wide = max(drawn) / lowest > 1000
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        highest = max(drawn, default=0.0)
        axes.set_ylim(0, highest * 1.12 if highest > 0 else 1.0)
        axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _dress(axes: Axes) -> None:
    ink, grid = _STAND_INS["ink"], _STAND_INS["grid"]
    axes.grid(axis="y", color=grid, lw=0.8)
    axes.grid(axis="y", which="minor", visible=False)
    axes.set_axisbelow(True)
    axes.spines["bottom"].set_color(grid)
    axes.tick_params(which="both", length=0, colors=ink, pad=6)
    axes.tick_params(which="minor", labelleft=False)


def _coloured(svg: str, name: str) -> str:
    """Stand-ins become variables, ids become the chart's own, fonts and sizes the page's."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"#01[0-9a-f]{2}07", lambda found: f"var(--{_BACK[found[0]]})", body)
    body = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", body)
    body = re.sub(r"font: [^;\"]*", "font: 12px var(--font)", body)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    return re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", body, count=1)


def clock(seconds: float) -> str:
    """Time since the beginning: 0:45, 12:30, 1:05:00."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def short(value: float) -> str:
    """A number for an axis: 0.05, 12, 3.4k, 1.2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            scaled = value / (size / 10 if letter == "k" else size)
            return f"{scaled:.3g}{letter}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
