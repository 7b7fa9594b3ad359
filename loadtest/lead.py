"""The process that leads a run: it watches the site, does what operations do, shows how it goes,
and writes the report.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent

from broker.errors import BrokerError
from loadtest.evidence import Evidence
from loadtest.operations import NotPossible, Operations
from loadtest.plan import SETTLE_SECONDS
from loadtest.progress import Progress
from loadtest.report.model import Mark
from loadtest.report.writing import write
from loadtest.verdict import judge
from loadtest.watch import Watch

if TYPE_CHECKING:
    import argparse

    from locust.env import Environment
    from locust.runners import LocalRunner, MasterRunner

    from loadtest.crew import Crew
    from loadtest.scenarios import Step


class Lead:
    """One run. ``begin`` hooks it into Locust; the rest happens by its events."""

    def __init__(
        self, environment: Environment, runner: MasterRunner | LocalRunner, crew: Crew
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._crew = crew
        self._watch = Watch(crew.site)
        self._operations: Operations | None = None
        if crew.site.admin and crew.site.admin_token:
            self._operations = Operations(crew.site, crew.plan.at(1))
        self._marks: list[Mark] = []
        self._cpu: dict[str, float] = {}
        self._began = 0.0
        self._present: list[tuple[float, float | None]] = []
        self._tasks: list[gevent.Greenlet[..., Any]] = []
        self._trouble: list[str] = []
        self._progress = Progress(sys.stderr, crew.plan)

    def begin(self, options: argparse.Namespace) -> None:
        events = self._environment.events
        self._reports = Path(options.reports)
        events.test_start.add_listener(self._start)
        events.worker_report.add_listener(self._heard)
        events.quitting.add_listener(self._quit)
        self._runner.register_message("cut", self._cut_here)

    # --- events

    def _start(self, **_: Any) -> None:
        self._began = time.time()
        self._watch.look(0.0)
        self._tasks = [gevent.spawn(self._keep_watching), gevent.spawn(self._operate)]

    def _heard(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if "notes" in data:
            self._crew.recorder.merge(data["notes"])
        self._cpu[client_id] = data.get("cpu") or 0.0

    def _cut_here(self, msg: Any, **_: Any) -> None:
        self._crew.cut()

    def _quit(self, **_: Any) -> None:
        """The end, whatever led to it: the verdict is the exit code."""
        if not self._began:
            return
        for task in self._tasks:
            task.kill()
        self._watch.look(self._busiest())
        run = judge(
            Evidence(
                plan=self._crew.plan,
                site=self._crew.site,
                began=self._began,
                ended=time.time(),
                notes=self._crew.recorder.notes,
                watch=self._watch,
                present=self._present,
                marks=self._marks,
                trouble=self._trouble,
                started=datetime.fromtimestamp(self._began, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                workers=max(1, len(self._cpu)),
                command=os.environ.get("LOADTEST_COMMAND") or shlex.join(["locust", *sys.argv[1:]]),
            )
        )
        folder = write(run, self._reports)
        self._progress.end(run, folder)
        if self._environment.process_exit_code is None:
            self._environment.process_exit_code = 0 if run.ok else 1

    # --- meanwhile

    def _keep_watching(self) -> None:
        while True:
            due = time.monotonic() + 1.0
            now = time.time() - self._began
            self._present.append((now, float(self._runner.user_count)))
            self._watch.look(self._busiest())
            last = self._watch.samples[-1] if self._watch.samples else None
            self._progress.show(
                now, self._runner.user_count, last, self._crew.recorder.notes, self._began
            )
            gevent.sleep(max(0.05, due - time.monotonic()))

    def _busiest(self) -> float:
        return max([self._runner.current_cpu_usage, *self._cpu.values()])

    def _operate(self) -> None:
        """Every step of the scenario at its time."""
        for step in self._crew.plan.scenario.steps:
            at = self._began + self._crew.plan.at(step.minute)
            gevent.sleep(max(0.0, at - time.time()))
            self._mark({"raise": f"raise to {step.factor:g}x", "lower": "lowered",
                        "cut": "the network is cut"}[step.do])  # fmt: skip
            try:
                self._do(step)
            except (NotPossible, BrokerError) as error:
                self._mark(f"{step.do} failed")
                self._trouble.append(f"{step.do}: {error}")

    def _do(self, step: Step) -> None:
        if step.do == "cut":
            self._runner.send_message("cut", None)
            return
        if self._operations is None:
            raise NotPossible("no admin API: set BROKER_ADMIN_URL and BROKER_ADMIN_TOKEN")
        site = self._crew.site
        if step.do == "raise":
            # It outlasts the run by a little, and ends by itself should the run be broken off.
            left = self._crew.plan.seconds - (time.time() - self._began) + 2 * SETTLE_SECONDS
            self._operations.raise_to(step.factor, [*site.mobile, *site.others], left)
        else:
            self._operations.lower(step.factor)

    def _mark(self, text: str) -> None:
        self._marks.append(Mark(at=time.time() - self._began, text=text))
