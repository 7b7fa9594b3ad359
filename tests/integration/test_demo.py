"""The demo as a newcomer gets it: everything real, on loopback, and gone when it is stopped."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.running_demo import CHECKOUT, RunningDemo, command, running_demo

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=40, workers=2) as running,
    ):
        yield running


async def until_counted(demo: RunningDemo, person: str, **wanted: int) -> None:
    """Until both servers of the feed together count so for one employee."""
    while True:
        seen = [(await demo.oracle(n))["by_employee"].get(person, {}) for n in (0, 1)]
        if all(sum(one.get(name, 0) for one in seen) == n for name, n in wanted.items()):
            return
        await asyncio.sleep(0.02)


async def test_a_sales_employee_works_through_the_broker(demo: RunningDemo) -> None:
    person = demo.person("sales")
    async with demo.browser() as (browser, session):
        page = await demo.enter(browser, person)
        assert (page.outcome, page.url) == ("seated", demo.known["apps"]["feed"] + "/")
        assert person in page.text
        page, failed = await browser.view("/communities/dakar")
        assert failed == 0

        feed = demo.known["apps"]["feed"]
        content = os.urandom(3_000_000)
        async with session.put(f"{feed}/upload/x", data=io.BytesIO(content)) as answer:
            told = await answer.json()
        assert told["size"] == len(content)
        assert told["sha256"] == hashlib.sha256(content).hexdigest()
        async with session.get(f"{feed}/download?bytes=5000000") as answer:
            assert len(await answer.read()) == 5_000_000

        async with session.ws_connect(f"{feed}/live", headers={"Origin": feed}) as live:
            assert (await live.receive_json())["user"] == person
            await live.send_str("żółw")
            while (message := await live.receive_json())["type"] != "echo":
                pass
            assert message["text"] == "żółw"
            async with session.get(f"{feed}/events") as events:
                assert await events.content.readline() == b"retry: 2000\n"
                await until_counted(demo, person, in_flight=2)
        await until_counted(demo, person, in_flight=0)

        page = await browser.log_out()
        again = await browser.navigate(f"{feed}/")
        assert 'name="password"' in again.text


async def test_backends_see_who_it_is_and_nothing_that_is_the_broker_s(demo: RunningDemo) -> None:
    person = demo.person("managers")
    async with demo.browser() as (browser, session):
        await demo.enter(browser, person)
        forged = {"X-Remote-User": "root", "x_remote_user": "root", "X-Trace-Me": "1"}
        del forged["x_remote_user"]
        async with session.get(demo.known["apps"]["feed"] + "/api/whoami", headers=forged) as got:
            assert (await got.json())["user"] == person
        heads = [head for n in (0, 1) for head in (await demo.oracle(n))["heads"]]
        mine = [head for head in heads if "X-Trace-Me" in head]
        assert len(mine) == 1
        lines = mine[0].split("\r\n")
        assert lines[0] == "GET /api/whoami HTTP/1.1"
        assert f"X-Remote-User: {person}" in lines
        assert "X-Remote-Population: managers" in lines
        assert sum(line.lower().startswith("x-remote-user:") for line in lines) == 1
        assert not any("__Host-broker" in head for head in heads)
        assert "root" not in mine[0]


async def test_the_wiki_verifies_the_assertion(demo: RunningDemo) -> None:
    person = demo.person("sales", 1)
    async with demo.browser("wiki") as (browser, session):
        page = await demo.enter(browser, person)
        assert page.outcome == "seated"
        assert ">verified<" in page.text
        async with session.get(demo.known["apps"]["wiki"] + "/api/claims") as answer:
            claims = (await answer.json())["claims"]
        assert (claims["sub"], claims["aud"], claims["population"]) == (person, "wiki", "sales")


async def test_one_login_opens_both_applications(demo: RunningDemo) -> None:
    async with demo.browser("wiki") as (browser, _):
        await demo.enter(browser, demo.person("sales", 2))
        page = await browser.navigate(demo.known["apps"]["feed"] + "/communities/sales")
        assert page.outcome == "seated"
        assert page.url.endswith("/communities/sales")


async def test_who_is_not_admitted_is_told_so(demo: RunningDemo) -> None:
    async with demo.browser() as (browser, _):
        page = await browser.log_in(demo.person("everyone"), demo.known["password"])
        assert page.outcome == "refused"


@pytest.mark.parametrize("population", ["disabled", "nobody", "sales"])
async def test_who_may_not_log_in_stays_at_the_form(demo: RunningDemo, population: str) -> None:
    person = "nobody" if population == "nobody" else demo.person(population, 3)
    password = "wrong" if population == "sales" else demo.known["password"]
    async with demo.browser() as (browser, _):
        page = await browser.log_in(person, password)
        assert page.outcome in ("failed", "refused", "login")
        assert (await browser.navigate(demo.known["apps"]["feed"] + "/")).form_address()
    seen = [(await demo.oracle(n))["by_employee"] for n in (0, 1)]
    assert all(person not in one for one in seen)


async def test_a_stranger_s_program_gets_401_json(demo: RunningDemo) -> None:
    async with demo.browser() as (_, session):
        headers = {"Accept": "application/json"}
        url = demo.known["apps"]["feed"] + "/api/posts"
        async with session.get(url, headers=headers, allow_redirects=False) as answer:
            assert answer.status == 401
            assert answer.content_type in ("application/json", "application/problem+json")


async def test_a_broken_backend_is_told_truly(demo: RunningDemo) -> None:
    async with demo.browser() as (browser, session):
        await demo.enter(browser, demo.person("sales", 4))
        url = demo.known["apps"]["feed"] + "/api/posts"
        for change, wanted in (
            ({"garbage": True}, 502),
            ({"abort": "before-head"}, 502),
            ({"status": 500}, 500),
        ):
            for number in (0, 1):
                await demo.oracle(number, change={"mend": True, **change})
            async with session.post(url, json={"text": "x"}) as answer:
                assert answer.status == wanted, change
        for number in (0, 1):
            await demo.oracle(number, change={"abort": "mid-body", "mend": True})
        with pytest.raises(aiohttp.ClientPayloadError):
            async with session.get(url) as answer:
                await answer.read()
        for number in (0, 1):
            await demo.oracle(number, change={"mend": True})
        async with session.get(url) as answer:
            assert answer.status == 200


async def test_the_command_line_finds_what_it_needs(demo: RunningDemo) -> None:
    lines = (demo.state / "env").read_text().splitlines()
    environment = dict(line.split("=", 1) for line in lines)
    assert environment["BROKER_ADMIN_URL"] == demo.known["admin"]
    token = {"Authorization": f"Bearer {environment['BROKER_ADMIN_TOKEN']}"}
    async with aiohttp.ClientSession() as session:
        url = demo.known["admin"] + "/api/v1/workers"
        async with session.get(url) as stranger, session.get(url, headers=token) as operator:
            assert (stranger.status, operator.status) == (401, 200)


def run(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=100, check=False, cwd=CHECKOUT
    )


def test_employees_arrive_and_leave(demo: RunningDemo) -> None:
    told = run("demo", "arrive", 12, "--rate", 20, "--seconds", 4, "--state", demo.state)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "12 employees arrived. Seated at the same time: 12." in told.stdout
    refused = run("demo", "arrive", 3, "--from", "everyone", "--seconds", 2, "--state", demo.state)
    assert "Refused: 3." in refused.stdout


def test_arriving_where_no_demo_runs_says_so(tmp_path: Path) -> None:
    told = run("demo", "arrive", 1, "--state", tmp_path)
    assert told.returncode == 2
    assert "broker demo" in told.stderr


def test_a_folder_or_port_in_use_is_a_clear_message(demo: RunningDemo, tmp_path: Path) -> None:
    same_folder = run("demo", "--state", demo.state, "--public-port", 1, "--admin-port", 2)
    assert same_folder.returncode == 1
    assert "runs in" in same_folder.stderr
    port = demo.known["home"].rsplit(":")[-1]
    same_port = run("demo", "--state", tmp_path / "d", "--public-port", port)
    assert same_port.returncode == 1
    assert f"Port {port} is in use" in same_port.stderr
    assert not (tmp_path / "d" / "logs").exists()


async def test_a_part_that_dies_is_reported_and_comes_back(demo: RunningDemo) -> None:
    lost = next(pid for pid, line in demo.processes().items() if "--name feed-2" in line)
    os.kill(lost, signal.SIGKILL)
    async with demo.browser() as (browser, _):
        page = await demo.enter(browser, demo.person("sales", 5))
        assert page.outcome == "seated"
    async with asyncio.timeout(40):
        while "feed-2 was started again" not in "".join(demo.text):
            await asyncio.sleep(0.1)
        while True:
            try:
                await demo.oracle(1)
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
    assert "feed-2 was killed by SIGKILL" in "".join(demo.text)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_another_one_beside_it_stops_without_a_trace(
    demo: RunningDemo, how: signal.Signals
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=5, workers=1) as other,
    ):
        assert other.known["home"] != demo.known["home"]
        async with other.browser() as (browser, session):
            page = await other.enter(browser, other.person("sales"))
            assert page.outcome == "seated"
            feed = other.known["apps"]["feed"]
            live = await session.ws_connect(f"{feed}/live", headers={"Origin": feed})
            assert len(other.processes()) >= 6
            assert await asyncio.to_thread(other.stop, how) == 0
            await live.close()
        assert other.processes() == {}
        assert not (other.state / "env").exists()
        assert not list(other.state.rglob("*.sock"))
        for url in (other.known["home"], other.known["admin"]):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", int(url.rsplit(":")[-1])))


async def test_the_broker_s_end_is_the_demo_s_end(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="demo") as folder:
        with running_demo(Path(folder), seats=5, workers=1) as other:
            supervisor = next(pid for pid, line in other.processes().items() if " serve " in line)
            os.kill(supervisor, signal.SIGKILL)
            assert await asyncio.to_thread(other.process.wait, 40) == 1
            # Its children, for whom nobody waits any more, end by themselves: their lifeline is
            # cut, and what is under way is over within seconds.
            async with asyncio.timeout(20):
                while other.processes():
                    await asyncio.sleep(0.05)
        assert "The broker was killed by SIGKILL" in "".join(other.text)
