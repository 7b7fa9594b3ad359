"""A real Prometheus scrapes a demo at work: every panel shows something, every rule runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from broker.demo.loopback import client
from dashboards.generate import texts
from tests.support.promql import filled_in
from tests.support.running_demo import RunningDemo, command, free_ports, running_demo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

RULES = Path(__file__).parents[2] / "dashboards" / "rules"
PATIENCE = 60.0


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    """With more who come than there are seats, so that somebody waits."""
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=20, workers=2) as running,
    ):
        crowd = subprocess.Popen(
            command("demo", "arrive", 30, "--rate", 15, "--state", running.state),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield running
        finally:
            crowd.terminate()
            crowd.wait(20)


@dataclass
class Prometheus:
    url: str
    session: aiohttp.ClientSession

    async def ask(self, path: str, **query: str) -> Any:
        async with self.session.get(f"{self.url}/api/v1/{path}", params=query) as answer:
            told = await answer.json()
        assert told["status"] == "success", (query, told)
        return told["data"]


@pytest.fixture
async def prometheus(demo: RunningDemo, tmp_path: Path) -> AsyncIterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("prometheus is missing: apt-get install prometheus")
        pytest.skip("prometheus is missing: apt-get install prometheus")
    for path in RULES.glob("*.yml"):
        # Each second instead of each half minute: nobody waits for a first round.
        text = re.sub(r"interval: \d+s", "interval: 1s", path.read_text("utf-8"))
        (tmp_path / path.name).write_text(text, "utf-8")
    admin = demo.known["admin"].removeprefix("http://")
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(tmp_path / "*.yml")],
        "scrape_configs": [{"job_name": "broker", "static_configs": [{"targets": [admin]}]}],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration), "utf-8")
    (port,) = free_ports(1)
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as session:
            found = Prometheus(f"http://127.0.0.1:{port}", session)
            async with asyncio.timeout(PATIENCE):
                while True:
                    assert process.returncode is None, (tmp_path / "log").read_text()
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{found.url}/-/ready") as answer:
                            if answer.status == 200:
                                break
                    await asyncio.sleep(0.05)
            yield found
    finally:
        process.terminate()
        await process.wait()


def panel_queries() -> set[str]:
    boards = [json.loads(text) for text in texts().values()]
    return {
        filled_in(target["expr"])
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
    }


async def test_every_panel_shows_something(prometheus: Prometheus, demo: RunningDemo) -> None:
    empty = panel_queries()
    assert len(empty) > 30
    try:
        async with asyncio.timeout(PATIENCE), client(demo.ca) as stranger:
            while empty:
                # One panel shows refusals alone: somebody asks for a host that is nobody's.
                elsewhere = {"Host": "nobody.example"}
                async with stranger.get(demo.known["home"], headers=elsewhere) as answer:
                    assert answer.status == 400
                for query in sorted(empty):
                    if (await prometheus.ask("query", query=query))["result"]:
                        empty.discard(query)
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail("no data for:\n" + "\n".join(sorted(empty)))


async def test_every_rule_runs_without_a_fault(prometheus: Prometheus) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            groups = (await prometheus.ask("rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            if rules and all(rule["health"] != "unknown" for rule in rules):
                break
            await asyncio.sleep(0.1)
    wrong = {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"}
    assert wrong == {}
    written = [yaml.safe_load(path.read_text("utf-8")) for path in RULES.glob("*.yml")]
    assert len(rules) == sum(len(group["rules"]) for one in written for group in one["groups"])


async def test_a_full_house_with_people_waiting_is_seen(prometheus: Prometheus) -> None:
    async with asyncio.timeout(PATIENCE):
        for query, least in (
            ("sum(max by (population) (broker_seats_occupied))", 20),
            ("sum(max by (population) (broker_waiting_employees))", 1),
            ("site:broker_seats_used:ratio", 1),
        ):
            while True:
                result = (await prometheus.ask("query", query=query))["result"]
                if result and float(result[0]["value"][1]) >= least:
                    break
                await asyncio.sleep(0.2)
