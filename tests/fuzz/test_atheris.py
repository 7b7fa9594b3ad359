"""A short run of the coverage-guided fuzzer on each target: the same inputs each time, so that a
change is told of what it breaks and not of luck. ``python -m tests.fuzz`` looks for the rest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason=f"atheris has no wheel for Python {sys.version_info[0]}.{sys.version_info[1]} here",
)


def fuzz(tmp_path: Path, target: str, runs: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, "--runs", str(runs), "--seed", "1",
         "--kept", str(tmp_path / "kept"), "--found", str(tmp_path / "found")],
        cwd=CHECKOUT, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_short_run(target: str, tmp_path: Path) -> None:
    runs = TARGETS[target].runs
    done = fuzz(tmp_path, target, runs)
    found = [path.read_bytes() for path in (tmp_path / "found").rglob("*") if path.is_file()]
    assert done.returncode == 0, (
        f"keep in tests/fuzz/found/{target}: {found}\n{done.stdout}{done.stderr}"
    )
    assert f"#{runs}\tDONE   cov: " in done.stderr, done.stderr


def test_a_finding_is_told_and_kept(tmp_path: Path) -> None:
    """With a check that cannot hold: the machinery must not be silent."""
    code = (
        "import sys; from tests.fuzz import targets; from tests.fuzz.__main__ import fuzz;"
        "from pathlib import Path;"
        "targets.TARGETS['path'] = targets.TARGETS['path']._replace(check=lambda data: 1 / 0);"
        "fuzz('path', 10, 1, Path(sys.argv[1]), Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=CHECKOUT, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr
    assert list((tmp_path / "path").glob("crash-*"))
