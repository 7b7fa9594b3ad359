"""What the admin application is told: plain values, and the two rules about its address.

Without TLS the listener is private (loopback or a Unix socket), because its token goes over it in
clear; and it answers only to its own names, because a page of the internet can make a browser on
the same machine call ``127.0.0.1`` under a name of its own (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class AdminPlan:
    """``token``: the bearer token. ``hosts``: the Host values answered to (``allowed_hosts``).
    ``run_dir``: where the control sockets of this host are. ``console_session``: seconds after
    which the console asks who it is again. ``operators``, ``viewers``: DN of the directory's group
    that may enter it so, empty for none."""

    site: str
    token: str
    hosts: frozenset[str]
    run_dir: Path
    console_session: float = 43_200.0
    operators: str = ""
    viewers: str = ""


def require_private(address: str, *, tls: bool = False) -> None:
    """Raises ConfigurationError unless the address is loopback or a Unix socket, or has TLS."""
    if tls or address.startswith("unix:"):
        return
    host = address.rpartition(":")[0].strip("[]")
    try:
        private = ipaddress.ip_address(host).is_loopback
    except ValueError:
        private = host == "localhost"
    if not private:
        raise ConfigurationError(
            f"the admin listener must be on loopback or a Unix socket unless it has TLS: {address}"
        )


def allowed_hosts(listening: Iterable[str], configured: Iterable[str]) -> frozenset[str]:
    """The Host values to answer to: where it listens (with the real port), ``localhost`` on the
    same port, and the configured names, each also with that port. Lower case."""
    allowed: set[str] = set()
    names = [name.lower() for name in configured]
    for address in listening:
        if address.startswith("unix:"):
            allowed |= {"localhost", *names}
            continue
        host, _, port = address.lower().rpartition(":")
        allowed |= {f"{name}:{port}" for name in (host, "localhost", *names)}
        allowed |= set(names)
    return frozenset(allowed)
