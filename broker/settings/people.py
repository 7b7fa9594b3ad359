"""Who the employees are and how they are remembered: directory, sessions, ledger."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from broker.settings.scalars import (
    Count,
    Duration,
    Model,
    Network,
    Positive,
    ReadableFile,
    Secret,
)


class DirectorySettings(Model):
    """LDAP or Active Directory."""

    servers: list[Annotated[str, Field(pattern=r"^ldaps?://[^/]+$")]] = Field(min_length=1)
    """In order of preference: ldaps://HOST, or ldap://HOST with start_tls."""
    start_tls: bool = False
    """Turn ldap:// into TLS before anything is said."""
    clear_text: bool = False
    """Say true to send passwords in clear text over ldap://."""
    ca: ReadableFile | None = None
    """PEM of the authorities that may sign the servers' certificates; none: the system's."""
    bind_dn: str = ""
    """The service account that searches; empty: anonymous."""
    bind_password: Secret | None = None
    """Its password. Secret."""
    base: str
    """Where employees are searched."""
    user_dn: str | None = None
    """Bind to this name at once instead of searching first: uid={username},ou=people,dc=..., or for
    Active Directory {username}@corp.example. Without bind_dn each employee reads their own entry,
    and groups cannot be read again while they work."""
    user_filter: str = "(&(objectClass=person)(uid={username}))"
    """Finds one employee; {username} is replaced, escaped."""
    user_attribute: str = "uid"
    """Holds the canonical login name."""
    display_attribute: str = "cn"
    """Holds the name that is shown."""
    group_attribute: str | None = "memberOf"
    """Holds the groups of an employee; null where the directory has none."""
    group_base: str | None = None
    """Where groups are searched, for directories without a group attribute."""
    group_filter: str = "(member={dn})"
    """Finds the groups of one employee; {dn} is replaced, escaped."""
    nested_groups: Literal["none", "matching_rule", "recursive"] = "none"
    """Groups in groups: matching_rule lets Active Directory follow them, recursive follows them
    from here."""
    primary_group: bool = False
    """Active Directory: count the primary group too, which memberOf does not name."""
    disabled_filter: str | None = None
    """Matches accounts that may not log in."""
    attributes: list[str] = []
    """Further attributes to read, for rules of populations."""
    password_change: Literal["none", "active_directory", "rfc3062"] = "none"
    """How employees may change a password that has expired, on the home host; rfc3062 is
    OpenLDAP's way."""
    tls_minimum: Literal["1.2", "1.3"] = "1.2"
    """The oldest version of TLS."""
    connect_timeout: Duration = 2.0
    """Reaching one server."""
    receive_timeout: Duration = 3.0
    """One answer."""
    deadline: Duration = 5.0
    """A whole login, whatever the servers do."""
    threads: Annotated[int, Field(ge=1, le=64)] = 8
    """Conversations at the same time."""
    queue: Count = 32
    """Logins that may wait for a thread; beyond it "try again"."""


class Sessions(Model):
    """Logged-in browsers."""

    keys: Secret
    """The key ring, as `broker keys generate` prints it. Secret."""
    lifetime: Duration = 43_200.0
    """A session ends this long after the login, whatever happens."""
    token_lifetime: Duration = 900.0
    """The cookie's token is good for this long without asking anybody."""
    token_refresh: Duration = 300.0
    """A token older than this is issued again on the way."""
    per_employee: Positive = 10
    """Browsers of one employee."""
    when_full: Literal["evict", "refuse"] = "evict"
    """evict: one more logs the oldest out; refuse: it may not log in."""
    reread: Duration = 300.0
    """How often the entry of an employee with sessions is read again in the directory: who is
    disabled is out, other groups are in force."""


class Bans(Model):
    """What wrong passwords lead to. An employee as such is never banned, only slowed down."""

    window: Duration = 900.0
    """For how long wrong passwords are counted."""
    duration: Duration = 900.0
    """How long a ban lasts."""
    per_employee_and_address: Positive = 10
    """Tries of one name from one address that ban that name from there; keep it below what locks an
    account in the directory. Also for a browser that is known."""
    per_address: Positive = 100
    """Tries of any names from one address (of IPv6 its /64) that ban it."""
    slow_after: Count = 20
    """Tries of one name from anywhere after which each further one waits."""
    slowest: Duration = 4.0
    """The longest such wait."""
    trusted: list[Network] = []
    """Addresses or networks by which nobody is banned, like an office behind one address. Loopback
    is always among them."""


class SecondFactor(Model):
    """A code from the telephone (TOTP) beside the password. Off where it names nobody."""

    populations: list[str] = []
    """Who needs it: these populations."""
    groups: list[str] = []
    """And members of these groups, by DN, whatever their population."""
    except_from: list[Network] = []
    """Addresses or networks from which the password alone is enough, like an office's."""
    tries: Positive = 10
    """Wrong codes after which no more are taken: of one known browser, or of all others together.
    Recovery codes are still taken."""
    window: Duration = 3600.0
    """For how long wrong codes are counted, and then for how long none is taken."""


class LedgerSettings(Model):
    """Redis."""

    url: Secret
    """redis://:PASSWORD@HOST:6379/0, rediss://..., unix:///PATH;
    sentinel://:PASSWORD@HOST:26379,HOST:26379/NAME?db=0 (NAME: what the Sentinels call the primary;
    sentinel_password=... for the Sentinels, ssl=true for TLS); or
    cluster://:PASSWORD@HOST:6379,HOST:6379?ssl=true. Secret."""
    deadline: Duration = 0.1
    """A command that takes longer counts as unanswered."""
