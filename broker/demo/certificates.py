"""A certificate authority made on the spot, and the demo's certificates signed by it.

The CA can only vouch for ``localhost`` names and loopback addresses (name constraints, RFC 5280,
section 4.2.1.10) and its private key is never written down, so that accepting it in a browser
opens no door. The files are used again by the next run while they are good for another week.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

GOOD_FOR = timedelta(days=90)
RENEW_BEFORE = timedelta(days=7)
PUBLIC_NAMES = ("localhost", "feed.localhost", "wiki.localhost")


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files, PEM: the CA to trust, and certificate and key of the public door and the directory."""

    ca: Path
    public: Path
    public_key: Path
    ldap: Path
    ldap_key: Path

    def all(self) -> tuple[Path, ...]:
        return (self.ca, self.public, self.public_key, self.ldap, self.ldap_key)


def certificates(folder: Path, now: datetime) -> Certificates:
    """The demo's certificates in ``folder``: those of an earlier run, or new ones."""
    names = ("ca.pem", "public.pem", "public.key", "ldap.pem", "ldap.key")
    files = Certificates(*(folder / name for name in names))
    if not _still_good(files, now):
        folder.mkdir(parents=True, exist_ok=True)
        _make(files, now)
    return files


def _still_good(files: Certificates, now: datetime) -> bool:
    if not all(path.is_file() for path in files.all()):
        return False
    try:
        ca, *leaves = (
            x509.load_pem_x509_certificate(path.read_bytes())
            for path in (files.ca, files.public, files.ldap)
        )
        for leaf in leaves:
            leaf.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001 - whatever is wrong with them, new ones are made
        return False
    return all(
        one.not_valid_before_utc <= now and now + RENEW_BEFORE < one.not_valid_after_utc
        for one in (ca, *leaves)
    )


def _make(files: Certificates, now: datetime) -> None:
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Broker demo"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Broker demo CA (this machine only)"),
        ]
    )
    only_here: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(IPv4Network("127.0.0.0/8")),
        x509.IPAddress(IPv6Network("::1/128")),
    ]
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.NameConstraints(only_here, None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    for names, certificate_file, key_file in (
        (PUBLIC_NAMES, files.public, files.public_key),
        (("localhost",), files.ldap, files.ldap_key),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = [
            *(x509.DNSName(name) for name in names),
            x509.IPAddress(IPv4Address("127.0.0.1")),
            x509.IPAddress(IPv6Address("::1")),
        ]
        leaf = (
            _builder(subject, ca_name, key.public_key(), now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        _write_private(
            key_file,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        certificate_file.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    now = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + GOOD_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_private(path: Path, content: bytes) -> None:
    """Readable by nobody else from the first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
