"""A real Prometheus scrapes a demo at work: every panel shows something, every rule runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from broker.cli.client import AdminClient
from broker.demo.loopback import client
from dashboards.generate import texts
from loadtest.pictures import panels, shrink
from loadtest.pictures.prometheus import NoPrometheus, Prometheus, filled_in, prometheus
from loadtest.pictures.shots import NoChromium, Photographer, chromium
from loadtest.site import Site
from tests.support.running_demo import RunningDemo, command, running_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@pytest.fixture
def source(demo: RunningDemo, tmp_path: Path) -> Iterator[Prometheus]:
    try:
        with prometheus(tmp_path, demo.known["admin"]) as running:
            yield running
    except NoPrometheus as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


async def ask(source: Prometheus, path: str, **query: str) -> Any:
    return await asyncio.to_thread(source.ask, path, **query)


def panel_queries() -> set[str]:
    boards = [json.loads(text) for text in texts().values()]
    return {
        filled_in(target["expr"])
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
    }


async def test_every_panel_shows_something(source: Prometheus, demo: RunningDemo) -> None:
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
                    if (await ask(source, "query", query=query))["result"]:
                        empty.discard(query)
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail("no data for:\n" + "\n".join(sorted(empty)))


async def test_every_rule_runs_without_a_fault(source: Prometheus) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            groups = (await ask(source, "rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
            if rules and all(rule["health"] != "unknown" for rule in rules):
                break
            await asyncio.sleep(0.1)
    wrong = {rule["name"]: rule["lastError"] for rule in rules if rule["health"] != "ok"}
    assert wrong == {}
    written = [yaml.safe_load(path.read_text("utf-8")) for path in RULES.glob("*.yml")]
    assert len(rules) == sum(len(group["rules"]) for one in written for group in one["groups"])


async def test_a_full_house_with_people_waiting_is_seen(source: Prometheus) -> None:
    async with asyncio.timeout(PATIENCE):
        for query, least in (
            ("sum(max by (population) (broker_seats_occupied))", 20),
            ("sum(max by (population) (broker_waiting_employees))", 1),
            ("site:broker_seats_used:ratio", 1),
        ):
            while True:
                result = (await ask(source, "query", query=query))["result"]
                if result and float(result[0]["value"][1]) >= least:
                    break
                await asyncio.sleep(0.2)


def test_the_dashboards_are_drawn_and_small(source: Prometheus, tmp_path: Path) -> None:
    """What make pictures does after a run of minutes, here of the last ten seconds."""
    end = time.time()
    boards = [json.loads(text) for text in texts().values()]
    sizes = [
        shrink.write(panels.draw(board, source, end - 10, end), tmp_path / f"{number}.png")
        for number, board in enumerate(boards)
    ]
    assert min(sizes) > 10_000, "more than an empty page"


def without_the_last(demo: RunningDemo, count: int) -> Site:
    site = msgspec.convert(demo.known, Site)
    people = site.accounts[site.mobile[-1]]
    kept = {site.mobile[-1]: people[: len(people) - count]}
    return msgspec.structs.replace(site, accounts={**site.accounts, **kept})


def test_pages_are_photographed_on_a_full_house(demo: RunningDemo, tmp_path: Path) -> None:
    try:
        with chromium() as browser:
            # Some of the last are among those who came: who finds a place in the queue is none.
            for left_out in range(20):
                site = without_the_last(demo, left_out)
                photographer = Photographer(browser, site)
                waiting = photographer.waiting(site.mobile[-1])
                if waiting is not None:
                    break
            assert waiting is not None
            link = AdminClient(site.admin, site.admin_token).post("console-links", {})["url"]
            pictures = [photographer.login(), waiting, photographer.console(link)]
    except NoChromium as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    for number, picture in enumerate(pictures):
        assert shrink.write(picture, tmp_path / f"{number}.png") > 10_000
