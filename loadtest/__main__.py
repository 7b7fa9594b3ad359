"""``python -m loadtest run SCENARIO [--target URL ...]``: a load test with its report.

Without a target it starts a demo of its own, of the size that the scenario needs. Exit codes: 0
every objective is met, 1 one was missed, 2 wrong usage. What is given after ``--`` goes to Locust
as it is (``--processes 2``, ``--master --expect-workers 8``).
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.options import DEMO, add_options, plan_of, site_of
from loadtest.own_demo import DemoError, own_demo
from loadtest.scenarios import SCENARIOS
from loadtest.site import SiteError, deal

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
VARIABLES = ("BROKER_ADMIN_URL", "BROKER_ADMIN_TOKEN", "BROKER_CA", "LOADTEST_PASSWORD")


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="drive employees against a site")
    run.add_argument("scenario", choices=list(SCENARIOS), metavar="SCENARIO",
                     help=", ".join(SCENARIOS))  # fmt: skip
    run.add_argument("--running-demo", action="store_true", help=f"take the one in {DEMO}")
    add_options(run)
    ours, for_locust = _split(words)
    # Ended from outside, a run still takes its demo with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = parser.parse_args(ours)
    try:
        return _run(options, _forwarded(ours), for_locust)
    except (SiteError, DemoError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _run(options: argparse.Namespace, ours: list[str], for_locust: list[str]) -> int:
    plan = plan_of(options.scenario, options)
    environment = dict(os.environ)
    follows = "--worker" in for_locust
    with ExitStack() as stack:
        if options.target or options.site or options.running_demo or follows:
            site = site_of(options, os.environ, Path.cwd())
            deal(site, plan.employees, mobile_first=plan.scenario.mobile_first)
        else:
            description = stack.enter_context(own_demo(plan))
            ours += ["--site", str(description)]
            # What the shell knows of another site must not lead this run astray.
            for name in VARIABLES:
                environment.pop(name, None)
        command = [
            sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"), "--headless",
            "--only-summary", "--loglevel", "WARNING", "--scenario", options.scenario,
            *ours, *for_locust,
        ]  # fmt: skip
        environment["LOADTEST_COMMAND"] = shlex.join(["python", "-m", "loadtest", *sys.argv[1:]])
        return subprocess.run(command, env=environment, check=False).returncode


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Ours, and what stands behind ``--``."""
    given = list(words)
    if "--" not in given:
        return given, []
    at = given.index("--")
    return given[:at], given[at + 1 :]


def _forwarded(ours: list[str]) -> list[str]:
    """What the locustfile takes as well: all but the command, the scenario and our own switch."""
    scenario = next(word for word in ours[1:] if word in SCENARIOS)
    rest = ours[1:]
    rest.remove(scenario)
    return [word for word in rest if word != "--running-demo"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
