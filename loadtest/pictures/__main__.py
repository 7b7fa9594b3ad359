"""``make pictures``: one crisis-sixfold against a demo of its own, photographed on its way.

A real Chromium takes the pages, a real Prometheus gives the panels of the dashboards; the report is
the run's own. Pictures go to ``dashboards/pictures``. Exit codes: 0 all are drawn, 1 not all.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from broker.cli.client import AdminClient
from loadtest.model import LoadModel
from loadtest.own_demo import CHECKOUT, DemoError, own_demo
from loadtest.pictures import panels, shrink
from loadtest.pictures.prometheus import NoPrometheus, Prometheus, prometheus
from loadtest.pictures.shots import NoChromium, Photographer, chromium
from loadtest.plan import Plan
from loadtest.scenarios import SCENARIOS
from loadtest.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

PICTURES = CHECKOUT / "dashboards" / "pictures"
BOARDS = CHECKOUT / "dashboards" / "grafana"
SCENARIO = "crisis-sixfold"
SCALE = 400.0
FULL = 45.0  # the minute of the scenario at which the dashboards are looked at: all are there
#: Everything that README and RUNBOOK show; a test holds them against it.
PAGES = ("login", "feed", "my-session", "waiting-room", "console", "report")


class NotDrawn(Exception):
    """A picture could not be made; the text says why."""


def names() -> list[str]:
    """Of every picture, without the ending."""
    return [*PAGES, *sorted(f"dashboard-{path.stem}" for path in BOARDS.glob("*.json"))]


def main() -> int:
    plan = Plan(LoadModel(), SCENARIOS[SCENARIO], SCALE, SCENARIOS[SCENARIO].speed)
    PICTURES.mkdir(exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="pictures-") as folder, own_demo(plan) as known:
            _draw(plan, known, Path(folder))
    except (NotDrawn, DemoError, NoChromium, NoPrometheus, shrink.TooLarge) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _draw(plan: Plan, known: Path, folder: Path) -> None:
    site = msgspec.json.decode(known.read_bytes(), type=Site)
    reports, data = folder / "reports", folder / "prometheus"
    data.mkdir()
    with (
        prometheus(data, site.admin) as source,
        chromium() as browser,
        _load(known, reports) as load,
    ):
        began = time.time()
        photographer = Photographer(browser, site)
        _keep("login", photographer.login())
        feed, session = photographer.inside()
        _keep("feed", feed)
        _keep("my-session", session)
        _until(source, "sum(broker_waiting_employees) > 0", plan.at(plan.scenario.steps[0].minute))
        _keep("waiting-room", photographer.waiting(site.mobile[-1]))
        _until(source, "max(broker_capacity_scale) >= 2", 120)
        link = AdminClient(site.admin, site.admin_token).post("console-links", {})["url"]
        _keep("console", photographer.console(link))
        with contextlib.suppress(NotDrawn):  # it need not come so far that waits are foreseen
            _until(source, "max(broker_wait_estimate_seconds) > 0", 90)
            _keep("waiting-room", photographer.waiting(site.others[0]))
        load.wait(plan.seconds + 120)
        _draw_dashboards(source, began, began + plan.at(FULL))
        _keep("report", photographer.report(reports / "latest" / "report.html", 1500))


@contextlib.contextmanager
def _load(known: Path, reports: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [
            sys.executable, "-m", "loadtest", "run", SCENARIO, "--scale", f"{SCALE:g}",
            "--site", str(known), "--reports", str(reports),
        ],
        cwd=CHECKOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _until(source: Prometheus, query: str, longest: float) -> None:
    """Raises NotDrawn when it does not come true."""
    end = time.monotonic() + longest
    while not source.ask("query", query=query)["result"]:
        if time.monotonic() > end:
            raise NotDrawn(f"within {longest:.0f} s it did not happen that {query}")
        time.sleep(0.2)


def _draw_dashboards(source: Prometheus, start: float, end: float) -> None:
    for path in sorted(BOARDS.glob("*.json")):
        board = json.loads(path.read_text("utf-8"))
        _keep(f"dashboard-{path.stem}", panels.draw(board, source, start, end))


def _keep(name: str, picture: bytes | None) -> None:
    if picture is None:
        raise NotDrawn(f"there was nothing to see for {name}")
    size = shrink.write(picture, PICTURES / f"{name}.png")
    sys.stdout.write(f"  {name}.png  {size / 1024:.0f} KiB\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
