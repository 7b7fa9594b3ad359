"""The corpus of raw exchanges, chapter by chapter, through a real broker to aiohttp, to nginx and
to a backend that says what it is told; each exchange logged in and logged out. How a chapter is
written: tests/corpus/README.md.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.support import corpus, corpus_backends
from tests.support.corpus_faults import OWN_FIELDS, access_log, compared
from tests.support.corpus_player import AT_ONCE, EMPLOYEE, PORT, Played, Player
from tests.support.running_broker import RunningBroker, running_broker
from tests.support.running_demo import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.corpus import Case

LANES = 6
CHAPTERS = corpus.chapters()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    names = ["aiohttp", "nginx", *(f"lane{number}" for number in range(LANES))]
    return dict(zip(names, free_ports(len(names)), strict=True))


@pytest.fixture(scope="module")
def received(
    ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Callable[[], list[corpus_backends.Received]]]]:
    """The logs of both servers, read anew at each call."""
    cases = [case for path in CHAPTERS for case in corpus.read(path).cases]
    heads = [b"\r\n" + b"\r\n".join([f"{name}:".encode() for name in OWN_FIELDS])]
    heads += [case.request.partition(b"\r\n\r\n")[0] for case in cases]
    names = corpus_backends.nginx_names(heads)
    folder = tmp_path_factory.mktemp("aiohttp"), tmp_path_factory.mktemp("nginx")
    with (
        corpus_backends.aiohttp_backend(ports["aiohttp"], folder[0]) as aiohttp,
        corpus_backends.nginx_backend(ports["nginx"], folder[1], names) as nginx,
    ):
        yield {"aiohttp": aiohttp, "nginx": nginx}


@pytest.fixture(scope="module")
def broker(ports: dict[str, int]) -> Iterator[RunningBroker]:
    pools = {
        name: {
            "servers": [f"http://127.0.0.1:{port}"],
            "connections": {"limit": 200},
            "health": {"every": "1h", "unhealthy_after": 1000},
        }
        for name, port in ports.items()
    }
    hosts = [
        {
            "origin": f"https://{name}{suffix}",
            "routes": [
                {"path": "/", "pool": name, "body_limit": "1MiB"},
                {"path": "/open", "pool": name, "allow_encoded_slash": True},
                {"path": "/small", "pool": name, "body_limit": 10},
                {"path": "/live", "pool": name, "origins": ["https://elsewhere.test"]},
            ],
        }
        for name in ports
        for suffix in (".test", f"-port.test{PORT}")
    ]
    with running_broker(
        pools, workers=1, hosts=hosts, access_log={"path": "access.log", "employee": "plain"}
    ) as running:
        yield running


@pytest.fixture
async def player(broker: RunningBroker, ports: dict[str, int]) -> Player:
    record = await broker.session(EMPLOYEE)
    authorities = [f"{name}{suffix}" for name in ports for suffix in (".test", f"-port.test{PORT}")]
    return Player(
        broker, {each: broker.tokens.session_cookie(record, each) for each in authorities}
    )


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
async def test_a_chapter(
    path: Path,
    broker: RunningBroker,
    ports: dict[str, int],
    player: Player,
    received: dict[str, Callable[[], list[corpus_backends.Received]]],
) -> None:
    chapter = corpus.read(path)
    played = await _play(player, chapter.cases, ports)
    logged = await access_log(broker, played)
    faults = compared(played, logged, received)
    assert not faults, f"{len(faults)} faults in {path.name}:\n  " + "\n  ".join(faults)


async def _play(player: Player, cases: list[Case], ports: dict[str, int]) -> list[Played]:
    """All of them, a few at a time."""
    scripted: asyncio.Queue[Case] = asyncio.Queue()
    room = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case, backend: str, logged_in: bool) -> Played:
        async with room:
            return await player.play(case, backend, logged_in=logged_in)

    async with asyncio.TaskGroup() as group:
        tasks = []
        for case in cases:
            if case.answer is not None:
                scripted.put_nowait(case)
                continue
            for backend in case.backends or ("aiohttp", "nginx"):
                tasks += [group.create_task(one(case, backend, who)) for who in (True, False)]
        lanes = [
            group.create_task(player.lane(scripted, number, ports[f"lane{number}"]))
            for number in range(LANES if scripted.qsize() else 0)
        ]
    return [task.result() for task in tasks] + [each for lane in lanes for each in lane.result()]


def test_the_corpus_is_large_and_names_its_sources() -> None:
    cases = [case for path in CHAPTERS for case in corpus.read(path).cases]
    assert len(cases) >= 350
    source = re.compile(r"(RFC (9110|9112|3986|6265|6455|8297)|design) \d+(\.\d+)*[a-z]?")
    assert not [case.name for case in cases if not source.fullmatch(case.rule)]
