"""Members of the directory who may enter the console, by their groups. Passwords are passed on to
the directory and kept nowhere."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from broker.admin.callers import Caller
from broker.admin.explain import LookUps
from broker.errors import AccountRefused, BrokerError, Busy, DirectoryAway, WrongPassword
from broker.policy.guessing import one_spelling
from broker.policy.populations import normal_dn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broker.directory.port import Employee
    from broker.ledger.port import AdminRole

_log = logging.getLogger(__name__)
_WRONG_IN_A_ROW = 5
_PAUSE = 60.0  # seconds
_MOST_NAMES = 1000


@dataclass(slots=True)
class _Tries:
    wrong: int = 0
    until: float = 0.0


class MemberDirectory(LookUps, Protocol):
    """The part of a directory that the console needs (see ``directory.port``)."""

    async def login(self, username: str, password: str) -> Employee: ...


class Members:
    """``operators``, ``viewers``: the DN of the group of each, empty for none. ``clock``: monotonic
    seconds."""

    def __init__(
        self, directory: MemberDirectory, operators: str, viewers: str, clock: Callable[[], float]
    ) -> None:
        self._directory = directory
        named: tuple[tuple[AdminRole, str], ...] = (("operator", operators), ("viewer", viewers))
        self._roles = [(role, normal_dn(group)) for role, group in named if group]
        self._clock = clock
        self._tries: dict[str, _Tries] = {}

    async def enter(self, username: str, password: str) -> Caller:
        """Raises WrongPassword, AccountRefused (also for who is in none of the groups), Busy,
        DirectoryAway."""
        tries = self._tries_of(username)
        if tries is None or self._clock() < tries.until or tries.wrong >= _WRONG_IN_A_ROW:
            raise Busy("too many wrong passwords; try again in a minute")
        tries.wrong += 1  # before it is known to be: many at once are many
        try:
            employee = await self._directory.login(username, password)
        except WrongPassword:
            if tries.wrong >= _WRONG_IN_A_ROW:
                tries.wrong, tries.until = 0, self._clock() + _PAUSE
                _log.warning("console: five wrong passwords in a row for one name: it must pause")
            raise
        except BrokerError:
            tries.wrong = max(0, tries.wrong - 1)
            raise
        tries.wrong = 0
        caller = self._caller(employee.name, employee.groups)
        if caller is None:
            raise AccountRefused("you are in none of the groups that may enter this console")
        return caller

    async def still(self, caller: Caller) -> Caller | None:
        """As the directory has it now; unchanged while it does not answer, and where nobody may
        read another's entry."""
        if not self._directory.can_look_up:
            return caller
        name = caller.name.removesuffix(_SUFFIX)
        try:
            employee = await self._directory.lookup(name)
        except (Busy, DirectoryAway):
            return caller
        return None if employee is None else self._caller(employee.name, employee.groups)

    def _caller(self, name: str, groups: Iterable[str]) -> Caller | None:
        member_of = {normal_dn(group) for group in groups}
        role = next((role for role, group in self._roles if group in member_of), None)
        return None if role is None else Caller(name + _SUFFIX, role)

    def _tries_of(self, username: str) -> _Tries | None:
        """None: so many names were tried that a new one must wait. No pause that runs is forgotten
        for it."""
        name = one_spelling(username[:256])
        if name not in self._tries and len(self._tries) >= _MOST_NAMES:
            now = self._clock()
            free = (each for each, tries in self._tries.items() if tries.until <= now)
            over = next(free, None)
            if over is None:
                return None
            del self._tries[over]
        return self._tries.setdefault(name, _Tries())


_SUFFIX = " (directory)"
"""No token can have such a name."""
