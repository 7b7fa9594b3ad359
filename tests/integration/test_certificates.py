"""A whole broker whose certificates are renewed while it runs, and whose servers speak TLS."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import aiohttp
import pytest
import yaml

from tests.support.running_broker import TOKEN, running_broker
from tests.support.running_demo import free_ports
from tests.support.tls_backend import Pki

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_broker import RunningBroker

VISITS = 40


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


@pytest.fixture
def secure_app(pki: Pki) -> Iterator[str]:
    """An application that speaks TLS, by name."""

    class App(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = b"from behind TLS"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), App)
    server.socket = pki.serving("localhost").wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def shown(port: int, trust: ssl.SSLContext, name: str) -> str:
    """The serial number of the certificate shown for ``name``."""
    with (
        socket.create_connection(("127.0.0.1", port)) as bare,
        trust.wrap_socket(bare, server_hostname=name) as wire,
    ):
        peer = wire.getpeercert()
        assert peer is not None
        return str(peer["serialNumber"])


def on_every_worker(port: int, trust: ssl.SSLContext, name: str) -> set[str]:
    """Of many connections, which the kernel spreads over the workers."""
    return {shown(port, trust, name) for _ in range(24)}


async def metric(broker: RunningBroker, name: str) -> dict[str, float]:
    """The series of a metric, by their labels as written."""
    async with aiohttp.ClientSession() as session, session.get(f"{broker.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith(name))
    return {series.removeprefix(name): float(value) for series, _, value in found}


async def reload(broker: RunningBroker) -> tuple[int, str]:
    url, token = f"{broker.admin}/api/v1/reload", {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession() as session, session.post(url, headers=token) as answer:
        return answer.status, await answer.text()


async def test_certificates_are_renewed_without_a_restart(pki: Pki, secure_app: str) -> None:
    port, _ = free_ports()
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    pairs = [pki.issue("home.test", not_after=soon), pki.issue("one.test")]
    tls = {
        "certificates": [{"certificate": str(one), "key": str(key)} for one, key in pairs],
        "hsts": "1h",
    }
    pools = {
        "one": {
            "servers": [secure_app],
            "tls": {"ca": str(pki.ca)},
            "connections": {"limit": 10},
        }
    }
    listeners = [{"address": f"127.0.0.1:{port}", "tls": tls}]
    with running_broker(pools, listeners=listeners) as broker:
        trust = pki.trusting()
        expires = "broker_certificate_expires_timestamp_seconds"
        assert (await metric(broker, expires))['{certificate="home.test"}'] == soon.timestamp()
        before = on_every_worker(port, trust, "home.test")
        assert len(before) == 1

        headers = broker.headers("one", await broker.cookie("one", "ada"))
        connector = aiohttp.TCPConnector(ssl=trust, limit=1)
        async with aiohttp.ClientSession(connector=connector) as browser:

            async def page() -> str:
                url = f"https://127.0.0.1:{port}/"
                async with browser.get(url, headers=headers, server_hostname="one.test") as answer:
                    assert answer.headers["Strict-Transport-Security"] == "max-age=3600"
                    return await answer.text()

            assert await page() == "from behind TLS"
            later = soon + timedelta(days=80)
            pki.issue("home.test", not_after=later)
            broker.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(30):
                while (await metric(broker, expires))['{certificate="home.test"}'] != (
                    later.timestamp()
                ):
                    await asyncio.sleep(0.05)
            after = on_every_worker(port, trust, "home.test")
            assert len(after) == 1
            assert after != before
            assert await page() == "from behind TLS"  # on the connection of before

            _, key = pairs[0]
            right = key.read_text()
            key.write_text(pairs[1][1].read_text())
            status, why = await reload(broker)
            assert status == 400
            assert f"{pairs[0][0]} with the key {key}: key values mismatch" in why
            assert "the old configuration stays in force" in why
            assert on_every_worker(port, trust, "home.test") == after
            key.write_text(right)
            file = broker.folder / "broker.yaml"
            written = yaml.safe_load(file.read_text())
            written["listeners"][0]["tls"].update(minimum="1.3", hsts="2h")
            file.write_text(yaml.safe_dump(written))
            status, answer = await reload(broker)
            assert (status, json.loads(answer)["needs_restart"]) == (200, [])
            trust.maximum_version = ssl.TLSVersion.TLSv1_2
            with pytest.raises(OSError):  # noqa: PT011  an alert, or the reset that follows it
                shown(port, trust, "home.test")
        assert broker.stop() == 0, broker.log()


async def test_a_ticket_is_good_at_the_worker_that_gave_it(pki: Pki, tmp_path: Path) -> None:
    """Each worker has its own ticket keys (Python's ssl can not share them). A miss is a full
    handshake, and the counters tell both apart."""
    port, _ = free_ports()
    certificate, key = pki.issue("home.test")
    tls = {"certificates": [{"certificate": str(certificate), "key": str(key)}]}
    pools = {"one": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}}
    listeners = [{"address": f"127.0.0.1:{port}", "tls": tls}]
    with running_broker(pools, listeners=listeners) as broker:
        trust = pki.trusting()
        request = b"GET /.broker/healthz HTTP/1.1\r\nHost: home.test\r\n\r\n"

        def visits() -> int:
            resumed, ticket = 0, None
            for _ in range(VISITS):
                with (
                    socket.create_connection(("127.0.0.1", port)) as bare,
                    trust.wrap_socket(bare, server_hostname="home.test", session=ticket) as wire,
                ):
                    wire.sendall(request)
                    assert wire.recv(65536).startswith(b"HTTP/1.1 200")
                    resumed += bool(wire.session_reused)
                    ticket = wire.session
            return resumed

        resumed = await asyncio.to_thread(visits)
        assert 0 < resumed < VISITS
        outcomes = await metric(broker, "broker_tls_handshakes_total")
        assert outcomes['{outcome="resumed"}'] == resumed
        assert outcomes['{outcome="full"}'] == VISITS - resumed
        assert broker.stop() == 0, broker.log()
