"""README's commands, typed as they stand there, in their order, on one real demo.

What differs from typing them: the demo gets free ports and a checkout made of links, so that
nobody's own demo is touched; of ``make demo`` that line is run which make says it would run, less
the set-up of .venv; what stays (the demo, employees at work, what watches) is ended when the last
command is through. What takes minutes is not run here: of other ``make`` targets make has to know
the target and every program of it has to be there (what ``make loadtest`` shows is held against a
real run in ``loadtest/test_runs.py``). ``broker serve`` would be a second broker, ``broker init``
asks questions: their options are looked up.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from broker.__main__ import main
from loadtest.pictures.__main__ import names
from loadtest.pictures.shrink import LARGEST
from tests.support import readme
from tests.support.readme import Typed, misses
from tests.support.running_demo import CHECKOUT, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = readme.README.read_text("utf-8")
PICTURES = CHECKOUT / "dashboards" / "pictures"
PATIENCE = 60.0
STAYS = ("make demo", "broker demo arrive", "broker capacity show --watch")
LINKED = (
    ".venv", "Makefile", "broker", "config", "dashboards", "loadtest", "lock", "pyproject.toml",
)  # fmt: skip


class Checkout:
    """A folder that looks like a checkout, and what was started in it and stays."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stays: list[subprocess.Popen[bytes]] = []
        for name in LINKED:
            (folder / name).symlink_to(CHECKOUT / name)
        (folder / "secrets").mkdir()
        self._environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("BROKER_", "MAKE"))},
            "PATH": f"{folder}/.venv/bin:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        self._ports = dict(zip(("PUBLIC_PORT", "ADMIN_PORT"), free_ports(), strict=True))

    def type(self, typed: Typed) -> list[str]:
        """What is wrong with it, in words; nothing: it did what README says."""
        line = typed.line
        if line.startswith("make demo"):
            line = self._would_run(line + "".join(f" {k}={v}" for k, v in self._ports.items()))[-1]
        elif line.startswith("make "):
            return self._programs(line)
        elif line.startswith(("broker serve", "broker init")):
            return self._options(line)
        elif line.startswith("broker check"):  # of the configuration that the demo wrote itself
            shutil.copy(self._folder / ".demo" / "broker.yaml", self._folder / "config.yaml")
        if typed.line.startswith(STAYS):
            return self._start(line, typed.shown)
        done = subprocess.run(
            line, shell=True, cwd=self._folder, env=self._environment, capture_output=True,
            text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if done.returncode:
            return [f"exit code {done.returncode}: {done.stdout}{done.stderr}"]
        return [f"not shown: {each}\n{done.stdout}" for each in misses(typed.shown, done.stdout)]

    def _start(self, line: str, shown: list[str]) -> list[str]:
        """Whether it comes to say what is shown, while it goes on."""
        log = self._folder / f"log-{len(self._stays)}"
        with log.open("wb") as out:
            process = subprocess.Popen(
                shlex.split(line.removeprefix("exec ")), cwd=self._folder, env=self._environment,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self._stays.append(process)
        ends = time.monotonic() + PATIENCE
        while wrong := misses(shown, said := log.read_text("utf-8")):
            if process.poll() is not None or time.monotonic() > ends:
                return [f"not shown: {each}\n{said}" for each in wrong]
            time.sleep(0.1)
        return []

    def _would_run(self, line: str) -> list[str]:
        """What make says it would, a command each."""
        words = shlex.split(line)
        done = subprocess.run(
            [words[0], "--dry-run", "--no-print-directory", *words[1:]], cwd=self._folder,
            env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            return []
        return done.stdout.replace("\\\n", " ").splitlines()

    def _programs(self, line: str) -> list[str]:
        commands = self._would_run(line)
        named = re.findall(r"(?:^|\s|;)((?:\.venv/bin|lock)/[\w.-]+)", "\n".join(commands))
        missing = [name for name in named if not (self._folder / name).exists()]
        return [] if named and not missing else [f"make would run {commands}; missing: {missing}"]

    def _options(self, line: str) -> list[str]:
        words = [word for word in shlex.split(line) if word.islower()]
        said = subprocess.run(
            [*[word for word in words if not word.startswith("-") and "." not in word], "--help"],
            cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        options = {"--help", *(word for word in words if word.startswith("--"))}
        return [each for each in options if not re.search(rf"(^|[\s,]){each}\b", said.stdout)]

    def leave(self) -> None:
        """All of them end, the demo last and with its parts, whatever the others do."""
        with contextlib.ExitStack() as stack:
            for process in self._stays:
                stack.callback(_end, process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """By SIGTERM: whoever was started in the background of a shell may never hear of SIGINT."""
    process.terminate()
    try:
        process.wait(40)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    with tempfile.TemporaryDirectory(prefix="readme") as folder:
        made = Checkout(Path(folder))
        with contextlib.closing(contextlib.ExitStack()) as stack:
            stack.callback(made.leave)
            yield made


def test_every_command_does_what_is_shown_under_it(checkout: Checkout) -> None:
    commands = readme.typed()
    assert len(commands) > 10
    for typed in commands:
        assert checkout.type(typed) == [], typed.line


@pytest.mark.parametrize(
    "line",
    ["broker capacity rise 6x", "broker status --wach", "make loadtests", "broker srve -c x.yaml"],
)
def test_a_misspelt_command_is_noticed(checkout: Checkout, line: str) -> None:
    assert checkout.type(Typed(line, []))


TABLE = """\
limit of      now   at once
───────────────────────────
seats          60        75
pool feed     300       375

Nothing was changed.
"""


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        (TABLE.replace("60", "1,200").replace("limit of   ", "limit of"), ""),
        ("limit of  now  at once\n...\nNothing was changed.", ""),
        ("seats 60 75", ""),
        ("limit of  now  at the end", "limit of  now  at the end"),
        ("seats 60", "seats 60"),
        ("seats 60 75\nNothing was changed.", "Nothing was changed."),
        ("seats sixty 75", "seats sixty 75"),
        ("Nothing was changed.\n...\nseats 60 75", "seats 60 75"),
    ],
)
def test_another_shape_is_noticed(shown: str, missing: str) -> None:
    assert misses(shown.splitlines(), TABLE) == ([missing] if missing else [])


def test_it_is_short_and_so_is_each_door() -> None:
    assert len(TEXT.splitlines()) <= 300
    doors = re.split(r"^### ", TEXT[TEXT.index("## Three doors") :], flags=re.MULTILINE)[1:4]
    assert [door.split(":")[0] for door in doors] == ["Operations", "Employees", "SRE"]
    for door in doors:
        lines = door.split("\n## ")[0].strip().splitlines()[1:]
        assert len([line for line in lines if line.strip()]) <= 15, door


_SENTENCES = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
INLINE = sorted(set(re.findall(r"`(broker [^`]+)`", _SENTENCES)))


@pytest.mark.parametrize("line", INLINE)
def test_a_command_within_a_sentence_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.replace("[", "").replace("]", "").split()[1:]
    named = [word for word in words if word.isalpha() and word.islower()]
    assert main([*named, "--help"]) == 0
    shown = capsys.readouterr().out
    for option in (word for word in words if word.startswith("-")):
        assert re.search(rf"(^|[\s,]){option}\b", shown), option


@pytest.mark.parametrize("document", ["README.md", "dashboards/RUNBOOK.md"])
def test_what_it_points_to_is_there(document: str) -> None:
    text = (CHECKOUT / document).read_text("utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) + re.findall(r'src="([^"]+)"', text)
    assert targets
    missing = [each for each in targets if not ((CHECKOUT / document).parent / each).exists()]
    assert missing == []


def test_every_picture_is_drawn_by_make_pictures_shown_and_small() -> None:
    files = {path.stem: path for path in PICTURES.iterdir()}
    assert set(files) == set(names())
    assert [name for name, path in files.items() if path.stat().st_size > LARGEST] == []
    runbook = (CHECKOUT / "dashboards" / "RUNBOOK.md").read_text("utf-8")
    assert [name for name in files if f"pictures/{name}.png" not in TEXT + runbook] == []
