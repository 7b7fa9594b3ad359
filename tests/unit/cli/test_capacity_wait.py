"""``--wait`` ends on arrival, hold and rollback with the exit code that says which; status shows
ramps and the guard; the shell completes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from broker.cli import capacity_wait
from broker.cli.client import AdminClient
from broker.cli.main import UnreachableError, main
from tests.unit.cli.conftest import CAPACITY

if TYPE_CHECKING:
    from collections.abc import Iterator

STEPS = [2.0, 4.0, 6.0]


def ramp(step: int, state: str, *, why: str | None = None, rolled_back: bool = False) -> Any:
    return {
        "start": 1.0, "target": 6.0, "scale": STEPS[step - 1], "state": state, "why": why,
        "rolled_back": rolled_back, "step": step, "steps": STEPS, "every_seconds": 60.0,
        "pace_seconds": 60.0, "finish_seconds": 60.0,
    }  # fmt: skip


def change(way: Any, name: int = 8) -> Any:
    return {
        "raise": name, "level": None, "author": "anna", "reason": "lockdown", "ends": None,
        "guard": "rollback", "ramp": way,
    }  # fmt: skip


class Api(AdminClient):
    """Tells one ramp after another; None: no raise is in force; an error is raised."""

    def __init__(self, ramps: list[Any]) -> None:
        super().__init__("http://127.0.0.1:1", "")
        self.ramps: Iterator[Any] = iter(ramps)

    def get(self, path: str, **query: str) -> Any:
        told = next(self.ramps)
        if isinstance(told, Exception):
            raise told
        return {"raises": {} if told is None else {"site": change(told)}}


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_wait, "LOOK_EVERY", 0.0)


def test_it_follows_until_the_ramp_has_arrived(capsys: pytest.CaptureFixture[str]) -> None:
    api = Api([
        ramp(1, "climbing"), ramp(1, "climbing"), ramp(1, "paused", why="feed: p95 900 ms"),
        UnreachableError("away"), ramp(2, "climbing"), ramp(3, "climbing"), ramp(3, "reached"),
    ])  # fmt: skip
    ended = capacity_wait.follow(api, "site", 8, quiet=False)
    assert capacity_wait.arrived(ended)
    assert capacity_wait.outcome(ended) == "Arrived at 6x."
    assert capsys.readouterr().out.splitlines() == [
        "2x of 6x",
        "2x of 6x, paused by the guard: feed: p95 900 ms",
        "4x of 6x",
        "6x of 6x, the last step proves itself",
    ]


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (ramp(2, "held", why="lunch"), "Held at 4x: lunch. `broker capacity resume` climbs on."),
        (ramp(1, "held", why="feed: slow", rolled_back=True), "Rolled back to 2x: feed: slow."),
        (None, "Not arrived: somebody ended or replaced this raise."),
    ],
)
def test_it_ends_when_it_will_not_arrive(last: Any, words: str) -> None:
    ended = capacity_wait.follow(Api([ramp(1, "climbing"), last]), "site", 8, quiet=True)
    assert not capacity_wait.arrived(ended)
    assert words in capacity_wait.outcome(ended)


def test_another_raise_in_its_place_is_not_taken_for_it() -> None:
    ended = capacity_wait.follow(Api([ramp(3, "reached")]), "site", 7, quiet=True)
    assert ended["state"] == "gone"


def test_a_broker_that_stays_away_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity_wait, "PATIENCE", -1.0)
    with pytest.raises(UnreachableError):
        capacity_wait.follow(Api([UnreachableError("away")]), "site", 8, quiet=True)


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    api = Api([ramp(1, "climbing"), ramp(2, "climbing"), ramp(3, "reached")])
    assert capacity_wait.arrived(capacity_wait.follow(api, "site", 8, quiet=False))
    out = capsys.readouterr().out
    assert "3/3" in out
    assert "━" in out
    assert "6x of 6x" in out


def test_status_shows_level_ramp_and_guard(api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    why = "feed: p95 900 ms is above 350 ms (100 ms before the raise)"
    raised = change(ramp(1, "held", why=why, rolled_back=True))
    capacity = {**CAPACITY, "level": "elevated", "raises": {"site": raised}}
    api.answers["GET", "capacity"] = (200, capacity)
    assert main(["status"]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "level elevated, open to sales" in words
    assert "raise 8 of the site [########----------------] 2x of 6x, rolled back and held" in words
    assert "guard rolls back" in words
    assert why in words


COMPLETIONS = [
    ("broker cap", 1, ["capacity"]),
    ("broker capacity r", 2, ["raise", "resume"]),
    ("broker capacity raise 6x --gu", 4, ["--guard"]),
    ("broker capacity raise 6x --guard ", 5, ["rollback", "hold"]),
    ("broker capacity lower --evict ", 4, ["idle"]),
]


@pytest.mark.parametrize(("typed", "at", "offered"), COMPLETIONS)
def test_the_shell_completes(typed: str, at: int, offered: list[str]) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "broker"],
        env={**os.environ, "_BROKER_COMPLETE": "bash_complete", "COMP_WORDS": typed,
             "COMP_CWORD": str(at)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert [line.partition(",")[2] for line in answer.stdout.splitlines()] == offered, answer


def test_help_says_how_to_switch_completion_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert 'eval "$(_BROKER_COMPLETE=bash_source broker)"' in capsys.readouterr().out
    source = subprocess.run(
        [sys.executable, "-m", "broker"],
        env={**os.environ, "_BROKER_COMPLETE": "zsh_source"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert source.stdout.startswith("#compdef broker")


def test_json_of_what_is_shown(api: Any, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers["GET", "capacity"] = (200, CAPACITY)
    assert main(["capacity", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == CAPACITY
