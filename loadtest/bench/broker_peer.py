"""The broker as a peer: one worker, everything on, one employee logged in through its pages.

Session, seat touches, quota, identity headers with assertion, metrics and access log are as in
production. The listener is plain on loopback, as the peers' are. CPU is counted over the whole
process tree of ``broker serve``: supervisor, worker, portal and admin.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import yaml

from broker.demo import employees, redis
from broker.demo.certificates import certificates
from broker.site.tokens import KeyRing
from loadtest.bench.peers import Missing, Target, free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator

LDIF = Path(__file__).parents[2] / "config" / "demo.ldif"
HOME = "https://home.bench"
APP = "https://app.bench"
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')


@contextmanager
def broker(folder: Path, backend_port: int) -> Iterator[Target]:
    folder.mkdir(parents=True, exist_ok=True)
    files = certificates(folder / "certificates", datetime.now(UTC))
    port, admin_port, ldap_port = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        stack.enter_context(_redis(folder))
        ldap = [sys.executable, "-m", "broker.demo.ldap_server", "--ldif", str(LDIF)]
        ldap += ["--port", str(ldap_port), "--certificate", str(files.ldap)]
        ldap += ["--key", str(files.ldap_key)]
        stack.enter_context(running(ldap, ldap_port, folder / "ldap.log"))
        configuration = folder / "broker.yaml"
        keys = folder / "keys.json"
        keys.write_text(KeyRing.generate())
        configuration.write_text(
            yaml.safe_dump(
                _settings(folder, port, admin_port, ldap_port, backend_port, files.ca, keys)
            )
        )
        serve = [sys.executable, "-m", "broker", "serve", "-c", str(configuration), "--first-start"]
        process = stack.enter_context(running(serve, port, folder / "broker.log"))
        cookie = _cookie(port, folder / "broker.log")
        yield Target(
            "broker",
            f"http://127.0.0.1:{port}/",
            process.pid,
            {"Host": APP.removeprefix("https://"), "Cookie": f"theme=dark; __Host-broker={cookie}"},
        )


@contextmanager
def _redis(folder: Path) -> Iterator[None]:
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
    folder: Path, port: int, admin_port: int, ldap_port: int, backend: int, ca: Path, keys: Path
) -> dict[str, object]:
    return {
        "site": "bench",
        "home": HOME,
        "listeners": [{"address": f"127.0.0.1:{port}"}],
        "workers": 1,
        "run_dir": str(folder / "run"),
        "hosts": [{"origin": APP, "routes": [{"path": "/", "pool": "app"}]}],
        "pools": {
            "app": {
                "servers": [f"http://127.0.0.1:{backend}"],
                "connections": {"limit": 2000},
                "health": {"path": "/"},
            }
        },
        "populations": [{"name": "everyone"}],
        "seats": {"limit": 1000},
        "connections": {"limit": 2000},
        "directory": {
            "servers": [f"ldaps://localhost:{ldap_port}"],
            "ca": str(ca),
            "base": employees.BASE_DN,
            "bind_dn": employees.SERVICE_DN,
            "bind_password": employees.SERVICE_PASSWORD,
        },
        "sessions": {"keys": f"file:{keys}"},
        "ledger": {"url": f"unix://{folder / 'redis.sock'}"},
        "admin": {"address": f"127.0.0.1:{admin_port}", "token": "bench-" + "0" * 32},
        "access_log": {"path": str(folder / "access.log")},
    }


def _cookie(port: int, log: Path) -> str:
    try:
        return asyncio.run(_log_in(port))
    except (RuntimeError, aiohttp.ClientError) as error:
        raise RuntimeError(f"{error}\n{log.read_text()[-3000:]}") from error


async def _log_in(port: int) -> str:
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
            address = f"http://127.0.0.1:{port}/{path}"
            method = "POST" if form is not None else "GET"
            async with client.request(
                method, address, headers=headers, data=form, allow_redirects=False
            ) as answer:
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
