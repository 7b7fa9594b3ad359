"""What the directory adapter is told: plain values, checked for contradictions.

The fields mirror the ``directory`` section of the configuration. Talks to nothing; must not import
ldap3 or the settings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_PORTS = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class Server:
    """One directory server. ``number`` counts from 1 in order of preference; ``ldaps`` means TLS
    from the first byte."""

    number: int
    host: str
    port: int
    ldaps: bool


@dataclass(frozen=True, slots=True)
class DirectoryPlan:
    """How to speak to the directory and how to read its entries. Times are seconds.

    ``servers`` are URLs in order of preference. ``user_filter`` holds ``{username}``,
    ``group_filter`` may hold ``{dn}`` and ``{username}``; both are filled in escaped (RFC 4515).
    ``user_dn`` with ``{username}`` is bound to directly, without a search before; without a
    service account the entry is then read by the employee. ``attributes`` are extra attributes to
    read, ``filters`` are matched against each employee's entry. ``deadline`` covers a whole login,
    waiting for a thread included. ``threads`` logins are spoken at a time, ``queue`` more may wait.
    """

    servers: tuple[str, ...]
    base: str
    start_tls: bool = False
    clear_text: bool = False
    ca: Path | None = None
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    bind_dn: str = ""
    bind_password: str | None = field(default=None, repr=False)
    user_dn: str | None = None
    user_filter: str = "(&(objectClass=person)(uid={username}))"
    user_attribute: str = "uid"
    display_attribute: str = "cn"
    group_attribute: str | None = "memberOf"
    group_base: str | None = None
    group_filter: str = "(member={dn})"
    nested_groups: Literal["none", "matching_rule", "recursive"] = "none"
    primary_group: bool = False
    disabled_filter: str | None = None
    password_change: Literal["none", "active_directory", "rfc3062"] = "none"
    filters: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    connect_timeout: float = 2.0
    receive_timeout: float = 3.0
    deadline: float = 5.0
    threads: int = 8
    queue: int = 32

    @property
    def searches(self) -> bool:
        """Whether somebody other than the employee may search: the service account, or anybody."""
        return self.user_dn is None or bool(self.bind_dn)

    def faults(self) -> tuple[str, ...]:
        """Everything in this plan that cannot work, one sentence each."""
        found = []
        for number, url in enumerate(self.servers, start=1):
            try:
                server = parse_server(number, url)
            except ValueError as error:
                found.append(f"servers: {error}")
                continue
            if server.ldaps and self.start_tls:
                found.append(f"servers: server {number} is ldaps:// and cannot also start TLS")
            if not server.ldaps and not self.start_tls and not self.clear_text:
                found.append(
                    f"servers: server {number} is ldap:// without start_tls, so passwords would "
                    "travel in clear text; if that is what you want, say clear_text: true"
                )
        if not self.servers:
            found.append("servers: name at least one")
        if "{username}" not in self.user_filter:
            found.append("user_filter: {username} is missing, so every login would find everybody")
        elif not _matches_by(self.user_attribute, self.user_filter):
            found.append(
                f"user_filter: it must also match by {self.user_attribute} (the user_attribute), "
                "by which employees are looked up again while they work"
            )
        if self.bind_dn and not self.bind_password:
            found.append("bind_password: the service account needs one")
        if self.group_base is not None and not re.search(r"\{(dn|username)\}", self.group_filter):
            found.append("group_filter: {dn} or {username} is missing, so all groups would match")
        if self.user_dn is not None and "{username}" not in self.user_dn:
            found.append("user_dn: {username} is missing, so everybody would be one employee")
        if self.password_change != "none" and not self.searches:
            found.append("password_change: needs bind_dn, by which the entry is found")
        elif self.password_change == "active_directory" and not self.bind_dn:
            found.append(
                "password_change: Active Directory needs bind_dn, which asks for the change"
            )
        if self.password_change == "active_directory" and self.clear_text:
            found.append("password_change: Active Directory changes passwords over TLS only")
        for name in ("user_filter", "group_filter", "disabled_filter"):
            text = getattr(self, name)
            if text is not None and not looks_like_a_filter(text):
                found.append(f"{name}: {NO_FILTER}")
        found += [
            f"populations: filter {text}: {NO_FILTER}"
            for text in self.filters
            if not looks_like_a_filter(text)
        ]
        return tuple(found)


def parse_server(number: int, url: str) -> Server:
    """``ldap://`` or ``ldaps://`` URL to its parts. Raises ValueError with a sentence."""
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"server {number} is not of the form ldaps://HOST:PORT")
    if parts.path.strip("/") or parts.query or parts.username:
        raise ValueError(f"server {number} must be a host and a port, nothing more")
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    return Server(number, parts.hostname, port, parts.scheme == "ldaps")


NO_FILTER = "not a filter: parentheses around it, and as many ( as )"


def looks_like_a_filter(text: str) -> bool:
    return text.startswith("(") and text.endswith(")") and text.count("(") == text.count(")")


def _matches_by(attribute: str, user_filter: str) -> bool:
    pattern = rf"\(\s*{re.escape(attribute)}\s*(:[^=()]*)?=\s*\{{username\}}\s*\)"
    return re.search(pattern, user_filter, re.IGNORECASE) is not None
