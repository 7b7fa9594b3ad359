"""The directory over LDAP: the port's implementation, and its rules about people.

A login takes its turn among logins with the same name and finds the entry; passes the gate, where
it may have to wait; takes its turn among logins of the same *employee* (whatever was typed) and
tries the password. Each step is on a line borrowed from the switchboard, all of it, without the
gate, within one deadline. A result is never shared between logins. No
such employee and wrong password are told alike, in text and, as far as we can, in time.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from broker.directory.evenness import Evenness
from broker.directory.line import AWAY, WRONG, Line
from broker.directory.plan import DirectoryPlan, parse_server
from broker.directory.port import open_gate
from broker.directory.reading import typed_name
from broker.directory.servers import Servers
from broker.directory.switchboard import Statistics, Switchboard
from broker.directory.turns import Turns
from broker.directory.wire import tls_context
from broker.errors import ConfigurationError, DirectoryAway, PasswordRefused, WrongPassword
from broker.policy.guessing import one_spelling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from broker.directory.evenness import Kind
    from broker.directory.line import Found
    from broker.directory.port import Employee, Gate, Permit
    from broker.directory.survey import Doubt

Answer = TypeVar("Answer")

PASSWORD_LIMIT = 4096
LOGINS_PER_NAME = 8
"""Logins with one name that may be present; more are told Busy."""


class LdapDirectory:
    """``clock`` gives seconds that never jump (CLOCK_BOOTTIME). Make it inside a running loop.

    Raises ConfigurationError with every fault of the plan.
    """

    def __init__(self, plan: DirectoryPlan, clock: Callable[[], float]) -> None:
        if faults := plan.faults():
            raise ConfigurationError("The directory is not configured properly.", faults)
        self._deadline = plan.deadline
        self._direct = plan.user_dn is not None
        self.can_look_up = plan.searches
        self._servers = tuple(parse_server(n, url) for n, url in enumerate(plan.servers, start=1))
        context = tls_context(plan)
        order = Servers(self._servers, clock)
        self._switchboard = Switchboard(
            [Line(plan, order, context, clock) for _ in range(plan.threads)], plan.queue
        )
        self._turns = Turns(LOGINS_PER_NAME)
        self._evenness = Evenness()

    async def login(
        self, username: str, password: str, gate: Gate = open_gate, *, preferred: bool = False
    ) -> Employee:
        """See the port. An empty password never reaches the directory (RFC 4513 section 5.1.2)."""
        typed = typed_name(username)
        if typed is None or not _sendable(password):
            raise WrongPassword(WRONG)
        if self._direct:
            found, left = None, self._deadline
        else:
            found, left = await self._find(typed, preferred=preferred)
        name = one_spelling(typed) if found is None else found.name or found.entry.dn
        await gate(name)
        began = asyncio.get_running_loop().time()
        try:
            async with (
                self._in_time(left) as limit,
                self._turns.turn(("employee", name), preferred=preferred),
            ):
                began = asyncio.get_running_loop().time()
                if self._direct:
                    return await self._talk(
                        limit, lambda line: line.admit_directly(typed, password), first=True
                    )
                if found is None:
                    await self._talk(limit, lambda line: line.pretend(password), first=True)
                    raise WrongPassword(WRONG)
                return await self._talk(limit, lambda line: line.admit(found, password), first=True)
        except WrongPassword:
            # No thread and no place is held any more.
            took = asyncio.get_running_loop().time() - began
            kind: Kind = "nobody" if found is None else "wrong"
            await asyncio.sleep(self._evenness.hold_back(kind, took))
            raise

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
        """See the port."""
        typed = typed_name(username)
        if typed is None or not _sendable(old):
            raise WrongPassword(WRONG)
        if not _sendable(new):
            raise PasswordRefused("No directory takes such a password.")
        found, left = await self._find(typed, preferred=preferred)
        name = one_spelling(typed) if found is None else found.name or found.entry.dn
        await gate(name)
        async with (
            self._in_time(left) as limit,
            self._turns.turn(("employee", name), preferred=preferred),
        ):
            if found is None:
                await self._talk(limit, lambda line: line.pretend(old), first=True)
                raise WrongPassword(WRONG)
            loop = asyncio.get_running_loop()

            def permitted(employee: Employee) -> None:
                if permit is not None:
                    asked = asyncio.run_coroutine_threadsafe(_awaited(permit, employee), loop)
                    try:
                        asked.result(self._deadline)
                    finally:
                        asked.cancel()  # nothing, when it has ended

            await self._talk(
                limit,
                lambda line: line.change_password(
                    found, old, new, None if permit is None else permitted
                ),
                first=True,
            )

    async def _find(self, typed: str, *, preferred: bool) -> tuple[Found | None, float]:
        """The entry, and what is left of the deadline."""
        async with self._in_time(self._deadline) as limit:
            async with self._turns.turn(("typed", typed), preferred=preferred):
                found = await self._talk(limit, lambda line: line.find(typed))
            return found, self._left(limit)

    async def lookup(self, username: str) -> Employee | None:
        """See the port. Not serialised with logins: it counts nothing."""
        typed = typed_name(username)
        if typed is None:
            return None
        async with self._in_time(self._deadline) as limit:
            return await self._talk(limit, lambda line: line.look(typed))

    async def probe(self) -> None:
        """Every server in turn, each within the deadline; the first fault found is raised."""
        for server in self._servers:
            async with self._in_time(self._deadline) as limit:
                await self._talk(limit, partial(Line.probe, server=server))

    async def survey(self, groups: Mapping[str, str]) -> list[Doubt]:
        """After a probe: whether what is configured finds anybody. ``groups``: DN -> what in the
        configuration names it. Nothing where only employees may read their own entries."""
        if not self.can_look_up:
            return []
        async with self._in_time(self._deadline) as limit:
            return await self._talk(limit, lambda line: line.survey(groups))

    async def close(self) -> None:
        await self._switchboard.close(self._deadline)

    def statistics(self) -> Statistics:
        """How busy the threads are, for metrics."""
        return self._switchboard.statistics()

    @contextlib.asynccontextmanager
    async def _in_time(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """A place, and the deadline that everything from here on shares."""
        with self._switchboard.place():
            try:
                async with asyncio.timeout(seconds) as limit:
                    yield limit
            except TimeoutError as error:
                raise DirectoryAway(AWAY) from error

    def _left(self, limit: asyncio.Timeout) -> float:
        ends = limit.when()
        assert ends is not None
        return max(0.0, ends - asyncio.get_running_loop().time())

    async def _talk(
        self,
        limit: asyncio.Timeout,
        conversation: Callable[[Line], Answer],
        *,
        first: bool = False,
    ) -> Answer:
        return await self._switchboard.talk(conversation, limit.expired, first=first)


async def _awaited(permit: Permit, employee: Employee) -> None:
    await permit(employee)


def _sendable(password: str) -> bool:
    if not password or len(password) > PASSWORD_LIMIT:
        return False
    try:
        password.encode()
    except UnicodeEncodeError:  # half a surrogate pair
        return False
    return True
