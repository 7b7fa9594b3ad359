"""A real Redis for the tests: its own process, directory and Unix socket, gone afterwards."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import redis


class RedisServer:
    """``redis-server`` (or valkey-server) on a Unix socket, keeping nothing on disk by itself."""

    def __init__(self, *arguments: str) -> None:
        program = find_server()
        if program is None:
            raise FileNotFoundError("redis-server or valkey-server")
        self.program = program
        self._arguments = arguments
        self.persistent = "--appendonly" in arguments
        # Short: a Unix socket's path may have 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.directory / "s"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start and wait until it answers."""
        command = [
            self.program,
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--dir",
            str(self.directory),
            "--save",
            "",
            "--appendonly",
            "no",
            "--loglevel",
            "warning",
            *self._arguments,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        ends = time.monotonic() + 20
        with self.client() as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > ends:
                        raise
                    time.sleep(0.01)

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def kill(self) -> None:
        """As a crash: what was not on disk is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Answer nobody until thawed; connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)


def find_server() -> str | None:
    return shutil.which("redis-server") or shutil.which("valkey-server")
