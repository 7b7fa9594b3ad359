"""For Locust: ``locust -f loadtest/locustfile.py --scenario crisis-sixfold --headless``, alone, or
with ``--processes N``, or as ``--master --expect-workers N`` and ``--worker`` on many machines.

Joins the parts: options, the shape, employees, and on the process that leads the run the watch too,
operations, the progress line and the report. ``python -m loadtest run`` is this with less to type.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gevent
from locust import LoadTestShape, events
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from loadtest.browser import context_factory, localhost_is_here
from loadtest.crew import Crew
from loadtest.employee import Employee
from loadtest.lead import Lead
from loadtest.options import add_options, plan_of, site_of
from loadtest.plan import SETTLE_SECONDS
from loadtest.scenarios import SCENARIOS
from loadtest.site import SiteError

if TYPE_CHECKING:
    import argparse

    from locust.env import Environment

_log = logging.getLogger(__name__)
localhost_is_here()


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", default="weekday", choices=list(SCENARIOS))
    add_options(parser)


class Company(Employee):
    """The one class of users; everything about it is in ``employee.py``."""

    abstract = False
    host = "https://localhost"  # never used: every address is complete


class Curve(LoadTestShape):
    """So many employees at each moment as the scenario says; then nobody, until all is settled."""

    plan: Any = None

    def tick(self) -> tuple[int, float] | None:
        now = self.get_run_time()  # type: ignore[no-untyped-call]
        if now >= self.plan.seconds + SETTLE_SECONDS:
            return None
        present = self.plan.present(now)
        change = abs(present - self.get_current_user_count())  # type: ignore[no-untyped-call]
        return present, max(100.0, 2.0 * change)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    """Everything is checked here, before anybody comes."""
    options = environment.parsed_options
    if options is None:
        return
    runner = environment.runner
    if "LOADTEST_COMMAND" in os.environ:
        # Locust's closing tables would hide the verdict; whoever calls locust itself wants them.
        logging.getLogger("locust.stats_logger").disabled = True
    try:
        plan = plan_of(options.scenario, options)
        site = site_of(options, os.environ, Path.cwd())
        crew = Crew(plan, site)
    except SiteError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    Curve.plan = plan
    Employee.crew = crew
    Employee.ssl_context_factory = staticmethod(context_factory(site.ca))
    environment.stop_timeout = 30.0

    @environment.events.request.add_listener
    def _noted(
        name: str, response_time: float, exception: BaseException | None, start_time: float,
        url: str | None = None, **_: Any,
    ) -> None:  # fmt: skip
        at = start_time + response_time / 1000
        crew.recorder.count("requests", at)
        if exception is None:
            crew.recorder.request(name, at, response_time / 1000)
        else:
            crew.recorder.failed(f"{name}: {_kind(exception)}", at, url or name)

    @environment.events.user_error.add_listener
    def _broken(exception: BaseException, **_: Any) -> None:
        """A fault of the load generator itself is an error of the run, never silence."""
        crew.recorder.failed(f"load generator: {type(exception).__name__}", time.time(),
                             str(exception))  # fmt: skip

    if isinstance(runner, WorkerRunner):
        _follow(environment, runner, crew)
    elif isinstance(runner, MasterRunner | LocalRunner):
        Lead(environment, runner, crew).begin(options)


def _follow(environment: Environment, runner: WorkerRunner, crew: Crew) -> None:
    """A worker: takes its share of the names, tells what it notes, obeys a cut of the network."""

    @environment.events.test_start.add_listener
    def _share(**_: Any) -> None:
        options = environment.parsed_options
        crew.worker = max(0, runner.worker_index)
        crew.workers = max(1, options.expect_workers if options else 1)

    @environment.events.report_to_master.add_listener
    def _tell(data: dict[str, Any], **_: Any) -> None:
        data["notes"] = crew.recorder.take()
        data["cpu"] = runner.current_cpu_usage

    def cut(msg: Any, **_: Any) -> None:
        gevent.spawn(crew.cut)

    runner.register_message("cut", cut)


def _kind(exception: BaseException) -> str:
    """``502``, ``ConnectionResetError``: few kinds, whatever the text says."""
    text = str(exception)
    head = text.split(" ", 1)[0]
    return head if head.isdigit() else type(exception).__name__
