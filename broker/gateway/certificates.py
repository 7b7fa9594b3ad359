"""Certificates on both sides of the broker: the listeners' own, chosen by name and replaced while
connections go on, and what is asked of the servers of a pool that speak TLS.

A listener has one context for its whole life, which holds no certificate: for each handshake it
hands over to the one that is made out to the name asked for. So tickets, whose keys are that
context's, outlive a renewed certificate, and a connection never notices one. Reads files; every
fault of theirs becomes a ConfigurationError that names the file.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class Chain:
    """What stands in the file of a certificate. ``names``: the DNS names of the leaf, lower case.
    ``expires``: seconds since 1970 when the first of the chain does."""

    names: tuple[str, ...]
    subject: str
    expires: float

    @property
    def name(self) -> str:
        """One name for people: the first it is made out to, or its subject's."""
        return self.names[0] if self.names else self.subject


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate with its key, ready for use."""

    chain: Chain
    context: ssl.SSLContext


def read_chain(path: Path) -> Chain:
    """Raises ConfigurationError."""
    from cryptography import x509  # not for those who have no TLS
    from cryptography.x509.oid import NameOID

    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
        leaf = chain[0]
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        try:
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = found.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            names = []
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    return Chain(
        tuple(name.lower() for name in names),
        str(common[0].value) if common else "unnamed",
        min(each.not_valid_after_utc for each in chain).timestamp(),
    )


def load_certified(certificate: Path, key: Path) -> Certified:
    """One of a listener's certificates. Raises ConfigurationError."""
    chain = read_chain(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    _load_key(context, certificate, key)
    return Certified(chain, context)


def server_context(
    ca: Path | None, minimum: str, certificate: Path | None, key: Path | None
) -> ssl.SSLContext:
    """What is asked of the servers of a pool: a certificate by ``ca`` (None: by an authority of the
    system), made out to their name. ``certificate`` and ``key``: what we show them. Raises
    ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        assert ca is not None
        raise _unusable(ca, error) from None
    context.minimum_version = VERSIONS[minimum]
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None and key is not None:
        _load_key(context, certificate, key)
    return context


def _load_key(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    def no_password() -> str:  # without it OpenSSL would ask on the terminal
        raise ValueError("the key is encrypted")

    try:
        context.load_cert_chain(certificate, key, no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise _unusable(certificate, error, f" with the key {key}") from None


def _unusable(path: Path, error: Exception, more: str = "") -> ConfigurationError:
    cause = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    text = f"{path}{more}: {str(cause).lower().replace('_', ' ')}"
    return ConfigurationError(f"certificate cannot be used: {text}", (text,))


class Certificates:
    """Those of one listener. The first answers clients that name no host, or one that no other is
    made out to: a browser then shows whose it is, and Host decides what is served anyway."""

    def __init__(self, certified: Sequence[Certified], minimum: str) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.sni_callback = self._choose
        self.use(certified, minimum)

    def use(self, certified: Sequence[Certified], minimum: str) -> None:
        """From the next handshake on."""
        self.context.minimum_version = VERSIONS[minimum]
        self._default = certified[0].context
        self._by_name: dict[str, ssl.SSLContext] = {}
        for each in certified:
            for name in each.chain.names:
                self._by_name.setdefault(name, each.context)  # of two for a name the first
        self.chains = tuple(each.chain for each in certified)

    def _choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        found = None
        if name is not None:
            found = next(filter(None, map(self._by_name.get, matching(name))), None)
        connection.context = self._default if found is None else found
        return None


def matching(host: str) -> Iterator[str]:
    """What a certificate for ``host`` may be made out to: a wildcard stands for exactly the first
    label (RFC 9525 6.3)."""
    host = host.lower().removesuffix(".")
    yield host
    first, _, rest = host.partition(".")
    if first and rest:
        yield f"*.{rest}"
