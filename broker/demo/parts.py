"""The processes of the demo: started together, watched, stopped in order, none left behind.

A *part* is one child process whose output goes to a log file of its own. It leads a session of its
own, so that Ctrl-C in the terminal reaches the demo alone, which then stops the parts in order; and
the kernel sends it SIGTERM should the demo itself be killed. Talks to processes and log files only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

TAIL_LINES = 20
LOOK_EVERY = 0.03
GONE_WITHIN = 3.0  # seconds
_READY = re.compile(rb"^READY (\d+)\s*$", re.MULTILINE)


class PartFailed(Exception):
    """A part did not start or died; ``tail`` is the end of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        super().__init__(f"{name} {what}")
        self.tail = end_of(log)
        self.log = log


@dataclass
class Part:
    """One child process. ``stop_within``: seconds between SIGTERM and SIGKILL."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_within: float = 5.0
    process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, or start it again: the log of an earlier life in this run is kept."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab" if self.process else "wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *_dying_with_us(),
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
                start_new_session=True,
            )

    async def until(self, ready: Callable[[], Awaitable[bool]], within: float) -> None:
        """Wait for ``ready``. Raises PartFailed when the process ends first, or it takes longer
        than ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while not await ready():
                    if self.process is not None and self.process.returncode is not None:
                        raise PartFailed(self.name, self.ending(), self.log)
                    await asyncio.sleep(LOOK_EVERY)
        except TimeoutError:
            what = f"was not ready within {within:.0f} s"
            raise PartFailed(self.name, what, self.log) from None

    async def port(self, within: float = 30.0) -> int:
        """The port in the ``READY PORT`` line that the part prints."""

        async def printed() -> bool:
            return _READY.search(self.log.read_bytes()) is not None

        await self.until(printed, within)
        found = _READY.search(self.log.read_bytes())
        return int(found[1]) if found else 0

    async def ended(self) -> int:
        """Wait for the end of the process; its exit code, negative for a signal."""
        return await self.process.wait() if self.process else 0

    def ending(self) -> str:
        """How it ended, in words."""
        code = self.process.returncode if self.process else None
        if code is None:
            return "is running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    async def stop(self) -> None:
        """SIGTERM, a while, then SIGKILL to all that is left of its session; returns when that is
        gone: a port that it held can be taken at once. Idempotent."""
        process = self.process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.stop_within):
                    await process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        await _until_gone(process.pid)


async def _until_gone(group: int) -> None:
    """Wait for orphans, which are nobody's here to wait for; at most GONE_WITHIN, because an init
    that reaps nothing keeps dead ones for ever."""
    with contextlib.suppress(ProcessLookupError, TimeoutError):
        async with asyncio.timeout(GONE_WITHIN):
            while True:
                os.killpg(group, 0)
                await asyncio.sleep(LOOK_EVERY)


def end_of(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log file, "" when there is none."""
    try:
        text = log.read_bytes()[-64 * 1024 :].decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _dying_with_us() -> list[str]:
    """In front of a command: the kernel sends it SIGTERM when the demo dies without stopping it
    (prctl PR_SET_PDEATHSIG). Without util-linux's setpriv the demo does without."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
