"""A real Prometheus that scrapes one admin listener every second, and what it answers."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

RULES = Path(__file__).resolve().parents[2] / "dashboards" / "rules"
PATIENCE = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoPrometheus(Exception):
    """It is not installed, or did not start; the text says which."""


def filled_in(expression: str, window: str = "1m") -> str:
    """The expression as Grafana sends it with everything chosen; ``window``: its rate interval."""
    text = expression.replace("$__rate_interval", window)
    return re.sub(r"\$(pool|population)\b", ".*", text)


@dataclass(frozen=True, slots=True)
class Prometheus:
    url: str

    def ask(self, path: str, **query: object) -> Any:
        """``data`` of the answer. Raises OSError; ValueError when the query is refused."""
        words = urllib.parse.urlencode({name: str(value) for name, value in query.items()})
        with _OPENER.open(f"{self.url}/api/v1/{path}?{words}", timeout=PATIENCE) as answer:
            told = json.load(answer)
        if told["status"] != "success":
            raise ValueError(f"{query}: {told}")
        return told["data"]


@contextlib.contextmanager
def prometheus(folder: Path, admin: str) -> Iterator[Prometheus]:
    """With the committed rules, evaluated each second so that nobody waits for a first round.
    ``admin``: the listener's URL; ``folder``: for its data. Raises NoPrometheus."""
    program = shutil.which("prometheus")
    if program is None:
        raise NoPrometheus("prometheus is missing: apt-get install prometheus")
    for path in RULES.glob("*.yml"):
        text = re.sub(r"interval: \d+s", "interval: 1s", path.read_text("utf-8"))
        (folder / path.name).write_text(text, "utf-8")
    target = admin.removeprefix("http://")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "*.yml")],
        "scrape_configs": [{"job_name": "broker", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=out,
            stderr=out,
        )
    try:
        _wait(f"http://127.0.0.1:{port}/-/ready", process, log)
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), _OPENER.open(url, timeout=2):
            return
        time.sleep(0.05)
    raise NoPrometheus("prometheus did not start:\n" + log.read_text("utf-8")[-2000:])
