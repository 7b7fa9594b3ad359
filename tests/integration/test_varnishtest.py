"""varnishtest's client and server with a whole broker between them: framing, aborts at any moment,
101. The dialogues are in ``tests/varnishtest``; each has a pool of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.running_broker import RunningBroker, running_broker
from tests.support.running_demo import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPTS = sorted((Path(__file__).parents[1] / "varnishtest").glob("*.vtc"))
LOGGED = re.compile(r"^# logged: (\d+) (\w+)$", re.MULTILINE)
PATIENCE = 20.0


@pytest.fixture(scope="module")
def varnishtest() -> str:
    found = shutil.which("varnishtest")
    if found is None:
        missing = "varnishtest is not installed (Debian: apt-get install varnish)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return dict(zip([path.stem for path in SCRIPTS], free_ports(len(SCRIPTS)), strict=True))


@pytest.fixture(scope="module")
def broker(varnishtest: str, ports: dict[str, int]) -> Iterator[RunningBroker]:
    """The active checks come before any server listens, and not again."""
    pools = {
        name: {
            "servers": [f"http://127.0.0.1:{port}"],
            "connections": {"limit": 100},
            "health": {"every": "1h", "unhealthy_after": 1000},
        }
        for name, port in ports.items()
    }
    with running_broker(pools, workers=1) as running:
        yield running


@pytest.mark.parametrize("script", SCRIPTS, ids=[path.stem for path in SCRIPTS])
async def test_a_dialogue(
    script: Path, broker: RunningBroker, varnishtest: str, ports: dict[str, int]
) -> None:
    name = script.stem
    cookie = await broker.cookie(name, "ada")
    macros = {
        "broker": f"127.0.0.1:{broker.port}",
        "server": f"127.0.0.1:{ports[name]}",
        "host": f"{name}.test",
        "cookie": f"Cookie: __Host-broker={cookie}",
    }
    words = [word for macro in macros.items() for word in ("-D", "=".join(macro))]
    before = len(_lines(broker))
    done = await asyncio.to_thread(
        subprocess.run,
        [varnishtest, "-v", "-t", "60", *words, str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{name}:\n{done.stdout[-6000:]}{done.stderr}"
    wanted = said_of(script)
    assert wanted, "a script says what is to be logged"
    assert await _logged(broker, before, len(wanted)) == wanted
    assert await _in_flight(broker, name) == 0


def said_of(script: Path) -> list[tuple[int, str]]:
    """(status, outcome) of the exchanges that a script says will be logged."""
    return [(int(status), outcome) for status, outcome in LOGGED.findall(script.read_text())]


def _lines(broker: RunningBroker) -> list[tuple[int, str]]:
    """(status, outcome) of all exchanges that the broker has logged so far."""
    text = (broker.folder / "access.log").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["status"], line["outcome"]) for line in lines]


async def _logged(broker: RunningBroker, before: int, wanted: int) -> list[tuple[int, str]]:
    """What was logged since there were ``before`` lines, once it is enough: the broker writes it
    once a second."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while len(_lines(broker)) < before + wanted and loop.time() < ends:
        await asyncio.sleep(0.05)
    return _lines(broker)[before:]


async def _in_flight(broker: RunningBroker, pool: str) -> int:
    """Exchanges in flight to a pool's server as soon as there are none, or after a while."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + PATIENCE
    while True:
        found = (await broker.api("/pools"))["pools"][pool]
        left = sum(server["in_flight"] for server in found["servers"])
        if not left or loop.time() > ends:
            return int(left)
        await asyncio.sleep(0.05)
