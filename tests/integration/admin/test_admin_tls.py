"""The admin listener over TLS, with certificates asked of its clients, on a whole broker."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme

from tests.support.running_broker import TOKEN, RunningBroker, running_broker
from tests.support.running_demo import CHECKOUT, command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)


class Files:
    """What the broker shows, and what an operator shows: by two authorities."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority, self.operations = trustme.CA(), trustme.CA()
        self.ca, self.client_ca = folder / "ca.pem", folder / "operations.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.operations.cert_pem.write_to_path(str(self.client_ca))
        self.certificate, self.key = folder / "admin.pem", folder / "admin.key"
        self.issue()
        anna = self.operations.issue_cert("anna@example.com")
        self.anna, self.anna_key = folder / "anna.pem", folder / "anna.key"
        anna.cert_chain_pems[0].write_to_path(str(self.anna))
        anna.private_key_pem.write_to_path(str(self.anna_key))

    def issue(self) -> None:
        leaf = self.authority.issue_cert("127.0.0.1")
        leaf.cert_chain_pems[0].write_to_path(str(self.certificate))
        leaf.private_key_pem.write_to_path(str(self.key))

    def client(self, *, showing: bool = True) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if showing:
            context.load_cert_chain(self.anna, self.anna_key)
        return context

    def environment(self, broker: RunningBroker) -> dict[str, str]:
        return {
            "BROKER_ADMIN_URL": broker.admin,
            "BROKER_ADMIN_TOKEN": TOKEN,
            "BROKER_ADMIN_CA": str(self.ca),
            "BROKER_ADMIN_CERTIFICATE": str(self.anna),
            "BROKER_ADMIN_KEY": str(self.anna_key),
        }


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def broker(files: Files) -> Iterator[RunningBroker]:
    tls = {
        "certificate": str(files.certificate),
        "key": str(files.key),
        "client_ca": str(files.client_ca),
        "minimum": "1.3",
    }
    pools = {"feed": {"servers": ["http://127.0.0.1:1"], "connections": {"limit": 10}}}
    with running_broker(pools, admin_tls=(tls, files.client())) as running:
        yield running


def said(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("BROKER_")}
    return subprocess.run(
        command(*words), env=clean | environment, cwd=CHECKOUT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


async def test_a_client_without_a_certificate_gets_no_answer(
    broker: RunningBroker, files: Files
) -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"{broker.admin}/healthz", ssl=files.client(showing=False))
        url = f"{broker.admin}/healthz"
        async with session.get(url, ssl=files.client()) as answer:
            assert answer.status == 200


async def test_a_certificate_alone_is_no_token_and_the_cookie_is_secure(
    broker: RunningBroker, files: Files
) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=files.client())) as session:
        async with session.get(f"{broker.admin}/api/v1/capacity") as answer:
            assert answer.status == 401
        async with session.post(
            f"{broker.admin}/console/", data={"token": TOKEN}, allow_redirects=False
        ) as answer:
            assert answer.status == 303
            assert "Secure" in answer.headers["Set-Cookie"]


def test_the_command_line_reaches_it_by_environment_and_by_configuration(
    broker: RunningBroker, files: Files
) -> None:
    known = files.environment(broker)
    assert said(known, "capacity", "show", "--json").returncode == 0
    by_file = {key: known[key] for key in ("BROKER_ADMIN_CERTIFICATE", "BROKER_ADMIN_KEY")}
    path = broker.folder / "broker.yaml"
    done = said(by_file, "capacity", "show", "--json", "-c", path)
    assert done.returncode == 0, done.stderr
    strange = said(known | {"BROKER_ADMIN_CA": str(files.client_ca)}, "capacity", "show")
    assert strange.returncode == 3
    assert "certificate verify failed" in strange.stderr
    missing = said(known | {"BROKER_ADMIN_CERTIFICATE": "/nowhere.pem"}, "capacity", "show")
    assert missing.returncode == 1
    assert "BROKER_ADMIN_CERTIFICATE cannot be used" in missing.stderr


def test_a_renewed_certificate_is_taken_over_by_a_reload(
    broker: RunningBroker, files: Files
) -> None:
    def shown() -> int:
        host, port = broker.admin.removeprefix("https://").split(":")
        with (
            socket.create_connection((host, int(port)), 10) as raw,
            files.client().wrap_socket(raw, server_hostname=host) as wire,
        ):
            return int(wire.getpeercert()["serialNumber"], 16)  # type: ignore[arg-type, index]

    before = shown()
    files.issue()
    assert shown() == before
    assert said(files.environment(broker), "reload").returncode == 0
    assert shown() != before
    files.key.write_text("no key")
    refused = said(files.environment(broker), "reload")
    assert refused.returncode == 1
    assert "admin.pem" in refused.stderr
    assert shown() != before
