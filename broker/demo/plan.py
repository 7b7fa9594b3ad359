"""What one run of the demo is made of: its folder, its ports, its numbers, and the configuration
rendered from ``config/demo.yaml``. Nothing is started here; files are written into the state folder
only.
"""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from broker.demo.employees import PASSWORD, SERVICE_PASSWORD, accounts
from broker.site.tokens import KeyRing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from broker.demo.certificates import Certificates

CONFIG = Path(__file__).resolve().parents[2] / "config"
LDIF = CONFIG / "demo.ldif"
TEMPLATE = CONFIG / "demo.yaml"
_VARIABLE = re.compile(r"\$\{(DEMO_[A-Z0-9_]+)\}")


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices of whoever starts the demo."""

    public_port: int
    admin_port: int
    seats: int
    workers: int
    state: Path

    @property
    def home(self) -> str:
        return f"https://localhost:{self.public_port}"

    def app(self, name: str) -> str:
        return f"https://{name}.localhost:{self.public_port}"

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.admin_port}"

    @property
    def configuration(self) -> Path:
        return self.state / "broker.yaml"

    @property
    def environment_file(self) -> Path:
        return self.state / "env"

    @property
    def ready_file(self) -> Path:
        return self.state / "ready.json"

    def log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo's own servers listen on loopback."""

    ldap: int
    feed: tuple[int, int]
    wiki: tuple[int, int]

    def backends(self) -> dict[str, list[str]]:
        return {
            "feed": [f"http://127.0.0.1:{port}" for port in self.feed],
            "wiki": [f"http://127.0.0.1:{port}" for port in self.wiki],
        }


def numbers(seats: int) -> dict[str, int]:
    """Capacity that follows the seats: an employee at work holds a WebSocket and an event stream,
    and a page asks for six things at a time."""
    feed, wiki = max(200, 5 * seats), max(60, 2 * seats)
    return {
        "DEMO_SEATS": seats,
        "DEMO_SEATS_MANAGERS": seats // 5,
        "DEMO_SEATS_SALES": seats * 3 // 10,
        "DEMO_CONNECTIONS": max(240, 6 * seats),
        "DEMO_CONNECTIONS_FEED": feed,
        "DEMO_CONNECTIONS_FEED_GUARANTEED": feed // 2,
        "DEMO_CONNECTIONS_MANAGERS": feed // 5,
        "DEMO_CONNECTIONS_WIKI": wiki,
        "DEMO_CONNECTIONS_WIKI_GUARANTEED": wiki // 4,
    }


def write_secrets(state: Path) -> str:
    """Keys and passwords, readable by the owner only; those of an earlier run stay. Returns the
    admin token."""
    token = _keep(state / "admin-token", secrets.token_urlsafe(24))
    _keep(state / "keys.json", KeyRing.generate())
    write_private(state / "ldap-password", SERVICE_PASSWORD)
    return token


def write_configuration(plan: Plan, ports: Ports, run_dir: Path, redis: Path) -> None:
    """``config/demo.yaml`` with this run's values in it. KeyError: a variable nobody knows."""
    values: dict[str, str | int] = {
        **numbers(plan.seats),
        "DEMO_STATE": str(plan.state),
        "DEMO_RUN_DIR": str(run_dir),
        "DEMO_REDIS": str(redis),
        "DEMO_PUBLIC_PORT": plan.public_port,
        "DEMO_ADMIN_PORT": plan.admin_port,
        "DEMO_WORKERS": plan.workers,
        "DEMO_LDAP": ports.ldap,
        "DEMO_FEED_1": ports.feed[0],
        "DEMO_FEED_2": ports.feed[1],
        "DEMO_WIKI_1": ports.wiki[0],
        "DEMO_WIKI_2": ports.wiki[1],
    }
    write_private(plan.configuration, render(TEMPLATE.read_text("utf-8"), values))


def render(template: str, values: Mapping[str, str | int]) -> str:
    """Put ``values`` in for ``${DEMO_...}``; texts stand in single quotes there (YAML 1.2, 7.3.2)
    and ``${`` in them must not be taken for a variable of the environment."""

    def value(found: re.Match[str]) -> str:
        text = str(values[found[1]])
        return text.replace("'", "''").replace("${", "$${")

    body = "\n".join(line for line in template.splitlines() if not line.startswith("#"))
    return "# Written by `broker demo`; changes are lost.\n" + _VARIABLE.sub(value, body) + "\n"


def ready_object(
    plan: Plan, ports: Ports, certificates: Certificates, token: str
) -> dict[str, Any]:
    """What scripts learn from the READY line."""
    return {
        "home": plan.home,
        "apps": {"feed": plan.app("feed"), "wiki": plan.app("wiki")},
        "admin": plan.admin,
        "ca": str(certificates.ca),
        "admin_token": token,
        "backends": ports.backends(),
        "accounts": accounts(LDIF),
        "password": PASSWORD,
        "state": str(plan.state),
    }


def environment_lines(plan: Plan, certificates: Certificates, token: str) -> str:
    """``.demo/env``: what a shell or the command line needs to reach this demo."""
    lines = {
        "BROKER_ADMIN_URL": plan.admin,
        "BROKER_ADMIN_TOKEN": token,
        "BROKER_HOME": plan.home,
        "BROKER_CA": str(certificates.ca),
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def write_private(path: Path, text: str) -> None:
    """Replace the file at once; nobody else may read it."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def _keep(path: Path, text: str) -> str:
    if path.is_file() and (old := path.read_text("utf-8").strip()):
        return old
    write_private(path, text)
    return text
