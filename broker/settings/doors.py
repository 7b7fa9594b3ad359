"""Where the broker listens, how strict it is there, and what employees and operators see of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from broker.settings.scalars import (
    Address,
    AnchoredPath,
    Duration,
    Model,
    Network,
    Picture,
    Positive,
    ReadableFile,
    Secret,
    Size,
)


class Certificate(Model):
    """One certificate chain and its key, PEM. The first answers clients that name no host, or one
    that no certificate is made out to."""

    certificate: ReadableFile
    """The chain, leaf first."""
    key: ReadableFile
    """The private key, not encrypted."""


class Tls(Model):
    """TLS of one listener."""

    certificates: list[Certificate] = Field(min_length=1)
    """Chosen by the name that the client asks for."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The lowest TLS version that is spoken."""
    hsts: Duration = 31_536_000.0
    """max-age of Strict-Transport-Security; 0: the header is not sent."""


class ProxyProtocol(Model):
    """The PROXY protocol on one listener."""

    senders: list[Network] = Field(alias="from", min_length=1)
    """The load balancers that speak it; connections from anywhere else are closed unread."""


class Listener(Model):
    """One public address."""

    address: Address
    """HOST:PORT, [IPv6]:PORT or unix:/PATH."""
    tls: Tls | None = None
    """Without it the listener speaks clear text: only on loopback, a Unix socket, or behind
    trusted_proxies."""
    trusted_proxies: list[Network] = []
    """TLS terminators in front, which lets the listener speak clear text. Their X-Forwarded-For or
    Forwarded is believed; anybody else's is ignored. Their connections still count as theirs."""
    proxy_protocol: ProxyProtocol | None = None
    """With it every connection must begin with the PROXY protocol, version 1 or 2, before TLS."""


class Door(Model):
    """Strictness of the public listeners, the same for all hosts."""

    head_timeout: Duration = 10.0
    """How long a request's head may take."""
    keep_alive: Duration = 75.0
    """How long an idle connection is kept."""
    head_limit: Size = 32 * 1024
    """Largest head; beyond it 431."""
    header_count: Annotated[int, Field(ge=10)] = 100
    """Most header fields; beyond it 431."""
    request_line_limit: Size = 8 * 1024
    """Longest request line; beyond it 414."""
    body_minimum_rate: Size = 1024
    """Bytes a second, over 10 s, below which an upload is given up."""
    connections_per_address: Positive = 4096
    """Open connections of one client address, on each worker."""


class AdminTls(Model):
    """TLS of the operators' listener. A renewed certificate is taken over by a reload; what clients
    must show, and `minimum`, only by a restart."""

    certificate: ReadableFile
    """The chain, leaf first."""
    key: ReadableFile
    """The private key, not encrypted."""
    client_ca: ReadableFile | None = None
    """With it every client, also a browser and Prometheus, must show a certificate of these
    authorities, beside its token."""
    minimum: Literal["1.2", "1.3"] = "1.2"
    """The lowest TLS version that is spoken."""


class Admin(Model):
    """The operators' listener: API, console, metrics."""

    address: Address = "127.0.0.1:8444"
    """Loopback or a Unix socket; with tls any address."""
    tls: AdminTls | None = None
    """Without it the listener speaks clear text."""
    token: Secret
    """The token of the first operator, at least 16 characters; it makes the others. Secret."""
    hosts: list[str] = []
    """Names, beside the address itself, that a Host header may carry."""
    operators: str | None = None
    """The DN of the directory's group whose members may enter the console as operators."""
    viewers: str | None = None
    """The DN of the group whose members may enter it to look, and change nothing."""


class AccessLog(Model):
    """One JSON line per exchange."""

    path: Literal["stdout", "off"] | AnchoredPath = "stdout"
    """A file (opened again on SIGUSR1), stdout, or off."""
    employee: Literal["plain", "hash", "off"] = "hash"
    """How the employee is named: as is, as a keyed hash, or not at all."""
    hash_key: Secret | None = None
    """Key of that hash; without it one is derived from the session keys. Secret."""


class Company(Model):
    """What employees see of you on the pages."""

    name: str = "Remote access"
    """The heading of every page."""
    contact: str = "your IT service desk"
    """Whom to ask, as it stands inside a sentence."""
    color: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#2457c5"
    """The accent colour."""
    logo: Picture | None = None
    """A file shown beside the name: SVG, PNG, JPEG or WebP, at most 64 KiB; none: our mark in your
    colour."""
    language: Literal["en", "fr", "pl"] = "en"
    """For browsers that ask for none of the three."""
