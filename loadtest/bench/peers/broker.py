"""The broker as a peer: one worker, everything on, one employee logged in through its pages.

Session, seat touches, quota, identity headers with assertion, metrics and access log are as in
production. The listener is as the peers' are, plain or TLS. CPU is counted over the whole
process tree of ``broker serve``: supervisor, worker, portal and admin.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from broker.demo import employees, redis
from broker.demo.certificates import certificates
from broker.site.tokens import KeyRing
from loadtest.bench.peers.target import Missing, Target
from loadtest.bench.processes import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from loadtest.bench.behind import Site

LDIF = Path(__file__).parents[3] / "config" / "demo.ldif"
SITE = "bench"
HOME = "https://home.bench"
APP = "https://app.bench"
APP_HOST = "app.bench"
MOST = 40_000  # connections: no case is to meet a limit by accident
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """How this broker differs from the plain one: more workers, fewer seats, more routes, another
    directory (its section of the configuration) than the demo's."""

    workers: int = 1
    seats: int = 500_000
    routes: int = 1
    sessions_per_employee: int = 10
    directory: Mapping[str, Any] | None = None
    ledger_deadline: str = "100ms"


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """The target, and what a case needs to look behind it."""

    target: Target
    folder: Path
    port: int
    redis_socket: Path
    keys: Path


@contextmanager
def broker(folder: Path, site: Site) -> Iterator[Target]:
    with started(folder, site, BrokerPlan()) as running_broker:
        yield running_broker.target


@contextmanager
def started(folder: Path, site: Site, plan: BrokerPlan) -> Iterator[RunningBroker]:
    """A whole site: Redis, directory, broker, and one employee logged in. Raises Missing."""
    folder.mkdir(parents=True, exist_ok=True)
    files = certificates(folder / "certificates", datetime.now(UTC))
    port, admin_port, ldap_port = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(redis_server(folder))
        if plan.directory is None:
            ldap = [sys.executable, "-m", "broker.demo.ldap_server", "--ldif", str(LDIF)]
            ldap += ["--port", str(ldap_port), "--certificate", str(files.ldap)]
            ldap += ["--key", str(files.ldap_key)]
            stack.enter_context(running(ldap, ldap_port, folder / "ldap.log"))
        configuration = folder / "broker.yaml"
        keys = folder / "keys.json"
        keys.write_text(KeyRing.generate())
        settings = _settings(folder, port, admin_port, ldap_port, site, files.ca, keys)
        settings |= _planned(plan, site)
        settings["directory"] |= plan.directory or {}
        settings["ledger"]["deadline"] = plan.ledger_deadline
        configuration.write_text(yaml.safe_dump(settings))
        serve = [sys.executable, "-m", "broker", "serve", "-c", str(configuration), "--first-start"]
        process = stack.enter_context(running(serve, port, folder / "broker.log"))
        cookie = _cookie(port, folder / "broker.log", site)
        target = Target(
            "broker",
            f"{site.scheme}://127.0.0.1:{port}",
            process.pid,
            {"Host": APP_HOST, "Cookie": f"theme=dark; __Host-broker={cookie}"},
        )
        yield RunningBroker(target, folder, port, folder / "redis.sock", keys)


@contextmanager
def redis_server(folder: Path) -> Iterator[None]:
    try:
        server = asyncio.run(redis.find(folder))
    except redis.NoRedis as reason:
        raise Missing(str(reason)) from reason
    command = [str(server), "--port", "0", "--unixsocket", str(folder / "redis.sock")]
    command += ["--dir", str(folder), "--save", "", "--appendonly", "yes"]
    with (folder / "redis.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 10
            while not asyncio.run(redis.answers(folder / "redis.sock")):
                if time.monotonic() > deadline or process.poll() is not None:
                    raise RuntimeError("redis-server did not start")
            yield
        finally:
            process.terminate()
            process.wait(10)


def _settings(
    folder: Path, port: int, admin_port: int, ldap_port: int, site: Site, ca: Path, keys: Path
) -> dict[str, Any]:
    listener: dict[str, Any] = {"address": f"127.0.0.1:{port}"}
    if site.tls is not None:
        pair = {"certificate": str(site.tls.public), "key": str(site.tls.public_key)}
        listener["tls"] = {"certificates": [pair]}
    return {
        "site": SITE,
        "home": HOME,
        "listeners": [listener],
        "run_dir": str(folder / "run"),
        "populations": [{"name": "everyone"}],
        "connections": {"limit": MOST, "per_employee": MOST},
        "door": {"connections_per_address": MOST},
        "directory": {
            "servers": [f"ldaps://localhost:{ldap_port}"],
            "ca": str(ca),
            "base": employees.BASE_DN,
            "bind_dn": employees.SERVICE_DN,
            "bind_password": employees.SERVICE_PASSWORD,
        },
        "ledger": {"url": f"unix://{folder / 'redis.sock'}"},
        "admin": {"address": f"127.0.0.1:{admin_port}", "token": "bench-" + "0" * 32},
        "access_log": {"path": str(folder / "access.log")},
        # A browser takes the cookie that is issued again, once in five minutes; wrk never does, and
        # would be given one with each answer from then on.
        "sessions": {"keys": f"file:{keys}", "token_refresh": "14m"},
    }


def _planned(plan: BrokerPlan, site: Site) -> dict[str, Any]:
    """What depends on the plan: pools and routes, workers and seats."""
    routes = [{"path": "/", "pool": "app"}]
    routes += [{"path": f"/part-{number}", "pool": "app"} for number in range(plan.routes - 1)]
    ports = {"app": site.backend}
    if site.live is not None:
        ports["live"] = site.live
        routes.append({"path": "/live", "pool": "live"})
    return {
        "workers": plan.workers,
        "seats": {"limit": plan.seats},
        "hosts": [{"origin": APP, "routes": routes}],
        "pools": {
            name: {
                "servers": [f"http://127.0.0.1:{port}"],
                "connections": {"limit": MOST},
                "health": {"path": "/"},
            }
            for name, port in ports.items()
        },
    }


def _cookie(port: int, log: Path, site: Site) -> str:
    context = ssl.create_default_context(cafile=site.tls.ca) if site.tls is not None else None
    try:
        return asyncio.run(_log_in(f"{site.scheme}://127.0.0.1:{port}", context))
    except (RuntimeError, aiohttp.ClientError) as error:
        raise RuntimeError(f"{error}\n{log.read_text()[-3000:]}") from error


async def _log_in(door: str, context: ssl.SSLContext | None) -> str:
    """The application host's cookie of one employee, by the pages a browser would go through."""
    name = employees.accounts(LDIF)["sales"][0]
    wanted = APP + "/"
    jar: dict[str, dict[str, str]] = {}
    form: dict[str, str] | None = None
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        for _ in range(12):
            host, _, path = wanted.removeprefix("https://").partition("/")
            cookies = jar.setdefault(host, {})
            headers = {
                "Host": host,
                "Accept": "text/html",
                "Origin": f"https://{host}",
                "Cookie": "; ".join(f"{key}={value}" for key, value in cookies.items()),
            }
            method = "POST" if form is not None else "GET"
            async with client.request(
                method, f"{door}/{path}", headers=headers, data=form, allow_redirects=False,
                ssl=context if context is not None else True,
            ) as answer:  # fmt: skip
                text = await answer.text()
                cookies |= {key: morsel.value for key, morsel in answer.cookies.items()}
            form = None
            if answer.status in (302, 303, 307):
                place = answer.headers["Location"]
                wanted = place if place.startswith("https://") else f"https://{host}{place}"
            elif 'name="password"' in text and answer.status == 200:
                password = employees.PASSWORD
                form = {**dict(_HIDDEN.findall(text)), "username": name, "password": password}
                wanted = f"https://{host}/.broker/login"
            elif answer.status == 200 and "__Host-broker" in cookies and wanted == APP + "/":
                return cookies["__Host-broker"]
            else:
                raise RuntimeError(f"{method} {wanted}: {answer.status}")
    raise RuntimeError("the login went round in circles")
