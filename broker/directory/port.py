"""What the rest of the broker asks of a directory, whatever speaks LDAP behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Gate: TypeAlias = Callable[[str], Awaitable[None]]
    Permit: TypeAlias = Callable[["Employee"], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Employee:
    """One employee as the directory knows them.

    ``name`` is the canonical login name (the value of the configured attribute, lower case, NFC):
    the identity used for seats, sessions, bans and ``X-Remote-User``. ``groups`` are DNs as the
    directory writes them. ``attributes`` holds the first value of each configured extra attribute,
    ``filters`` those of the plan's filters that match the entry.
    """

    name: str
    display_name: str
    groups: tuple[str, ...]
    attributes: Mapping[str, str] = field(default_factory=dict)
    filters: tuple[str, ...] = ()


async def open_gate(employee: str) -> None:
    """Everybody may try."""


class Directory(Protocol):
    """A directory. Every call ends within the configured deadline, whatever the server does."""

    @property
    def can_look_up(self) -> bool:
        """False where only employees themselves may read their entries."""
        ...

    async def login(
        self, username: str, password: str, gate: Gate = open_gate, *, preferred: bool = False
    ) -> Employee:
        """Check the password and read the employee. ``gate`` is awaited with the canonical name (of
        a name that nobody has, or that is not searched for: its ``one_spelling``) before the
        password is tried; it may wait, no thread is held meanwhile, and what it raises ends the
        login. ``preferred``: not to be turned away because many strangers try the same name.

        Raises WrongPassword (also: no such employee, empty password), AccountRefused,
        PasswordExpired, Busy (no free thread), DirectoryAway.
        """
        ...

    async def change_password(
        self,
        username: str,
        old: str,
        new: str,
        gate: Gate = open_gate,
        *,
        preferred: bool = False,
        permit: Permit | None = None,
    ) -> None:
        """Change an employee's own password, once it has expired. ``gate`` and ``preferred`` as in
        ``login``: the old password is one that can be guessed. ``permit`` is awaited with the
        employee once it has turned out right and expired; what it raises ends the change. A thread
        is held meanwhile, so it must not wait: another bind would use up a grace login.

        Raises WrongPassword (the old one), PasswordRefused (the new one), AccountRefused (the
        directory does not allow it, or the old one has not expired), Busy, DirectoryAway.
        """
        ...

    async def lookup(self, username: str) -> Employee | None:
        """Read the employee without a password; None when there is none or the account is disabled.
        Only where ``can_look_up``.

        Raises Busy, DirectoryAway.
        """
        ...

    async def probe(self) -> None:
        """Bind with the service account and find the base. Raises DirectoryAway with the cause."""
        ...

    async def close(self) -> None:
        """Close connections and end the threads."""
        ...
