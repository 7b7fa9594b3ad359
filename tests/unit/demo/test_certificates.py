"""The demo's CA: used again while good, made again when not, and good for nothing but localhost."""

from __future__ import annotations

import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

from broker.demo.certificates import GOOD_FOR, certificates

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime.now(UTC)


def test_certificates_are_used_again_until_they_are_nearly_over(tmp_path: Path) -> None:
    first = certificates(tmp_path, NOW).ca.read_bytes()
    assert certificates(tmp_path, NOW + timedelta(days=60)).ca.read_bytes() == first
    assert certificates(tmp_path, NOW + GOOD_FOR - timedelta(days=6)).ca.read_bytes() != first


@pytest.mark.parametrize("broken", ["ca.pem", "public.pem", "ldap.key"])
def test_a_damaged_or_missing_file_means_new_ones(tmp_path: Path, broken: str) -> None:
    first = certificates(tmp_path, NOW).public.read_bytes()
    (tmp_path / broken).unlink()
    if broken != "ldap.key":
        (tmp_path / broken).write_text("not a certificate")
    assert certificates(tmp_path, NOW).public.read_bytes() != first


def test_names_constraints_and_permissions(tmp_path: Path) -> None:
    files = certificates(tmp_path, NOW)
    leaf = x509.load_pem_x509_certificate(files.public.read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost",
        "feed.localhost",
        "wiki.localhost",
    ]
    ca = x509.load_pem_x509_certificate(files.ca.read_bytes())
    limits = ca.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert x509.DNSName("localhost") in (limits.value.permitted_subtrees or [])
    for key in (files.public_key, files.ldap_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("ca*.key"))


@pytest.mark.parametrize("name", ["localhost", "feed.localhost", "wiki.localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_ca_accepts_the_hosts(tmp_path: Path, name: str) -> None:
    files = certificates(tmp_path, NOW)
    assert shake_hands(files.ca, files.public, files.public_key, name)


def test_a_client_that_trusts_the_ca_accepts_no_other_host(tmp_path: Path) -> None:
    files = certificates(tmp_path, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(files.ca, files.public, files.public_key, "bank.example")


def shake_hands(ca: Path, certificate: Path, key: Path, name: str) -> bool:
    """A TLS handshake in memory."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    client_side = ssl.create_default_context(cafile=str(ca))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(down, up, server_hostname=name)
    server = server_side.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert() is not None
