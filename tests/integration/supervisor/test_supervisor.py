"""The supervisor as a real process with real children, sockets and signals; the children are small
programs that answer with their name and incarnation (tests/support/supervised_child.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from broker.telemetry.control import ControlClient, control_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path(__file__).parents[3]
PROGRAM = ROOT / "tests" / "support" / "supervise.py"
PATIENCE = 20.0


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Other processes cannot set our events: look until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


class Running:
    """A supervisor under test: its events, its children, its end."""

    def __init__(self, process: asyncio.subprocess.Process, run_dir: Path, log: Path) -> None:
        self.process = process
        self.run_dir = run_dir
        self._log = log
        self.events: list[dict[str, Any]] = []

    async def event(self, name: str) -> dict[str, Any]:
        """The next event of that name; those before it are kept in ``events``."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            while line := await self.process.stdout.readline():
                told: dict[str, Any] = json.loads(line)
                self.events.append(told)
                if told["event"] == name:
                    return told
        raise AssertionError(f"ended without {name!r}: {self.events}")

    async def state(self) -> dict[str, Any]:
        return await ControlClient().state(control_path(self.run_dir, "supervisor"))

    async def child(self, name: str) -> dict[str, Any]:
        return next(c for c in (await self.state())["children"] if c["name"] == name)

    async def until_ready(self, name: str, *, not_pid: int) -> dict[str, Any]:
        """The child of that name once it is another process and ready."""

        async def renewed() -> bool:
            child = await self.child(name)
            return bool(child["ready"]) and child["pid"] != not_pid

        await until(renewed)
        return await self.child(name)

    def notes(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []

    async def noted(self, start: str, count: int = 1) -> list[str]:
        """The children's notes that begin so, once there are ``count`` of them."""

        def found() -> list[str]:
            return [note for note in self.notes() if note.startswith(start)]

        async def enough() -> bool:
            return len(found()) >= count

        await until(enough)
        return found()

    def pids(self) -> list[int]:
        return [int(note.rsplit(" ", 1)[1]) for note in self.notes() if note.startswith("ready")]

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


class Starter:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log = directory / "children.log"
        self.started: list[Running] = []

    async def __call__(self, **given: Any) -> Running:
        run_dir = Path(given.setdefault("run_dir", str(self.directory / "run")))
        given.setdefault("public", ["127.0.0.1:0"])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(PROGRAM),
            json.dumps(given),
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "CHILD_LOG": str(self.log), "PYTHONPATH": str(ROOT)},
        )
        running = Running(process, run_dir, self.log)
        self.started.append(running)
        return running


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")


async def gone(pids: list[int]) -> None:
    async def all_gone() -> bool:
        return not any(alive(pid) for pid in pids)

    await until(all_gone)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Starter]:
    starter = Starter(tmp_path)
    yield starter
    for running in starter.started:
        if running.process.returncode is None:
            running.process.kill()
    for pid in starter.started[0].pids() if starter.started else []:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for running in starter.started:
        await running.process.wait()  # ends when nobody holds its output open any more


async def ask(address: str, line: str = "hello") -> list[str]:
    """[name, incarnation, pid, line] of whoever accepted the connection."""
    host, _, port = address.rpartition(":")
    return await converse(*await asyncio.open_connection(host.strip("[]"), int(port)), line)


async def converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: str
) -> list[str]:
    writer.write(line.encode() + b"\n")
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().split()


async def test_all_children_serve_on_their_inherited_sockets(start: Starter) -> None:
    running = await start(workers=2)
    ready = await running.event("ready")
    (address,) = ready["public"][0]
    names = {(await ask(address))[0] for _ in range(64)}
    assert names == {"worker-0", "worker-1"}, "the kernel spreads connections over both slots"
    assert (await ask(ready["admin"][0]))[0] == "admin-0"
    state = await running.state()
    assert state["ready"]
    assert [child["name"] for child in state["children"]] == [
        "worker-0", "worker-1", "portal", "admin",
    ]  # fmt: skip
    assert all(child["incarnation"].startswith("testhost/") for child in state["children"])
    assert (running.run_dir / "portal.sock").stat().st_mode & 0o777 == 0o600


async def test_a_killed_worker_leaves_its_queue_to_its_successor(start: Starter) -> None:
    running = await start(workers=1)
    (address,) = (await running.event("ready"))["public"][0]
    before = await running.child("worker-0")
    os.kill(before["pid"], signal.SIGSTOP)
    # Their handshakes end while the worker cannot accept: all of them lie in its queue.
    host, _, port = address.rpartition(":")
    browsers = [await asyncio.open_connection(host, int(port)) for _ in range(20)]
    os.kill(before["pid"], signal.SIGKILL)
    answers = await asyncio.gather(
        *(converse(*browser, f"line-{number}") for number, browser in enumerate(browsers))
    )
    after = await running.until_ready("worker-0", not_pid=before["pid"])
    assert {answer[1] for answer in answers} == {after["incarnation"]}
    assert sorted(answer[3] for answer in answers) == sorted(f"line-{n}" for n in range(20))
    assert after["incarnation"] != before["incarnation"]
    assert after["restarts"] == 1


async def test_the_tombstone_names_the_dead_and_is_retried_until_taken(start: Starter) -> None:
    running = await start(workers=2, refuse_tombstones=2)
    await running.event("ready")
    before = await running.child("worker-1")
    os.kill(before["pid"], signal.SIGKILL)
    written = await running.event("tombstone")
    assert written["incarnation"] == before["incarnation"]
    refused = [event for event in running.events if event["event"] == "refused"]
    assert [event["incarnation"] for event in refused] == [before["incarnation"]] * 2
    metrics, _ = await ControlClient().metrics(control_path(running.run_dir, "supervisor"))
    assert 'broker_worker_restarts_total{kind="worker"} 1.0' in metrics
    assert 'broker_worker_restarts_total{kind="portal"} 0.0' in metrics
    assert "broker_workers_expected 2.0" in metrics


async def test_portal_and_admin_are_restarted_without_tombstone(start: Starter) -> None:
    running = await start(workers=1)
    await running.event("ready")
    for name in ("portal", "admin"):
        before = await running.child(name)
        os.kill(before["pid"], signal.SIGKILL)
        after = await running.until_ready(name, not_pid=before["pid"])
        assert after["restarts"] == 1
    assert not [event for event in running.events if event["event"] == "tombstone"]
    assert (await running.state())["tombstones_waiting"] == []


async def test_a_port_in_use_is_named_before_anything_starts(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        port = occupied.getsockname()[1]
        running = await start(public=["127.0.0.1:0", f"127.0.0.1:{port}"])
        error = await running.event("error")
    assert error["reason"] == f"cannot listen on 127.0.0.1:{port}: address already in use"
    assert await running.process.wait() == 1
    assert running.notes() == []


async def test_another_brokers_reuseport_socket_counts_as_in_use(start: Starter) -> None:
    first = await start(workers=1)
    (address,) = (await first.event("ready"))["public"][0]
    second = await start(public=[address], run_dir=str(start.directory / "second"))
    assert (await second.event("error"))["reason"].endswith("address already in use")
    assert await second.process.wait() == 1


async def test_a_second_broker_on_the_same_run_dir_is_refused(start: Starter) -> None:
    first = await start(workers=1)
    await first.event("ready")
    second = await start(workers=1)
    assert "another broker is running" in (await second.event("error"))["reason"]
    assert await second.process.wait() == 1
    assert (await first.state())["ready"], "and the first one's control socket is untouched"


async def test_children_drain_when_the_supervisor_dies(start: Starter) -> None:
    running = await start(workers=2)
    await running.event("ready")
    await running.end(signal.SIGKILL)
    stopped = await running.noted("stop[the supervisor is gone]", 4)
    assert len(stopped) == 4
    await gone(running.pids())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopping_is_graceful_and_leaves_nothing(
    start: Starter, number: signal.Signals
) -> None:
    running = await start(workers=2)
    (address,) = (await running.event("ready"))["public"][0]
    workers = [(await running.child(f"worker-{slot}"))["incarnation"] for slot in (0, 1)]
    assert await running.end(number) == 0
    stopped = [note.split()[3] for note in await running.noted("stop[asked to stop]", 4)]
    assert set(stopped[:2]) == {"worker-0", "worker-1"}, "the portal outlives the workers"
    await running.event("tombstone")
    await running.event("tombstone")
    buried = {e["incarnation"] for e in running.events if e["event"] == "tombstone"}
    assert buried == set(workers)
    await gone(running.pids())
    assert [path.name for path in running.run_dir.iterdir()] == ["lock"]
    with pytest.raises(ConnectionRefusedError):
        await ask(address)


async def test_a_worker_that_does_not_end_is_killed_after_the_deadline(start: Starter) -> None:
    running = await start(workers=2, modes={"worker-1": "deaf"}, stop_timeout=0.3)
    await running.event("ready")
    assert await running.end() == 0
    await gone(running.pids())


async def test_nobody_is_let_into_a_queue_that_will_not_be_served(start: Starter) -> None:
    running = await start(workers=1, modes={"worker-0": "slow"}, stop_timeout=1000.0)
    (address,) = (await running.event("ready"))["public"][0]
    running.process.send_signal(signal.SIGTERM)
    await running.noted("stop[asked to stop]")

    async def refused() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", int(address.split(":")[1]))
        except ConnectionRefusedError:
            return True
        writer.close()
        return False

    await until(refused)
    assert running.process.returncode is None, "the worker still drains"


async def test_a_second_signal_later_kills_at_once(start: Starter) -> None:
    running = await start(workers=1, modes={"worker-0": "deaf"}, stop_timeout=1000.0)
    await running.event("ready")
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)  # the same Ctrl-C, delivered twice

    async def stopping() -> bool:
        return bool((await running.state())["stopping"])

    await until(stopping)
    await asyncio.sleep(1.1)  # from one second on it is another Ctrl-C
    assert await running.end(signal.SIGINT) == 0
    await gone(running.pids())


async def test_a_child_that_cannot_start_ends_the_whole(start: Starter) -> None:
    running = await start(workers=2, modes={"portal": "broken"})
    async with asyncio.timeout(PATIENCE):
        assert await running.process.wait() == 1
    await gone(running.pids())


async def test_reload_is_taken_then_told_to_every_child(start: Starter) -> None:
    running = await start(workers=2)
    await running.event("ready")
    running.process.send_signal(signal.SIGHUP)
    told = [(await running.event("tell"))["name"] for _ in range(4)]
    assert told == ["worker-0", "worker-1", "portal", "admin"]
    assert [e["event"] for e in running.events if e["event"] != "tell"] == ["ready", "reload"]


async def test_reopening_reaches_every_child(start: Starter) -> None:
    running = await start(workers=2)
    await running.event("ready")
    running.process.send_signal(signal.SIGUSR1)
    await running.noted("reopened", 4)
    assert (await running.state())["ready"], "nobody died of it"


async def test_a_starting_child_is_not_killed_by_the_signal_to_reopen(start: Starter) -> None:
    running = await start(workers=1, modes={"worker-0": "late"})
    await running.noted("ready", 2)  # portal and admin
    running.process.send_signal(signal.SIGUSR1)
    await running.noted("reopened", 2)
    (start.directory / "now").touch()
    await running.event("ready")
    await running.noted("reopened worker-0")
    assert (await running.child("worker-0"))["restarts"] == 0


async def test_ctrl_c_in_a_terminal_reaches_the_supervisor_alone(start: Starter) -> None:
    running = await start(workers=1)
    await running.event("ready")
    os.killpg(running.process.pid, signal.SIGINT)  # as the terminal does: to the whole group
    async with asyncio.timeout(PATIENCE):
        assert await running.process.wait() == 0
    assert len(await running.noted("stop[asked to stop]", 3)) == 3
    assert not [note for note in running.notes() if note.startswith("stop[interrupted]")]


async def test_a_unix_socket_is_shared_by_all_slots_and_a_stale_file_replaced(
    start: Starter,
) -> None:
    path = start.directory / "public.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    running = await start(workers=2, public=[f"unix:{path}"])
    assert (await running.event("ready"))["public"] == [[f"unix:{path}"]]
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"hello\n")
    assert (await reader.read()).startswith(b"worker-")
    writer.close()
    await writer.wait_closed()
    await running.end()
    assert not path.exists()
