"""What the admin process keeps of the configuration beside its own: who decides, and whom to ask.

Its few lines to the directory are its own: who asks why somebody cannot get in, or logs in to the
console, must not wait behind the logins of everybody.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.directory.ldap_directory import LdapDirectory
from broker.wiring.clocks import boot_time
from broker.wiring.directory import directory_plan
from broker.wiring.explaining import premises

if TYPE_CHECKING:
    from broker.admin.explain import Premises
    from broker.directory.port import Employee
    from broker.settings import Settings


class Known:
    """As much of a directory as the admin process needs, which a reload replaces, and the premises
    of ``explain``."""

    def __init__(self, settings: Settings) -> None:
        self._premises, self._directory = self.read(settings)

    def premises(self) -> Premises:
        return self._premises

    @staticmethod
    def read(settings: Settings) -> tuple[Premises, LdapDirectory]:
        """What ``use`` takes. Raises ConfigurationError."""
        return premises(settings), _directory(settings)

    async def use(self, premises: Premises, directory: LdapDirectory) -> None:
        """Those of another configuration."""
        self._premises = premises
        former, self._directory = self._directory, directory
        await former.close()

    @property
    def can_look_up(self) -> bool:
        return self._directory.can_look_up

    async def login(self, username: str, password: str) -> Employee:
        return await self._directory.login(username, password)

    async def lookup(self, username: str) -> Employee | None:
        return await self._directory.lookup(username)

    async def probe(self) -> None:
        await self._directory.probe()

    async def close(self) -> None:
        await self._directory.close()


def _directory(settings: Settings) -> LdapDirectory:
    """Operators are few; employees' logins need the directory more."""
    plan = replace(directory_plan(settings), threads=2, queue=8)
    return LdapDirectory(plan, boot_time)
