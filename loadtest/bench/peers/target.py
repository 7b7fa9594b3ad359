"""A running proxy, as the load generators see it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field

# As long as the broker's own session cookie, so that every proxy reads as many bytes.
COOKIE = "theme=dark; session=" + "eyJhbGciOiJIUzI1NiJ9." + "0123456789abcdef" * 25


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send (no slash at the end), what to add to the browser's headers, whose CPU to
    count (this process and all below it)."""

    name: str
    url: str
    pid: int
    headers: dict[str, str] = field(default_factory=lambda: {"Cookie": COOKIE})

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


class Missing(Exception):
    """A peer is not installed; the message says how to get it."""


def program(name: str, package: str) -> str:
    """The program's path, also where root's programs are. Raises Missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        raise Missing(f"{name}: apt-get install {package}")
    return found
