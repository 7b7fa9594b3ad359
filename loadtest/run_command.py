"""``python -m loadtest run SCENARIO [--target URL ...]``: a load test with its report.

Without a site it starts a demo of its own, of the size that the scenario needs. Exit codes: 0
every objective is met, 1 one was missed, 2 wrong usage. Options that are not ours go to Locust as
they are (``--processes 2``; ``--master --expect-workers 8``; ``--worker --master-host HOST``).
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

import click

from loadtest.options import DEMO, add_options, plan_of, site_of
from loadtest.own_demo import DemoError, own_demo
from loadtest.scenarios import SCENARIOS
from loadtest.site import SiteError, deal

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
VARIABLES = ("BROKER_ADMIN_URL", "BROKER_ADMIN_TOKEN", "BROKER_CA", "LOADTEST_PASSWORD")


@click.command(
    "run",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
    short_help="Employees against a broker, with a report and a verdict.",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def command(words: tuple[str, ...]) -> None:
    """Options are those of the locustfile, which argparse reads."""
    sys.exit(main(words))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("scenario", choices=list(SCENARIOS), metavar="SCENARIO",
                        help=", ".join(SCENARIOS))  # fmt: skip
    parser.add_argument("--running-demo", action="store_true", help=f"take the one in {DEMO}")
    add_options(parser)
    options, _ = parser.parse_known_args(words)
    # Ended from outside, a run still takes its demo with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _run(options, forwarded(words, options.scenario))
    except (SiteError, DemoError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _run(options: argparse.Namespace, words: list[str]) -> int:
    plan = plan_of(options.scenario, options)
    environment = {
        **os.environ,
        "LOADTEST_COMMAND": shlex.join(
            ["python", "-m", "loadtest", "run", options.scenario, *words]
        ),
    }
    leads = "--worker" not in words
    with ExitStack() as stack:
        if options.target or options.site or options.running_demo or not leads:
            site = site_of(options, os.environ, Path.cwd())
            deal(site, plan.employees, mobile_first=plan.scenario.mobile_first)
        else:
            words += ["--site", str(stack.enter_context(own_demo(plan)))]
            # What the shell knows of another site must not lead this run astray.
            for name in VARIABLES:
                environment.pop(name, None)
        command = [
            sys.executable, "-m", "locust", "-f", str(HERE / "locustfile.py"),
            *(["--headless"] if leads else []), "--only-summary", "--loglevel", "WARNING",
            "--scenario", options.scenario, *words,
        ]  # fmt: skip
        return subprocess.run(command, env=environment, check=False).returncode


def forwarded(words: Sequence[str], scenario: str) -> list[str]:
    """What the locustfile and Locust take: all but the scenario and our own switch."""
    rest = list(words)
    rest.remove(scenario)
    return [word for word in rest if word != "--running-demo"]
