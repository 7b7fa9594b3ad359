"""Directory servers shared by the integration tests: the demo's ldaptor and a real slapd."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from broker.demo.employees import ldif as demo_ldif
from tests.support import odd_people, slapd_server
from tests.support.ldaptor_server import LdaptorServer
from tests.support.slapd_server import SlapdServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True)
class Authority:
    """A CA made for this run; ``certificate`` and ``key`` are for localhost and 127.0.0.1."""

    ca: Path
    certificate: Path
    key: Path


def make_authority(directory: Path, *names: str) -> Authority:
    authority = trustme.CA()
    leaf = authority.issue_cert(*names)
    made = Authority(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
    authority.cert_pem.write_to_path(str(made.ca))
    leaf.cert_chain_pems[0].write_to_path(str(made.certificate))
    leaf.private_key_pem.write_to_path(str(made.key))
    return made


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"), "localhost", "127.0.0.1")


@pytest.fixture(scope="session")
def stranger() -> Iterator[socket.socket]:
    """Where a referral in the directory points: nobody may ever come here."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="session")
def people_ldif(stranger: socket.socket) -> bytes:
    """The demo's people and the odd ones."""
    return demo_ldif() + odd_people.ldif(stranger.getsockname()[1])


@pytest.fixture(scope="session")
def slapd(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, people_ldif: bytes
) -> Iterator[SlapdServer]:
    """A running slapd. Missing, it is a failure where everything must be there, else a skip."""
    if not slapd_server.installed():
        missing = "slapd is not installed (Debian: apt-get install slapd)"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    server = SlapdServer(
        tmp_path_factory.mktemp("slapd"), people_ldif, authority.certificate, authority.key
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def ldaptor(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority, people_ldif: bytes
) -> Iterator[LdaptorServer]:
    """The demo's LDAP server, running."""
    server = LdaptorServer(
        tmp_path_factory.mktemp("ldaptor"), people_ldif, authority.certificate, authority.key
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session", params=["ldaptor", "slapd"])
def ldap_server(request: pytest.FixtureRequest) -> LdaptorServer | SlapdServer:
    """Both, one after the other: what a test says must hold on each."""
    server: LdaptorServer | SlapdServer = request.getfixturevalue(request.param)
    return server
