"""A whole broker for a test, without the demo around it: ``broker serve`` on a Redis of its own.

Employees are put into the ledger directly and get their cookies from the same key ring, so that a
test about capacity need not log anybody in. The listener is clear text on loopback.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import yaml

from broker.ledger.port import SessionRecord
from broker.ledger.redis_ledger import RedisLedger
from broker.site.tokens import KeyRing, Tokens
from tests.support.redis_server import RedisServer
from tests.support.running_demo import CHECKOUT, command, free_ports

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Mapping

SITE = "test"
TOKEN = "operator-" + "0" * 24
LONGEST_START = 60.0
HOURS_12 = 43_200_000


@dataclass
class RunningBroker:
    """``port``: the public listener; ``admin``: the base address of the admin listener;
    ``ledger_url``: what the broker is configured with, ``redis``'s unless another was given."""

    port: int
    admin: str
    redis: RedisServer
    folder: Path
    process: subprocess.Popen[bytes]
    tokens: Tokens
    apps: Mapping[str, str]
    ledger_url: str
    people: int = field(default=0)

    async def session(self, employee: str, population: str = "everyone") -> SessionRecord:
        """A fresh session of ``employee`` in the ledger."""
        self.people += 1
        number = self.people
        ledger = await RedisLedger.connect(self.ledger_url, SITE, 5.0)
        try:
            now = (await ledger.usage()).ledger_ms
            record = SessionRecord(
                f"{number:032x}", employee, employee, population, (), now, now + HOURS_12
            )
            await ledger.put_session(record, most=1000)
        finally:
            await ledger.close()
        return record

    async def cookie(self, app: str, employee: str, population: str = "everyone") -> str:
        """The cookie of a fresh session for ``app``'s host."""
        record = await self.session(employee, population)
        return self.tokens.session_cookie(record, self.apps[app].removeprefix("https://"))

    def headers(self, app: str, cookie: str) -> dict[str, str]:
        host = self.apps[app].removeprefix("https://")
        return {"Host": host, "Cookie": f"__Host-broker={cookie}", "Accept": "application/json"}

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def api(self, path: str) -> Any:
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
            session.get(f"{self.admin}/api/v1{path}") as answer,
        ):
            assert answer.status == 200, await answer.text()
            return await answer.json()

    def log(self) -> str:
        return (self.folder / "broker.log").read_text()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


@contextlib.contextmanager
def running_broker(
    pools: Mapping[str, dict[str, Any]],
    *redis_options: str,
    admin_tls: tuple[dict[str, str], ssl.SSLContext] | None = None,
    ledger_url: str = "",
    **settings: Any,
) -> Iterator[RunningBroker]:
    """``pools`` as in the configuration; each gets a host of its own, ``https://NAME.test``.
    ``admin_tls``: that of the admin listener, and with what a client reaches it. ``ledger_url``:
    of Redis that the test has started itself."""
    port, admin_port = free_ports()
    with tempfile.TemporaryDirectory(prefix="broker-") as name:
        folder = Path(name)
        redis = RedisServer(*redis_options)
        ring = KeyRing.generate()
        (folder / "keys.json").write_text(ring)
        apps = {pool: f"https://{pool}.test" for pool in pools}
        written: dict[str, Any] = {
            "site": SITE,
            "home": "https://home.test",
            "listeners": [{"address": f"127.0.0.1:{port}"}],
            "workers": 2,
            "run_dir": str(folder / "run"),
            "stop_timeout": "2s",
            "hosts": [
                {"origin": origin, "routes": [{"path": "/", "pool": pool}]}
                for pool, origin in apps.items()
            ],
            "pools": dict(pools),
            "populations": [{"name": "everyone"}],
            "seats": {"limit": 500},
            "connections": {"limit": 1000},
            "directory": {"servers": ["ldaps://127.0.0.1:1"], "base": "dc=example"},
            "sessions": {"keys": f"file:{folder / 'keys.json'}"},
            # A busy test machine is not an outage.
            "ledger": {"url": ledger_url or redis.url, "deadline": "5s"},
            "admin": {"address": f"127.0.0.1:{admin_port}", "token": TOKEN},
            "access_log": {"path": str(folder / "access.log")},
            **settings,
        }
        if admin_tls is not None:
            written["admin"]["tls"] = admin_tls[0]
        (folder / "broker.yaml").write_text(yaml.safe_dump(written))
        with (folder / "broker.log").open("wb") as log:
            process = subprocess.Popen(
                command("serve", "--first-start", "-c", folder / "broker.yaml"),
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
            )
            tokens = Tokens(KeyRing.from_json(ring), SITE, time.time, 900)
            scheme = "http" if admin_tls is None else "https"
            admin = f"{scheme}://127.0.0.1:{admin_port}"
            url = ledger_url or redis.url
            broker = RunningBroker(port, admin, redis, folder, process, tokens, apps, url)
            try:
                _until_ready(broker, None if admin_tls is None else admin_tls[1])
                yield broker
            finally:
                process.terminate()
                try:
                    process.wait(30)
                finally:
                    process.kill()
                    redis.close()


def _until_ready(broker: RunningBroker, trust: ssl.SSLContext | None) -> None:
    import urllib.error
    import urllib.request

    ends = time.monotonic() + LONGEST_START
    while time.monotonic() < ends:
        assert broker.process.poll() is None, broker.log()
        try:
            with urllib.request.urlopen(
                f"{broker.admin}/readyz", timeout=2, context=trust
            ) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError("the broker did not get ready:\n" + broker.log())
