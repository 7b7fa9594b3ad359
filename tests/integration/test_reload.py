"""A reload of a whole broker: the portal goes by the file as it is now, the workers keep what they
were told meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import aiohttp
import yaml

from tests.support.running_broker import TOKEN, running_broker

if TYPE_CHECKING:
    from tests.support.running_broker import RunningBroker


async def login_page(session: aiohttp.ClientSession, broker: RunningBroker) -> str:
    headers = {"Host": "home.test", "Accept": "text/html"}
    async with session.get(broker.url("/.broker/login"), headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def reload(session: aiohttp.ClientSession, broker: RunningBroker) -> tuple[int, str]:
    token = {"Authorization": f"Bearer {TOKEN}"}
    async with session.post(f"{broker.admin}/api/v1/reload", headers=token) as answer:
        return answer.status, await answer.text()


async def test_the_portal_takes_the_new_file_and_keeps_the_old_one_for_a_wrong_one() -> None:
    pools = {"one": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}}
    with running_broker(pools, company={"name": "Before Ltd"}) as broker:
        path = broker.folder / "broker.yaml"
        written = yaml.safe_load(path.read_text())
        async with aiohttp.ClientSession() as session:
            assert "Before Ltd" in await login_page(session, broker)
            path.write_text(yaml.safe_dump({**written, "company": {"name": "After Ltd"}}))
            status, answer = await reload(session, broker)
            assert (status, json.loads(answer)["needs_restart"]) == (200, [])
            page = await login_page(session, broker)
            assert "After Ltd" in page
            assert "Before Ltd" not in page
            path.write_text(yaml.safe_dump({**written, "company": {"nane": "Wrong Ltd"}}))
            status, why = await reload(session, broker)
            assert status == 400
            assert "nane" in why
            assert "the old configuration stays in force" in why
            more_workers = {**written, "workers": 5, "company": {"name": "After Ltd"}}
            path.write_text(yaml.safe_dump(more_workers))
            status, answer = await reload(session, broker)
            assert (status, json.loads(answer)["needs_restart"]) == (200, ["workers"])
            assert "After Ltd" in await login_page(session, broker)
        assert broker.stop() == 0, broker.log()


async def test_a_wrong_file_at_a_signal_is_logged_fault_by_fault() -> None:
    pools = {"one": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}}
    with running_broker(pools) as broker:
        path = broker.folder / "broker.yaml"
        written = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**written, "wokers": 3, "company": {"nane": "x"}}))
        broker.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(20):
            while "the old configuration stays in force" not in broker.log():
                await asyncio.sleep(0.02)
        assert "wokers: is not a key here" in broker.log()
        assert "company.nane: is not a key here" in broker.log()
        assert broker.stop() == 0, broker.log()


async def test_a_drained_server_stays_so_over_a_reload_and_a_killed_worker() -> None:
    servers = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    pools = {"one": {"servers": servers, "connections": {"limit": 10}}}
    token = {"Authorization": f"Bearer {TOKEN}"}

    async def drained(broker: RunningBroker) -> list[bool]:
        listed = (await broker.api("/pools"))["pools"]["one"]["servers"]
        return [each["draining"] for each in sorted(listed, key=lambda each: str(each["server"]))]

    async def one_worker_anew(broker: RunningBroker) -> None:
        """Kill the first worker of this host and wait until its successor answers. A server counts
        as drained only when all workers say so."""
        old, *_ = (await broker.api("/workers"))["workers"]
        os.kill(old["pid"], signal.SIGKILL)
        async with asyncio.timeout(30):
            while True:
                now = (await broker.api("/workers"))["workers"]
                alive = [each["id"] for each in now if each["pid"] and each["answers"]]
                if len(alive) == 2 and old["id"] not in alive:
                    return
                await asyncio.sleep(0.05)

    with running_broker(pools) as broker:
        async with aiohttp.ClientSession(headers=token) as session:

            async def switch(what: str) -> None:
                url = f"{broker.admin}/api/v1/servers/{what}"
                async with session.post(url, json={"server": servers[1]}) as answer:
                    assert answer.status == 200, await answer.text()
                    assert await answer.json() == {
                        "server": servers[1], "workers": ["worker-0", "worker-1"], "missing": [],
                    }  # fmt: skip

            assert await drained(broker) == [False, False]
            await switch("drain")
            assert await drained(broker) == [False, True]
            assert (await reload(session, broker))[0] == 200
            assert await drained(broker) == [False, True]
            await one_worker_anew(broker)
            assert await drained(broker) == [False, True]
            await switch("enable")
            assert await drained(broker) == [False, False]
            await one_worker_anew(broker)
            assert await drained(broker) == [False, False]
        assert broker.stop() == 0, broker.log()
