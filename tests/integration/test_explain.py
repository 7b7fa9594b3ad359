"""``broker explain`` on a whole demo: a real directory, a real queue, real servers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.running_demo import CHECKOUT, RunningDemo, command, running_demo

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=1, workers=2) as running,
    ):
        yield running


async def run(demo: RunningDemo, *words: str) -> tuple[int, str]:
    env = dict(
        line.removeprefix("export ").split("=", 1)
        for line in (demo.state / "env").read_text().splitlines()
        if "=" in line
    )
    known = {name: value.strip("'\"") for name, value in env.items()}
    process = await asyncio.create_subprocess_exec(
        *command(*words),
        cwd=CHECKOUT,
        env={**os.environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


async def explained(demo: RunningDemo, who: str, where: str) -> dict[str, Any]:
    code, out = await run(demo, "explain", who, where, "--json")
    told: dict[str, Any] = json.loads(out)
    assert code == (1 if told["gets_in"] is False else 0), out
    return told


def factor(told: dict[str, Any]) -> str:
    (text,) = (each["text"] for each in told["findings"] if each["what"] == "second factor")
    return str(text)


async def test_why_each_of_them_gets_in_or_not(demo: RunningDemo) -> None:
    feed = demo.known["apps"]["feed"] + "/"
    seated, waiting = demo.person("sales"), demo.person("sales", 1)
    outside = demo.person("everyone")
    before = await explained(demo, seated, feed)
    assert before["gets_in"] is True, before
    assert before["sessions"] == []
    async with demo.browser() as (one, _), demo.browser() as (two, _):
        await demo.enter(one, seated)
        page = await two.log_in(waiting, demo.known["password"])
        assert page.outcome == "waiting"

        told = await explained(demo, seated.upper(), feed)
        assert (told["employee"], told["population"]) == (seated, "sales")
        assert (told["seat"]["state"], told["pool"], told["why"]) == ("seated", "feed", "gets in")
        assert len(told["sessions"]) == 1

        told = await explained(demo, waiting, feed)
        assert told["gets_in"] is False
        assert "number 1 of 1 who wait" in told["why"]

        code, out = await run(demo, "explain", waiting, feed)
        assert code == 1
        words = " ".join(out.split())
        assert f"{waiting} does not get in: seat: none yet: number 1 of 1 who wait." in words
        assert "population - sales, because" in words
        assert "address yes" in words
        assert "servers yes" in words
        assert "site: 0 of" in words

        told = await explained(demo, outside, feed)
        assert "everyone is not admitted; open at present to: managers, sales" in told["why"]
        asked = demo.person("second_factor")
        told = await explained(demo, asked, feed)
        assert factor(told) == "needed; none yet: the login leads to setting one up"
        assert factor(await explained(demo, seated, feed)) == "not needed"
        await run(demo, "factors", "close")
        told = await explained(demo, asked, feed)
        assert "second factor: needed; has none, and enrolment is closed" in told["why"]

        told = await explained(demo, "nobody.at.all", feed)
        assert "there is no nobody.at.all, or the account is disabled" in told["why"]
        told = await explained(demo, seated, "https://nowhere.test/")
        assert "there is no host nowhere.test; known:" in told["why"]

        for server in demo.known["backends"]["wiki"]:
            await run(demo, "servers", "drain", server, "--yes")
        told = await explained(demo, seated, demo.known["apps"]["wiki"] + "/")
        assert "servers: none can be used" in told["why"]
        assert (await explained(demo, seated, feed))["gets_in"] is True


async def test_bad_questions(demo: RunningDemo) -> None:
    code, out = await run(demo, "explain", "   ", "https://x/")
    assert (code, "nobody can have that login name" in out) == (1, True), out
    code, out = await run(demo, "explain", "mia", "")
    assert (code, "an address has 1 to 2000 characters" in out) == (1, True), out


async def test_a_directory_that_is_away_is_said_so(demo: RunningDemo) -> None:
    """Last: it takes the directory away. What the ledger knows is told all the same."""
    import signal

    feed = demo.known["apps"]["feed"] + "/"
    seated = demo.person("sales")
    async with demo.browser() as (one, _):
        await demo.enter(one, seated)
        directory = [pid for pid, line in demo.processes().items() if "ldap_server" in line]
        for pid in directory:
            os.kill(pid, signal.SIGSTOP)
        try:
            told = await explained(demo, seated, feed)
        finally:
            for pid in directory:
                os.kill(pid, signal.SIGCONT)
        assert told["gets_in"] is None
        assert told["findings"][0]["text"].startswith("not known:")
        assert told["findings"][1]["text"] == "sales, as decided at the last login"
        assert told["seat"]["state"] == "seated"
