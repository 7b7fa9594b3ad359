"""The control socket: what a process tells, what it does when told, and who may ask."""

from __future__ import annotations

import asyncio
import stat
from typing import TYPE_CHECKING

import pytest

from broker.errors import ConfigurationError, NotFound, Refused
from broker.telemetry.control import ControlClient, ControlServer, bind_private, control_path

if TYPE_CHECKING:
    from pathlib import Path


def server(path: Path, done: list[str]) -> ControlServer:
    async def drain() -> None:
        done.append("drain")

    async def reload() -> None:
        raise ConfigurationError("the file has 2 faults", ("seats: missing", "x: unknown"))

    async def drain_server(name: str) -> None:
        if name != "http://[::1]:80":
            raise NotFound(f"no pool has a server {name}")
        done.append(name)

    return ControlServer(
        path,
        lambda: b"broker_ledger_up 1.0\n",
        lambda: {"slot": 0},
        {"drain": drain, "reload": reload},
        {"drain-server": drain_server},
    )


async def test_metrics_state_and_actions(tmp_path: Path) -> None:
    path = control_path(tmp_path, "worker-0")
    assert path.name == "worker-0.control"
    client, done = ControlClient(), list[str]()
    async with server(path, done):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        text, instance = await client.metrics(path)
        assert text == "broker_ledger_up 1.0\n"
        assert instance
        assert await client.state(path) == {"slot": 0}
        await client.act(path, "drain")
        assert done == ["drain"]
        with pytest.raises(
            Refused,
            match="2 faults; the old configuration stays in force\nseats: missing\nx: unknown",
        ):
            await client.act(path, "reload")
        await client.act(path, "drain-server", "http://[::1]:80")
        assert done == ["drain", "http://[::1]:80"]
        with pytest.raises(Refused, match="no pool has a server a b&c"):
            await client.act(path, "drain-server", "a b&c")
        with pytest.raises(Refused, match="drain, drain-server, reload"):
            await client.act(path, "dance")
    assert not path.exists()


async def test_the_next_life_is_another_instance_and_replaces_a_stale_file(tmp_path: Path) -> None:
    path = control_path(tmp_path, "worker-0")
    client = ControlClient()
    bind_private(path).close()  # what a killed process leaves behind
    async with server(path, []):
        _, first = await client.metrics(path)
    async with server(path, []):
        _, second = await client.metrics(path)
    assert first != second


async def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="worker-0 does not answer"):
        await ControlClient().state(control_path(tmp_path, "worker-0"))


async def test_somebody_who_does_not_answer(tmp_path: Path) -> None:
    path = control_path(tmp_path, "worker-0")
    release = asyncio.Event()

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.close()

    silent = await asyncio.start_server(hang, sock=bind_private(path))
    with pytest.raises(NotFound, match="TimeoutError"):
        await ControlClient(deadline=0.05).state(path)
    release.set()
    silent.close()
    await silent.wait_closed()


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="at most 107 bytes"):
        bind_private(tmp_path / ("x" * 108))
