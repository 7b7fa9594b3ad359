"""Parts start, say when they are ready, fail with the end of their log, and never stay behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from broker.demo.parts import Part, PartFailed, end_of

SPEAKS = "import time; print('hello'); print('READY 4711', flush=True); time.sleep(600)"
DIES = "import sys; print('one'); sys.exit('no such file')"
LARGE_CHILD = (
    "import time; held = b'x' * (256 << 20); print('READY 1', flush=True); time.sleep(600)"
)
"""What the kernel needs a while to tear down after SIGKILL."""
STUBBORN = (
    "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    f"child = subprocess.Popen([sys.executable, '-c', {LARGE_CHILD!r}]);"
    "print('CHILD', child.pid, flush=True); time.sleep(600)"
)


def part(tmp_path: Path, script: str, **options: float) -> Part:
    return Part("The part", [sys.executable, "-c", script], tmp_path / "log", **options)  # type: ignore[arg-type]


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    async with asyncio.timeout(10):
        while runs(pid):
            await asyncio.sleep(0.01)


async def test_ready_is_read_from_the_log(tmp_path: Path) -> None:
    speaking = part(tmp_path, SPEAKS)
    await speaking.start()
    try:
        assert await speaking.port(20.0) == 4711
    finally:
        await speaking.stop()
    assert speaking.ending() == "was killed by SIGTERM"
    await speaking.stop()


async def test_an_early_death_shows_the_end_of_the_log(tmp_path: Path) -> None:
    dying = part(tmp_path, DIES)
    await dying.start()
    with pytest.raises(PartFailed, match="The part ended with exit code 1") as caught:
        await dying.port(20.0)
    assert "no such file" in caught.value.tail
    await dying.stop()


async def test_what_is_never_ready_is_given_up(tmp_path: Path) -> None:
    silent = part(tmp_path, "import time; time.sleep(600)")
    await silent.start()
    try:
        with pytest.raises(PartFailed, match="not ready within 0 s"):
            await silent.port(0.05)
    finally:
        await silent.stop()


async def test_stopping_takes_the_whole_session_along(tmp_path: Path) -> None:
    stubborn = part(tmp_path, STUBBORN, stop_within=0.1)
    await stubborn.start()
    await stubborn.port(20.0)
    child = int(end_of(stubborn.log).split("CHILD ")[1].split()[0])
    assert runs(child)
    await stubborn.stop()
    assert stubborn.ending() == "was killed by SIGKILL"
    assert not runs(child), "gone when stop returns"


async def test_parts_die_with_a_demo_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL to the parent leaves no child behind (prctl PR_SET_PDEATHSIG)."""
    parent = (
        "import asyncio, pathlib, sys\n"
        "from broker.demo.parts import Part\n"
        "async def main():\n"
        f"    log = pathlib.Path({str(tmp_path / 'log')!r})\n"
        f"    part = Part('p', [sys.executable, '-c', {SPEAKS!r}], log)\n"
        "    await part.start(); await part.port(); print(part.process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", parent, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    pid = int(await process.stdout.readline())
    assert runs(pid)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    await gone(pid)
