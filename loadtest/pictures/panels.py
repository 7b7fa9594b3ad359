"""A dashboard as Grafana would lay it out, drawn by matplotlib from what a real Prometheus answers
to the committed queries: a way to look at the panels where there is no Grafana.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, DateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from loadtest.pictures.prometheus import Prometheus, filled_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

COLUMN, ROW = 60, 36  # pixels of Grafana's grid
TOP, GAP, DPI = 46, 4, 100
WINDOW, STEP = "15s", 2
PAPER, CARD, INK, QUIET, GRID = "#f4f5f5", "#ffffff", "#24292e", "#6a737d", "#e3e5e8"
#: Grafana's classic palette, darker where white paper wants it.
LINES = ("#3f8f4f", "#d99a00", "#3274d9", "#e0752d", "#c4162a", "#8f3bb8", "#1f9bb5", "#7a6a53")
BACKGROUNDS = {"green": "#3f8f4f", "orange": "#e0752d", "red": "#c4162a"}
PURPLE = "#8f3bb8"
Points = list[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Of one panel: (legend, points)."""

    drawn: tuple[tuple[str, Points], ...]

    @property
    def highest(self) -> float:
        values = (y for _, points in self.drawn for _, y in points)
        return max((y for y in values if math.isfinite(y)), default=0.0)


def draw(board: dict[str, Any], source: Prometheus, start: float, end: float) -> bytes:
    """PNG of all panels between two times (seconds since the epoch)."""
    panels: list[dict[str, Any]] = board["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * COLUMN, TOP + rows * ROW + GAP
    with mpl.rc_context({"font.size": 8, "axes.unicode_minus": False}):
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
        figure.text(12 / width, 1 - 15 / height, board["title"], size=12, weight="bold",
                    color=INK, va="center")  # fmt: skip
        figure.text(12 / width, 1 - 34 / height, board["description"], color=QUIET, va="center")
        changed = _changes(board, source, start, end)
        for panel in panels:
            at = panel["gridPos"]
            left, right = at["x"] * COLUMN + GAP, (at["x"] + at["w"]) * COLUMN - GAP
            top = TOP + at["y"] * ROW + GAP
            bottom = TOP + (at["y"] + at["h"]) * ROW - GAP
            box = (
                left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height,
            )  # fmt: skip
            lines = _asked(panel, source, start, end)
            kind = _number if panel["type"] == "stat" else _course
            kind(figure, box, panel, lines, changed, start, end)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", facecolor=PAPER)
    return picture.getvalue()


def _asked(panel: dict[str, Any], source: Prometheus, start: float, end: float) -> Lines:
    found = []
    for target in panel["targets"]:
        query = filled_in(target["expr"], WINDOW)
        answer = source.ask("query_range", query=query, start=start, end=end, step=STEP)
        for series in answer["result"]:
            name = re.sub(
                r"{{(\w+)}}",
                lambda label, series=series: series["metric"].get(label[1], ""),  # type: ignore[misc]
                target["legendFormat"],
            )
            found.append((name, _with_gaps(series["values"])))
    return Lines(tuple(found))


def _with_gaps(values: list[tuple[float, str]]) -> Points:
    """Points, with one that is no number wherever a step is missing."""
    points: Points = []
    before = math.inf
    for at, text in values:
        if at - before > 1.5 * STEP:
            points.append((datetime.fromtimestamp(before + STEP).astimezone(), math.nan))
        points.append((datetime.fromtimestamp(at).astimezone(), float(text)))
        before = at
    return points


def _changes(
    board: dict[str, Any], source: Prometheus, start: float, end: float
) -> Sequence[datetime]:
    """When the annotation says that capacity changed: the first moment of each change."""
    (note,) = board["annotations"]["list"]
    query = note["expr"].replace("[1m]", "[3s]")
    answer = source.ask("query_range", query=query, start=start, end=end, step=1)
    times = [float(at) for series in answer["result"] for at, _ in series["values"]]
    return [
        datetime.fromtimestamp(at).astimezone()
        for before, at in zip([-math.inf, *times], times, strict=False)
        if at - before > 1.5
    ]


def _card(figure: Figure, box: tuple[float, float, float, float], colour: str) -> None:
    figure.add_artist(
        FancyBboxPatch(
            box[:2], box[2], box[3], boxstyle="square,pad=0", transform=figure.transFigure,
            facecolor=colour, edgecolor=GRID, linewidth=0.8, zorder=-1,
        )
    )  # fmt: skip


def _inner(
    figure: Figure, box: tuple[float, float, float, float],
    left: float, bottom: float, right: float, top: float,
) -> Axes:  # fmt: skip
    """Axes with margins in pixels."""
    width, height = figure.get_size_inches() * DPI
    return figure.add_axes(
        (
            box[0] + left / width,
            box[1] + bottom / height,
            box[2] - (left + right) / width,
            box[3] - (bottom + top) / height,
        )
    )


def _number(
    figure: Figure, box: tuple[float, float, float, float], panel: dict[str, Any], lines: Lines,
    changed: Sequence[datetime], start: float, end: float,
) -> None:  # fmt: skip
    """The last value in large on the colour of its threshold, its course behind it."""
    values = [y for _, points in lines.drawn for _, y in points[-1:]]
    colour = "#8a9199"
    if values:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        reached = [s["color"] for s in steps if s["value"] is None or values[0] >= s["value"]]
        colour = BACKGROUNDS[reached[-1]]
    _card(figure, box, colour)
    axes = _inner(figure, box, 0, 0, 0, 0)
    axes.set_axis_off()
    axes.patch.set_alpha(0)
    for _, points in lines.drawn:
        x, y = [date2num(at) for at, _ in points], [value for _, value in points]
        axes.fill_between(x, y, color="white", alpha=0.22, linewidth=0)
        axes.plot(x, y, color="white", alpha=0.7, lw=1)
    axes.set_ylim(0, max(lines.highest * 3, 1e-9))
    axes.set_xlim(_time(start), _time(end))
    axes.text(0.04, 0.9, panel["title"], transform=axes.transAxes, color="white", size=9,
              weight="bold", va="top")  # fmt: skip
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    text = told(values[0], unit) if values else "no data"
    axes.text(0.5, 0.56, text, transform=axes.transAxes, color="white", size=25, weight="bold",
              ha="center", va="center")  # fmt: skip


def _course(
    figure: Figure, box: tuple[float, float, float, float], panel: dict[str, Any], lines: Lines,
    changed: Sequence[datetime], start: float, end: float,
) -> None:  # fmt: skip
    _card(figure, box, CARD)
    axes = _inner(figure, box, 52, 50, 14, 34)
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    width, height = figure.get_size_inches() * DPI
    pixels, across = box[3] * height - 84, box[2] * width - 66
    axes.text(0, 1 + 20 / pixels, panel["title"], transform=axes.transAxes, color=INK, size=9,
              weight="bold", va="center")  # fmt: skip
    axes.text(0, 1 + 7 / pixels, textwrap.shorten(panel["description"], 86, placeholder=" ..."),
              transform=axes.transAxes, color=QUIET, size=6.5, va="center")  # fmt: skip
    axes.set_facecolor(CARD)
    for at in changed:
        axes.axvline(date2num(at), color=PURPLE, lw=0.8, ls=(0, (2, 3)), alpha=0.7, zorder=1)
    for number, (name, points) in enumerate(lines.drawn):
        colour = LINES[number % len(LINES)]
        x, y = [date2num(at) for at, _ in points], [value for _, value in points]
        limit = re.search(r"limit|configured|expected", name)
        # What is nothing all the time needs no name below: there can be ten of them.
        named = name if lines.highest == 0 or any(value > 0 for value in y) else None
        axes.plot(x, y, color=colour, lw=1.4, ls=(0, (5, 3)) if limit else "-", label=named,
                  zorder=3)  # fmt: skip
        if not limit:
            axes.fill_between(x, y, color=colour, alpha=0.1, linewidth=0, zorder=2)
    axes.set_ylim(0, lines.highest * 1.1 if lines.highest > 0 else 1)
    axes.set_xlim(_time(start), _time(end))
    here = datetime.now().astimezone().tzinfo
    axes.xaxis.set_major_locator(AutoDateLocator(tz=here, minticks=3, maxticks=6))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M", tz=here))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=unit == "short"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: told(value, unit)))
    axes.grid(axis="y", color=GRID, lw=0.7)
    axes.tick_params(length=0, colors=QUIET, labelsize=7)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if any(name for name, _ in lines.drawn):
        axes.legend(
            loc="upper left", bbox_to_anchor=(-44 / across, -14 / pixels), ncols=4, frameon=False,
            fontsize=7, labelcolor=INK, handlelength=1.2, columnspacing=1.2, borderaxespad=0.3,
        )  # fmt: skip
    if not lines.drawn:
        axes.text(0.5, 0.5, "nothing in this time", transform=axes.transAxes, color=QUIET,
                  ha="center", va="center")  # fmt: skip


def _time(seconds: float) -> float:
    return float(date2num(datetime.fromtimestamp(seconds).astimezone()))


def told(value: float, unit: str) -> str:
    """A value as Grafana writes its unit."""
    if unit == "percentunit":
        return f"{100 * value:.3g}%"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
    if unit == "reqps":
        return f"{value:.3g}/s"
    if unit == "Bps":
        for size, name in ((1e6, "MB/s"), (1e3, "kB/s")):
            if value >= size:
                return f"{value / size:.3g} {name}"
        return f"{value:.3g} B/s"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.3g}"
