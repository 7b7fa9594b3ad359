"""A demo for one run: of the size that the plan asks for, on free ports, in a folder of its own,
gone with all its processes when the run is over.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from broker.errors import BrokerError
from loadtest.operations import NotPossible, Operations
from loadtest.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.plan import Plan

LONGEST_START = 120.0
LONGEST_STOP = 40.0
CHECKOUT = Path(__file__).resolve().parents[1]


class DemoError(Exception):
    """The demo did not start; the text has the end of what it said."""


@contextlib.contextmanager
def own_demo(plan: Plan, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """Yields the path of its description (``ready.json``). Seats are the plan's base, times the
    factor that the scenario begins with; the idle time is the plan's. ``checkout``: whose broker
    it is. Raises DemoError."""
    with tempfile.TemporaryDirectory(prefix="loadtest-demo-") as folder:
        state = Path(folder) / "demo"
        public, admin = _free_ports()
        command = [
            sys.executable, "-m", "broker", "demo", "--seats", str(plan.seats), "--state",
            str(state), "--public-port", str(public), "--admin-port", str(admin),
        ]  # fmt: skip
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=checkout,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            known = _ready(process)
            _prepare(plan, msgspec.convert(known, Site))
            yield state / "ready.json"
        finally:
            _stop(process)


def _free_ports() -> tuple[int, int]:
    """Two that were free just now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _ready(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it says of itself once it runs."""
    assert process.stdout is not None
    said = b""
    end = time.monotonic() + LONGEST_START
    while (left := end - time.monotonic()) > 0:
        readable, _, _ = select.select([process.stdout], [], [], left)
        if not readable:
            break
        block = os.read(process.stdout.fileno(), 65_536)
        said += block
        for line in said.split(b"\n")[:-1]:
            if line.startswith(b"READY "):
                known: dict[str, Any] = json.loads(line.removeprefix(b"READY "))
                return known
        if not block:
            break
    tail = said.decode(errors="replace")[-2000:]
    raise DemoError(f"the demo did not start:\n{tail}")


def _prepare(plan: Plan, site: Site) -> None:
    """Limits, idle time and who is admitted, as the scenario begins."""
    scenario, operations = plan.scenario, Operations(site)
    everybody = [*site.mobile, *site.others]
    try:
        if scenario.factor != 1:
            operations.publish(1.0, idle=plan.idle)
            operations.raise_to(scenario.factor, everybody, 2 * plan.seconds, now=True)
        else:
            open_to = [] if scenario.mobile_first else everybody
            operations.publish(1.0, open_to=open_to, idle=plan.idle)
    except (NotPossible, BrokerError) as error:
        raise DemoError(f"the demo's limits could not be set: {error}") from error


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(LONGEST_STOP)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()
