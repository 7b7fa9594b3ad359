"""The conversation with the directory: what one thread says and hears for one employee.

A line owns two connections that stay open between employees: one bound as the service account,
which searches, and one *door* on which employees' passwords are tried. Both are replaced without a
word when the server has closed them, when a server fails, and every few minutes so that a preferred
server that came back is used again. Everything here blocks, and is ended from outside by
``cutoff``. Errors leave as those of ``broker.errors``.
"""

from __future__ import annotations

import enum
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from ldap3.core.results import RESULT_SUCCESS

from broker.directory import reading
from broker.directory.cutoff import Cutoff
from broker.directory.link import ACCOUNT_REFUSED, Broken, Entry, Link, open_link
from broker.errors import AccountRefused, DirectoryAway, WrongPassword

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from broker.directory.plan import DirectoryPlan, Server
    from broker.directory.port import Employee
    from broker.directory.servers import Servers

Answer = TypeVar("Answer")

LINK_AGE = 300.0
"""Seconds after which a connection is replaced."""

WRONG = "The user name or the password is not right."
AWAY = "The directory cannot be reached at the moment."
REFUSED = "This account may not log in. Please ask your IT service desk."
NAMELESS = "This account has no usable user name in the directory."

logger = logging.getLogger("broker.directory")


class Role(enum.Enum):
    SERVICE = "service"
    DOOR = "door"


@dataclass(frozen=True, slots=True)
class Found:
    """The one entry a login name stands for. ``name`` is None when it has no usable one."""

    entry: Entry
    name: str | None


class Line:
    """One thread's connections. Only one call at a time; ``cutoff`` may be used from anywhere."""

    def __init__(
        self,
        plan: DirectoryPlan,
        servers: Servers,
        context: ssl.SSLContext,
        clock: Callable[[], float],
    ) -> None:
        self.cutoff = Cutoff()
        self._plan = plan
        self._servers = servers
        self._context = context
        self._clock = clock
        self._links: dict[Role, Link] = {}

    def find(self, typed: str) -> Found | None:
        """The entry for a login name; None when there is none, or more than one."""
        entries = self._search(
            self._plan.base,
            reading.user_filter(self._plan, typed),
            reading.wanted_attributes(self._plan),
            limit=2,
        )
        if len(entries) > 1:
            logger.warning("a login name matches more than one entry; such logins are refused")
        if len(entries) != 1:
            return None
        return Found(entries[0], reading.canonical_name(entries[0], self._plan))

    def admit(self, found: Found, password: str) -> Employee:
        """Try the password, then read the rest. Raises WrongPassword, AccountRefused."""
        code = self._ask(Role.DOOR, lambda link: link.bind(found.entry.dn, password))
        if code in ACCOUNT_REFUSED:
            raise AccountRefused(REFUSED)
        if code != RESULT_SUCCESS:
            raise WrongPassword(WRONG)
        if found.name is None:
            raise AccountRefused(NAMELESS)
        if self._disabled(found.entry):
            raise AccountRefused(REFUSED)
        return self._read(found.entry, found.name)

    def pretend(self, password: str) -> None:
        """Try the password on nobody, so that a name nobody has takes as long as a wrong one."""
        nobody = f"cn={secrets.token_hex(8)},{self._plan.base}"
        self._ask(Role.DOOR, lambda link: link.bind(nobody, password))

    def look(self, typed: str) -> Employee | None:
        """Read an employee without a password; None when gone, ambiguous, nameless or disabled."""
        found = self.find(typed)
        if found is None or found.name is None or self._disabled(found.entry):
            return None
        return self._read(found.entry, found.name)

    def probe(self, server: Server) -> None:
        """Walk the whole way to one server on a connection of its own. Raises DirectoryAway with
        the first thing that is wrong, in a sentence."""
        try:
            link = open_link(server, self._plan, self._context, self.cutoff, self._clock())
        except Broken as problem:
            raise DirectoryAway(f"Directory server {server.number}: {problem.cause}.") from problem
        try:
            self._log_in_service(link)
            if link.search(self._plan.base, "(objectClass=*)", (), scope="BASE"):
                return
            cause = "the search base does not exist, or the service account may not see it"
        except Broken as problem:
            raise DirectoryAway(f"Directory server {server.number}: {problem.cause}.") from problem
        finally:
            link.close()
        raise DirectoryAway(f"Directory server {server.number}: {cause}.")

    def close(self) -> None:
        while self._links:
            self._links.popitem()[1].close()

    def _disabled(self, entry: Entry) -> bool:
        """Let the directory itself evaluate the filter (AD's bit rules, for one); an entry that has
        vanished meanwhile counts as disabled."""
        if self._plan.disabled_filter is None:
            return False
        wanted = f"(!{self._plan.disabled_filter})"
        return not self._search(entry.dn, wanted, (), scope="BASE")

    def _read(self, entry: Entry, name: str) -> Employee:
        groups: list[str] = []
        if self._plan.group_base is not None:
            wanted = reading.group_filter(self._plan, entry, name)
            groups = [group.dn for group in self._search(self._plan.group_base, wanted, ())]
        return reading.employee(entry, name, groups, self._plan)

    def _search(
        self,
        base: str,
        search_filter: str,
        attributes: tuple[str, ...],
        *,
        scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
        limit: int = 0,
    ) -> list[Entry]:
        def question(link: Link) -> list[Entry]:
            found = link.search(base, search_filter, attributes, scope=scope, limit=limit)
            if found is None and scope == "SUBTREE":
                raise Broken("the search base does not exist")
            return found or []

        return self._ask(Role.SERVICE, question)

    def _ask(self, role: Role, question: Callable[[Link], Answer]) -> Answer:
        """Ask on the open connection, or a new one; once more when an old one turned out dead, and
        on the next server when one fails. Raises DirectoryAway when none is left."""
        for _ in range(1 + len(self._servers)):
            link, reused = self._link(role)
            try:
                return question(link)
            except Broken as problem:
                self._links.pop(role).close()
                last = problem
                self._give_up_if_cut(link.server, problem)
                if not reused or problem.silent:
                    self._servers.failed(link.server, problem.cause)
        raise DirectoryAway(AWAY) from last

    def _link(self, role: Role) -> tuple[Link, bool]:
        """An open connection for ``role``, and whether it had been used before."""
        link = self._links.get(role)
        if link is not None:
            if link.usable(self._clock(), LINK_AGE):
                return link, True
            self._links.pop(role).close()
        last: Broken | None = None
        for server in self._servers.in_order():
            try:
                link = open_link(server, self._plan, self._context, self.cutoff, self._clock())
                self._links[role] = link
                if role is Role.SERVICE:
                    self._log_in_service(link)
            except Broken as problem:
                last = problem
                if role in self._links:
                    self._links.pop(role).close()
                self._give_up_if_cut(server, problem)
                self._servers.failed(server, problem.cause)
            else:
                self._servers.worked(server)
                return link, False
        raise DirectoryAway(AWAY) from last

    def _log_in_service(self, link: Link) -> None:
        if not self._plan.bind_dn:
            return  # anonymous from the start (RFC 4511 section 4.2)
        if link.bind(self._plan.bind_dn, self._plan.bind_password or "") != RESULT_SUCCESS:
            raise Broken("the service account may not log in: check bind_dn and bind_password")

    def _give_up_if_cut(self, server: Server, problem: Broken) -> None:
        """After the cut every call fails: that says nothing about the other servers."""
        if not self.cutoff.passed:
            return
        if self.cutoff.overdue:
            self._servers.failed(server, "no answer within the deadline")
        raise DirectoryAway(AWAY) from problem
