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
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from ldap3.core.results import (
    RESULT_CONSTRAINT_VIOLATION,
    RESULT_INVALID_CREDENTIALS,
    RESULT_SUCCESS,
)

from broker.directory import reading
from broker.directory.cutoff import Cutoff
from broker.directory.groups import all_groups
from broker.directory.link import Broken, ChangeAnswer, Entry, Link, open_link
from broker.directory.survey import survey
from broker.directory.verdict import verdict
from broker.errors import (
    AccountRefused,
    DirectoryAway,
    PasswordExpired,
    PasswordRefused,
    WrongPassword,
)

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from broker.directory.groups import Search
    from broker.directory.plan import DirectoryPlan, Server
    from broker.directory.port import Employee
    from broker.directory.servers import Servers
    from broker.directory.survey import Doubt
    from broker.directory.verdict import Verdict

Answer = TypeVar("Answer")

LINK_AGE = 300.0
"""Seconds after which a connection is replaced."""

WRONG = "The user name or the password is not right."
AWAY = "The directory cannot be reached at the moment."
REFUSED = "This account may not log in. Please ask your IT service desk."
EXPIRED = "This password has expired, or must be changed before it opens anything."
NOT_EXPIRED = "This password has not expired: from here only one that has is changed."
UNCHANGEABLE = "The directory does not allow this password to be changed from here."
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
        """Try the password, then read the rest. Raises WrongPassword, AccountRefused,
        PasswordExpired."""
        _let_in(self._try(found.entry.dn, password), self._plan)
        return self._employee(self._search, found.entry)

    def admit_directly(self, typed: str, password: str) -> Employee:
        """The same where names of employees are made from what was typed, without a search. Without
        a service account the employee reads the entry, on the connection just bound."""
        name = reading.direct_name(self._plan, typed)

        def conversation(link: Link) -> Employee:
            _let_in(self._judge(link, name, password), self._plan)
            search = self._search if self._plan.bind_dn else partial(_search_on, link)
            if reading.is_dn(name):
                entries = search(
                    name,
                    "(objectClass=*)",
                    reading.wanted_attributes(self._plan),
                    scope="BASE",
                )
            else:
                entries = search(
                    self._plan.base,
                    reading.user_filter(self._plan, typed),
                    reading.wanted_attributes(self._plan),
                )
            if len(entries) != 1:
                raise AccountRefused(NAMELESS, "nameless")
            return self._employee(search, entries[0])

        return self._ask(Role.DOOR, conversation)

    def change_password(
        self, found: Found, old: str, new: str, permit: Callable[[Employee], None] | None = None
    ) -> None:
        """Raises WrongPassword, PasswordRefused, AccountRefused: also where the password opens the
        account as it is, for a thief of it must not take the account away; and what ``permit``
        raises, asked once after the password. Never tried twice: whether a change that got no
        answer was carried out, nobody knows."""
        plan, dn = self._plan, found.entry.dn

        def require_expired(judged: Verdict) -> None:
            if judged.judged == "right":
                raise AccountRefused(NOT_EXPIRED, "not_expired")
            if judged.judged not in ("expired", "must_change"):
                _let_in(judged, plan)
            if permit is not None:
                permit(self._employee(self._search, found.entry))

        def by_the_employee(link: Link) -> ChangeAnswer | None:
            judged = self._judge(link, dn, old)
            require_expired(judged)
            return once(lambda: link.modify_password(dn, old, new)) if judged.bound else None

        def once(change: Callable[[], ChangeAnswer]) -> ChangeAnswer:
            try:
                return change()
            except Broken as problem:
                raise DirectoryAway(AWAY) from problem

        if plan.password_change == "active_directory":
            require_expired(self._try(dn, old))
            answer: ChangeAnswer | None = self._ask(
                Role.SERVICE, lambda link: once(lambda: link.change_unicode_password(dn, old, new))
            )
        elif plan.password_change == "rfc3062":
            # An expired password that opens nothing more: the service account may be allowed to.
            answer = self._ask(Role.DOOR, by_the_employee) or self._ask(
                Role.SERVICE, lambda link: once(lambda: link.modify_password(dn, old, new))
            )
        else:
            raise AccountRefused(UNCHANGEABLE)
        assert answer is not None
        _changed(answer)

    def pretend(self, password: str) -> None:
        """Try the password on nobody, so that a name nobody has takes as long as a wrong one."""
        nobody = f"cn={secrets.token_hex(8)},{self._plan.base}"
        self._ask(Role.DOOR, lambda link: link.bind(nobody, password))

    def look(self, typed: str) -> Employee | None:
        """Read an employee without a password; None when gone, ambiguous, nameless or disabled."""
        found = self.find(typed)
        if found is None or found.name is None or self._disabled(self._search, found.entry):
            return None
        return self._employee(self._search, found.entry)

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

    def survey(self, groups: Mapping[str, str]) -> list[Doubt]:
        """What the configuration finds; see ``survey.py``. Raises DirectoryAway."""
        return list(survey(self._search, self._plan, groups))

    def close(self) -> None:
        while self._links:
            self._links.popitem()[1].close()

    def _try(self, dn: str, password: str) -> Verdict:
        return self._ask(Role.DOOR, lambda link: self._judge(link, dn, password))

    def _judge(self, link: Link, dn: str, password: str) -> Verdict:
        answer = link.bind(dn, password)
        insist = self._plan.password_change != "none"
        return verdict(answer.code, answer.message, answer.ppolicy, insist=insist)

    def _disabled(self, search: Search, entry: Entry) -> bool:
        """Let the directory itself evaluate the filter (AD's bit rules, for one); an entry that has
        vanished meanwhile counts as disabled."""
        if self._plan.disabled_filter is None:
            return False
        wanted = f"(!{self._plan.disabled_filter})"
        return not search(entry.dn, wanted, (), scope="BASE")

    def _employee(self, search: Search, entry: Entry) -> Employee:
        """Everything about one who may log in. Raises AccountRefused."""
        name = reading.canonical_name(entry, self._plan)
        if name is None:
            raise AccountRefused(NAMELESS, "nameless")
        if self._disabled(search, entry):
            raise AccountRefused(REFUSED, "disabled")
        groups = all_groups(search, self._plan, entry, name)
        matching = [text for text in self._plan.filters if search(entry.dn, text, (), scope="BASE")]
        return reading.employee(entry, name, groups, self._plan, matching)

    def _search(
        self,
        base: str,
        search_filter: str,
        attributes: tuple[str, ...],
        *,
        scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
        limit: int = 0,
    ) -> list[Entry]:
        return self._ask(
            Role.SERVICE,
            lambda link: _search_on(
                link, base, search_filter, attributes, scope=scope, limit=limit
            ),
        )

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
        answer = link.bind(self._plan.bind_dn, self._plan.bind_password or "")
        if answer.code != RESULT_SUCCESS:
            raise Broken("the service account may not log in: check bind_dn and bind_password")

    def _give_up_if_cut(self, server: Server, problem: Broken) -> None:
        """After the cut every call fails: that says nothing about the other servers."""
        if not self.cutoff.passed:
            return
        if self.cutoff.overdue:
            self._servers.failed(server, "no answer within the deadline")
        raise DirectoryAway(AWAY) from problem


def _search_on(
    link: Link,
    base: str,
    search_filter: str,
    attributes: tuple[str, ...],
    *,
    scope: Literal["BASE", "SUBTREE"] = "SUBTREE",
    limit: int = 0,
) -> list[Entry]:
    found = link.search(base, search_filter, attributes, scope=scope, limit=limit)
    if found is None and scope == "SUBTREE":
        raise Broken("the search base does not exist")
    return found or []


def _let_in(judged: Verdict, plan: DirectoryPlan) -> None:
    """Raises what the directory means."""
    match judged.judged:
        case "right":
            return
        case "wrong":
            raise WrongPassword(WRONG)
        case "expired" | "must_change":
            raise PasswordExpired(EXPIRED, may_change=plan.password_change != "none")
        case because:
            raise AccountRefused(REFUSED, because, proven=judged.proven)


def _changed(answer: ChangeAnswer) -> None:
    """Raises what the answer to a change means. Active Directory names the fault by its Windows
    error code; 56 is ERROR_INVALID_PASSWORD: the old one."""
    if answer.code == RESULT_SUCCESS:
        return
    wrong = answer.message.upper().startswith("00000056")
    if wrong or answer.code == RESULT_INVALID_CREDENTIALS:
        raise WrongPassword(WRONG)
    policy = answer.message.upper().startswith("0000052D")  # ERROR_PASSWORD_RESTRICTION
    if policy or answer.code == RESULT_CONSTRAINT_VIOLATION:
        raise PasswordRefused("The directory does not accept this new password.")
    raise AccountRefused(UNCHANGEABLE)
