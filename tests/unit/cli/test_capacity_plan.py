"""``broker capacity plan --from``: the answer, the refusals, the exit codes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.cli.main import main
from broker.scaling.law import Law
from tests.support.step_loads import step_load, write_run

if TYPE_CHECKING:
    from pathlib import Path

LAW = Law(20.0, 0.03, 0.0004)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    pools = {"feed": step_load(LAW), "wiki": step_load(LAW, (1, 2, 3))}
    return write_run(tmp_path / "report.json", pools)


def plan(*arguments: object) -> int:
    return main(["capacity", "plan", *map(str, arguments)])


def test_in_words(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--from", run, "--base", "feed=4") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "of the base of 4" in said
    assert "No answer: 3 different loads" in said
    assert "feed breaks first" in said


def test_for_scripts_and_as_a_chart(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan("--from", run, "--json", "--chart", tmp_path / "plan.svg") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pools"]["feed"]["answered"]
    assert told["pools"]["feed"]["safe_scale"] is None
    assert not told["pools"]["wiki"]["answered"]
    assert (tmp_path / "plan.svg").read_text("utf-8").startswith("<svg")


def test_no_answer_at_all_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "report.json", {"wiki": step_load(LAW, (1, 2, 3))})
    assert plan("--from", run) == 1
    assert "nothing is said about what is safe" in capsys.readouterr().out


def test_a_simulation_measured_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "r.json", {"feed": step_load(LAW)}, kind="simulation")
    assert plan("--from", run) == 1
    assert "measured no server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "No such file"),
        ("{", "no report of a load test"),
        ("{}", "no report of a load test"),
        ('{"pools": {}}', "no step load"),
        ('{"pools": {"feed": [{"seconds": "x"}]}}', "$.pools"),
    ],
)
def test_what_is_no_run(
    text: str | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "report.json"
    if text is not None:
        path.write_text(text, "utf-8")
    assert plan("--from", path) == 1
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("base", ["feed", "feed=", "feed=0", "feed=-1", "feed=inf", "feeed=4"])
def test_a_base_that_is_none(base: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plan("--from", run, "--base", base) == 2
    assert "--base" in capsys.readouterr().err


def test_without_scipy_it_says_how_to_get_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert plan("--from", run) == 1
    assert "pip install 'broker[capacity]'" in capsys.readouterr().err


def test_help_imports_neither_scipy_nor_numpy() -> None:
    script = (
        "import sys; from broker.__main__ import main; main(['capacity', 'plan', '--help']); "
        "sys.exit(bool({'scipy', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL).returncode == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--from", "RUN", "--open-to", "everyone", "--now"), "--open-to, --now: of a raise"),
        (("--from", "RUN", "--guard", "rollback"), "--guard: of a raise"),
        (("--from", "RUN", "-c", "x.yaml"), "-c: of a raise"),
        (("--from", "RUN", "6x", "--scale", "3"), "--scale: the same as SCALE"),
        (("6x", "--base", "feed=4", "--chart", "x.svg"), "--base, --chart: of a load test"),
        (("6x", "--scale", "6"), "--scale: of a load test"),
        ((), "Say SCALE, such as 6x"),
    ],
)
def test_what_would_be_ignored_is_refused(
    words: tuple[str, ...], says: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(*(str(run) if word == "RUN" else word for word in words)) == 2
    assert says in " ".join(capsys.readouterr().err.split())
