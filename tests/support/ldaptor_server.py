"""The demo's own LDAP server as a process for tests, once with LDAPS and once with StartTLS."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LdaptorServer:
    """Started and stopped as often as needed, on the same two ports."""

    def __init__(self, directory: Path, ldif: bytes, certificate: Path, key: Path) -> None:
        self._ldif = directory / "people.ldif"
        self._ldif.write_bytes(ldif)
        self._certificate = certificate
        self._key = key
        self.ldap_port = self.ldaps_port = 0
        self._processes: list[subprocess.Popen[str]] = []

    def start(self) -> None:
        self.ldaps_port = self._run(self.ldaps_port)
        self.ldap_port = self._run(self.ldap_port, "--start-tls")

    def stop(self) -> None:
        while self._processes:
            process = self._processes.pop()
            process.terminate()
            process.communicate()

    def _run(self, port: int, *more: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker.demo.ldap_server", "--ldif", self._ldif,
             "--port", str(port), "--certificate", self._certificate, "--key", self._key, *more],
            stdout=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        self._processes.append(process)
        assert process.stdout is not None
        word, _, number = process.stdout.readline().partition(" ")
        assert word == "READY"
        return int(number)
