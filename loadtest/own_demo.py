"""A demo for one run: of the size that the plan asks for, on free ports, in a folder of its own,
gone with all its processes when the run is over.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

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
    scenario = plan.scenario
    everybody = [*site.mobile, *site.others]
    raised = scenario.factor != 1
    open_to = [] if raised or scenario.mobile_first else everybody
    publish(site, 1.0, open_to, plan)
    if raised:
        try:
            Operations(site).raise_to(scenario.factor, everybody, 2 * plan.seconds + 600, now=True)
        except (NotPossible, BrokerError) as error:
            raise DemoError(f"the demo could not be raised: {error}") from error


def publish(site: Site, factor: float, open_to: list[str], plan: Plan) -> None:
    """The demo's configuration with its limits times ``factor``, the plan's idle time, a guard as
    fast as the plan, and these populations admitted; the first one stays the base of later calls.
    Raises DemoError."""
    file = Path(site.state) / "broker.yaml"
    kept = file.with_name("broker.base.yaml")
    if not kept.exists():
        shutil.copyfile(file, kept)
    document = multiplied(yaml.safe_load(kept.read_text("utf-8")), factor, open_to)
    document["seats"]["idle"] = f"{plan.idle:.0f}s"
    for pool in document["pools"].values():
        pool["guard"] = {"window": f"{plan.guard_window:.0f}s", "responses": plan.guard_responses}
    file.write_text(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), "utf-8")
    try:
        Operations(site).publish()
    except (NotPossible, BrokerError) as error:
        raise DemoError(f"the demo's limits could not be published: {error}") from error


def multiplied(base: dict[str, Any], factor: float, open_to: list[str]) -> dict[str, Any]:
    """The configuration with its seats and connections multiplied, rounded up. Pure."""
    document: dict[str, Any] = copy.deepcopy(base)
    _times(document["seats"], factor)
    _times(document["connections"], factor)
    for pool in document["pools"].values():
        _times(pool["connections"], factor)
        for cell in pool.get("populations", {}).values():
            _times(cell, factor)
    for population in document["populations"]:
        _times(population.get("seats", {}), factor)
        if population["name"] in open_to:
            population["admitted"] = True
    return document


def _times(share: dict[str, Any], factor: float) -> None:
    for name in ("limit", "guaranteed", "maximum"):
        if share.get(name) is not None:
            share[name] = math.ceil(int(share[name]) * factor)


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
