"""Which certificate a browser is shown, and what a renewed one changes: nothing but the next."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization

from broker.errors import ConfigurationError
from broker.gateway.certificates import Certificates, load_certified
from broker.gateway.plan import ListenerPlan
from tests.support.stage import Stage, Wire, get, ok
from tests.support.tls_backend import Pki

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path / "pki")


def certificates(pki: Pki, *leaves: tuple[str, ...], minimum: str = "1.2") -> Certificates:
    return Certificates([load_certified(*pki.issue(*names)) for names in leaves], minimum)


Visit = tuple[ssl.SSLSession | None, bool]


async def handshake(
    stage: Stage, trust: ssl.SSLContext, name: str | None
) -> tuple[Wire, tuple[str, ...]]:
    """A browser that asks for ``name``, and what it is shown."""
    trust.check_hostname = False
    wire = Wire(
        *await asyncio.open_connection(
            "127.0.0.1", stage.port, ssl=trust, server_hostname=name or ""
        )
    )
    stage.browsers.append(wire)
    shown = wire.writer.get_extra_info("peercert")["subjectAltName"]
    return wire, tuple(value for _, value in shown)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("feed.test", "feed.test"),
        ("FEED.test", "feed.test"),
        ("b.apps.test", "*.apps.test"),
        ("a.apps.test", "a.apps.test"),  # a certificate of its own before the wildcard
        ("c.b.apps.test", "home.test"),  # a wildcard is one label
        ("apps.test", "home.test"),
        ("nobody.example", "home.test"),
        (None, "home.test"),
    ],
)
async def test_by_name_by_wildcard_or_the_first(pki: Pki, asked: str | None, shown: str) -> None:
    leaves = [("home.test",), ("*.apps.test",), ("feed.test", "www.feed.test"), ("a.apps.test",)]
    async with Stage(tls=certificates(pki, *leaves).context) as stage:
        assert (await handshake(stage, pki.trusting(), asked))[1][0] == shown


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_versions_and_tickets(pki: Pki, version: ssl.TLSVersion, tmp_path: Path) -> None:
    """A ticket is good after the certificate was renewed: its keys are the listener's. A miss (here
    another listener, as another worker's would be) costs a full handshake and nothing else."""
    first, second = (certificates(pki, ("feed.test",)) for _ in range(2))
    async with Stage(tls=first.context) as stage, Stage(tls=second.context) as elsewhere:
        trust = pki.trusting()
        trust.maximum_version = version

        def visit(stage: Stage, session: ssl.SSLSession | None) -> Visit:
            with (
                socket.create_connection(("127.0.0.1", stage.port)) as bare,
                trust.wrap_socket(bare, server_hostname="feed.test", session=session) as wire,
            ):
                assert wire.version() == version.name.replace("v1_", "v1.")
                wire.sendall(get())
                assert wire.recv(65536).startswith(b"HTTP/1.1 401")
                return wire.session, bool(wire.session_reused)

        ticket, reused = await asyncio.to_thread(visit, stage, None)
        assert not reused
        assert (await asyncio.to_thread(visit, stage, ticket))[1]
        first.use([load_certified(*pki.issue("feed.test"))], "1.2")
        ticket, reused = await asyncio.to_thread(visit, stage, ticket)
        assert reused
        assert not (await asyncio.to_thread(visit, elsewhere, ticket))[1]
        assert stage.traffic.handshakes == {"full": 1, "resumed": 2, "failed": 0}
        assert elsewhere.traffic.handshakes == {"full": 1, "resumed": 0, "failed": 0}


async def test_the_lowest_version_follows_a_reload(pki: Pki) -> None:
    served = certificates(pki, ("feed.test",))
    async with Stage(tls=served.context) as stage:
        old = pki.trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        await handshake(stage, old, "feed.test")
        served.use([load_certified(*pki.issue("feed.test"))], "1.3")
        with pytest.raises(OSError):  # noqa: PT011  an alert, or the reset that follows it
            await handshake(stage, old, "feed.test")
        await handshake(stage, pki.trusting(), "feed.test")
        assert stage.traffic.handshakes["failed"] == 1


async def test_an_open_connection_goes_on_when_its_certificate_is_renewed(pki: Pki) -> None:
    served = certificates(pki, ("feed.test",))
    async with Stage(tls=served.context) as stage:
        cookie = stage.sessions.log_in("ada")
        browser, _ = await handshake(stage, pki.trusting(), "feed.test")
        before = browser.writer.get_extra_info("peercert")["serialNumber"]
        await browser.send(get(cookie=cookie))
        backend = await stage.backend.connection()
        await backend.head()
        served.use([load_certified(*pki.issue("feed.test", "new.test"))], "1.2")
        await backend.send(ok(b"mine"))
        assert (await browser.response())[2] == b"mine"
        new, names = await handshake(stage, pki.trusting(), "feed.test")
        assert new.writer.get_extra_info("peercert")["serialNumber"] != before
        assert names == ("feed.test", "new.test")


@pytest.mark.parametrize("more", [(), ("Date: Mon, 02 Nov 2026 00:00:00 GMT",)])
async def test_hsts_follows_a_reload_for_new_connections(pki: Pki, more: tuple[str, ...]) -> None:
    listener = ListenerPlan("public", hsts=100)
    async with Stage(tls=certificates(pki, ("feed.test",)).context, listener=listener) as stage:
        cookie = stage.sessions.log_in("ada")
        said: list[bytes | None] = []
        backend: Wire | None = None
        for seconds in (None, 200, 0):
            if seconds is not None:
                stage.gateway.use_hsts("public", seconds)
                stage.gateway.use_hsts("another", 7)
            browser, _ = await handshake(stage, pki.trusting(), "feed.test")
            await browser.send(get(cookie=cookie))
            backend = backend or await stage.backend.connection()
            await backend.head()
            await backend.send(ok(b"ab", "Strict-Transport-Security: max-age=1", *more))
            _, fields, body = await browser.response()
            assert body == b"ab"
            said.append(fields.get(b"strict-transport-security"))
        assert said == [b"max-age=100", b"max-age=200", None]


@pytest.mark.parametrize(
    "path", ["/.broker/healthz", "/.broker/wait/status", "/.broker/nothing", "/%00", "/"]
)
async def test_our_own_short_answers_say_hsts_too(pki: Pki, path: str) -> None:
    listener = ListenerPlan("public", hsts=100)
    async with Stage(tls=certificates(pki, ("feed.test",)).context, listener=listener) as stage:
        browser, _ = await handshake(stage, pki.trusting(), "feed.test")
        await browser.send(get(path))
        _, fields, body = await browser.response()
        assert fields[b"strict-transport-security"] == b"max-age=100"
        assert len(body) == int(fields[b"content-length"])


def test_every_file_that_cannot_be_used_is_named(pki: Pki, tmp_path: Path) -> None:
    certificate, key = pki.issue("feed.test")
    _, other = pki.issue("other.test")
    encrypted = tmp_path / "encrypted.key"
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    encrypted.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    empty = tmp_path / "empty.pem"
    empty.touch()
    for pair, why in (
        ((certificate, other), "key values mismatch"),
        ((certificate, encrypted), "the key is encrypted"),
        ((certificate, empty), f"with the key {empty}: "),
        ((empty, key), "empty.pem: "),
        ((tmp_path / "missing.pem", key), "missing.pem: no such file"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            load_certified(*pair)
        assert why in caught.value.faults[0].lower(), caught.value.faults
