"""How a run goes, in one line: written over on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, TextIO

from broker.demo.announcement import shown
from loadtest.measure import histogram
from loadtest.report.drawing import clock
from loadtest.report.page import amount

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.measure.recorder import Notes
    from loadtest.plan import Plan
    from loadtest.report.model import Run
    from loadtest.watch import Sample

BAR = 20
ELSEWHERE_EVERY = 10.0
WINDOW = 10  # seconds that latency is shown of


class Progress:
    def __init__(self, out: TextIO, plan: Plan) -> None:
        self._out = out
        self._plan = plan
        self._live = out.isatty()
        self._next = 0.0

    def show(
        self, now: float, present: int, sample: Sample | None, notes: Notes, began: float
    ) -> None:
        """``now``: seconds since ``began`` (since the epoch)."""
        if not self._live and now < self._next:
            return
        self._next = now + ELSEWHERE_EVERY
        line = self.line(now, present, sample, notes, began)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            line = "\r" + line[:width].ljust(width)
        self._write(line if self._live else line + "\n")

    def line(
        self, now: float, present: int, sample: Sample | None, notes: Notes, began: float
    ) -> str:
        done = min(1.0, now / self._plan.seconds)
        bar = "#" * round(BAR * done) + "." * (BAR - round(BAR * done))
        parts = [f"{present} present"]
        if sample is not None:
            seats, limit = (
                sample.sum("broker_seats_occupied"),
                sample.sum("broker_site_seats_limit"),
            )
            waiting = sample.sum("broker_waiting_employees")
            parts.append(f"{seats or 0:.0f} of {limit or 0:.0f} seats")
            parts.append(f"{waiting or 0:.0f} waiting")
        recent = range(int(began + now) - WINDOW, int(began + now) + 1)
        pages = notes.latency.get("page", {})
        views = histogram.total(pages.get(second, {}) for second in recent)
        parts.append(f"{sum(views.values()) / WINDOW:.1f} views/s")
        parts.append(f"p99 {amount(histogram.quantile(views, 0.99), 's') if views else '-'}")
        parts.append(f"{sum(each.count for each in notes.failures.values())} errors")
        return f"[{bar}] {clock(now)}/{clock(self._plan.seconds)}  " + "  ".join(parts)

    def end(self, run: Run, folder: Path) -> None:
        """The verdict, an objective a line."""
        lines = ["\n" if self._live else ""]
        for each in run.objectives:
            sign = ">=" if each.at_least else "<="
            lines.append(
                f"  {'ok  ' if each.ok else 'MISS'}  {each.name}: {amount(each.value, each.unit)}"
                f" ({sign} {amount(each.limit, each.unit)})"
            )
        verdict = "every objective is met" if run.ok else f"{len(run.missed())} missed"
        lines.append(f"{run.title}: {verdict}. {shown(folder / 'report.html')}")
        self._write("\n".join(lines) + "\n")

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads any more
            self._out.write(text)
            self._out.flush()
