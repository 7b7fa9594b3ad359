"""A step load on the demo whose bottleneck is known: each of the feed's two servers lets requests
take turns of 20 ms, so no more than 50 a second pass each. ``broker capacity plan`` has to find it
in the report that the run leaves.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.cli.main import main
from broker.scaling.answer import answer
from broker.scaling.measured import read
from loadtest.model import LoadModel
from loadtest.own_demo import own_demo
from loadtest.plan import Plan
from loadtest.scenarios import SCENARIOS
from tests.integration.loadtest.test_runs import ROOT, environment, site_of, tell

if TYPE_CHECKING:
    from pathlib import Path

DELAY, TURN = 0.060, 0.020  # seconds
SCALE, SPEED = 700.0, 24.0
PATIENCE = 240.0

pytestmark = pytest.mark.timeout(360)


def test_the_steps_of_a_run_carry_the_capacity_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = Plan(LoadModel(), SCENARIOS["steps"], SCALE, SPEED)
    with own_demo(plan) as description:
        servers = site_of(description).backends["feed"]
        for server in servers:
            tell(f"{server}/oracle", {"delay_seconds": DELAY, "turn_seconds": TURN})
        done = subprocess.run(
            [
                sys.executable, "-m", "loadtest", "run", "steps", "--scale", f"{SCALE:g}",
                "--speed", f"{SPEED:g}", "--site", str(description), "--reports", str(tmp_path),
            ],
            cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
    file = tmp_path / "latest" / "report.json"
    assert file.exists(), done.stderr
    report = json.loads(file.read_bytes())
    promised = {each["name"] for each in report["objectives"]}
    assert "Different loads measured of feed" in promised
    assert not [name for name in promised if name.startswith(("Pages", "Logins", "Errors"))]

    found = answer("feed", read(file).pools["feed"], base=1.0)
    assert found.fit is not None, (found.refused, found.points, done.stderr)
    ceiling, full = len(servers) / TURN, len(servers) * (DELAY + TURN) / TURN
    assert ceiling * 0.6 < found.fit.law.ceiling() < ceiling * 1.4, found.points
    assert full / 2 < found.fit.law.knee() < full * 2, found.points
    # Whether a busy machine lets the figures carry an answer is not for this test to say; but what
    # is said has to be one of the two.
    code = main(["capacity", "plan", "--from", str(file), "--base", "feed=1"])
    said = " ".join(capsys.readouterr().out.split())
    if found.answered:
        assert code == 0
        assert "feed breaks first" in said
    else:
        assert code == 1
        assert found.refused[0].split(",")[0][:60] in said
