"""Puts a run into ``FOLDER/NAME-TIME/`` and points ``FOLDER/latest`` at it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.report.model import dump
from loadtest.report.page import html

if TYPE_CHECKING:
    from loadtest.report.model import Run

REPORTS = Path(__file__).resolve().parents[1] / "reports"


def write(run: Run, folder: Path = REPORTS) -> Path:
    """The new folder, with ``report.json`` and ``report.html`` in it. Two runs of one second get
    folders of their own. ``latest`` is replaced at once: whoever looks sees the old or the new."""
    stamp = run.started.replace(":", "").replace("-", "")
    place, number = folder / f"{run.name}-{stamp}", 1
    while True:
        try:
            place.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
            place = folder / f"{run.name}-{stamp}-{number}"
    (place / "report.json").write_bytes(dump(run))
    (place / "report.html").write_text(html(run), "utf-8")
    fresh = folder / f".latest-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(place.name)
    fresh.replace(folder / "latest")
    return place
