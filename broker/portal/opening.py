"""Opening a session for an employee who has proved who they are, and where they go then.

Used by the login, and by the second factor where one is asked for: nothing else opens sessions.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Literal, Protocol

from broker.errors import Busy
from broker.ledger.port import SessionRecord
from broker.policy.populations import population_of
from broker.policy.second_factor import wants_factor
from broker.portal import cookies
from broker.portal.visit import VISIT

if TYPE_CHECKING:
    from aiohttp import web

    from broker.directory.port import Employee
    from broker.ledger.port import Ledger
    from broker.portal.guesses import Guesses
    from broker.portal.handover import Handover
    from broker.portal.plan import PortalPlan
    from broker.portal.visit import Visit

LONGEST_AGENT = 200


class SessionTokens(Protocol):
    """What is asked of ``site.tokens``."""

    def session_cookie(self, record: SessionRecord, host: str) -> str: ...


class Opening:
    def __init__(
        self,
        plan: PortalPlan,
        ledger: Ledger,
        tokens: SessionTokens,
        handover: Handover,
        guesses: Guesses,
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._tokens = tokens
        self._handover = handover
        self._guesses = guesses

    def population(self, employee: Employee) -> str | None:
        return population_of(
            employee.groups, employee.attributes, self._plan.populations, employee.filters
        )

    async def session(
        self,
        request: web.Request,
        visit: Visit,
        employee: Employee,
        factor: Literal["", "totp", "recovery"] = "",
        proved_ms: int | None = None,
    ) -> SessionRecord:
        """A new session with a new id, whoever was logged in here before; and a seat asked for.
        ``proved_ms``: ledger time at which the password was right, if that is a while ago: the
        session begins then, so that what has been revoked since is not opened after all."""
        population = self.population(employee)
        excepted = not factor and wants_factor(self._plan.factor, population, employee.groups)
        now_ms = (await self._ledger.look(employee.name)).ledger_ms
        created_ms = now_ms if proved_ms is None else proved_ms
        record = SessionRecord(
            id=secrets.token_hex(16),  # no secret, the signature is; and never looks like an option
            employee=employee.name,
            display_name=employee.display_name,
            population=population or "",
            groups=employee.groups,
            created_ms=created_ms,
            ends_ms=created_ms + int(self._plan.session_lifetime * 1000),
            last_seen_ms=now_ms,
            address=visit.address,
            agent=_storable(request.headers.get("User-Agent", ""))[:LONGEST_AGENT],
            factor="excepted" if excepted else factor,
        )
        before = visit.identity
        mine = before is not None and before.employee == employee.name
        evicted = await self._ledger.put_session(
            record,
            most=self._plan.sessions_per_employee,
            refuse=self._plan.refuse_more_sessions,
            replaced=before.session_id if before is not None and mine else "",
        )
        if record.id in evicted:
            raise Busy("This employee was logged out everywhere at this very moment.")
        if before is not None and not mine:
            await self._ledger.end_session(before.session_id)
        if population is not None:
            await self._ledger.admit(employee.name, population)
        return record

    def plant(
        self, request: web.Request, response: web.StreamResponse, record: SessionRecord
    ) -> None:
        """The session's cookie; and from now on this browser is known to be the employee's."""
        token = self._tokens.session_cookie(record, request[VISIT].host)
        cookies.plant(response, cookies.SESSION, token)
        by_factor = record.factor in ("totp", "recovery")
        self._guesses.remember(request, response, record.employee, by_factor=by_factor)

    async def onward(self, request: web.Request, return_id: str, session_id: str) -> str:
        """To the application that was wanted, or to the employee's own page."""
        start = await self._handover.start(return_id)
        if start is None or self._plan.is_home(start.host):
            return f"{self._plan.home}/.broker/me"
        chosen = request.cookies.get(cookies.LANGUAGE, "")
        return await self._handover.landing_address(return_id, start, session_id, chosen)


def _storable(text: str) -> str:
    """Bytes that are no UTF-8 arrive as lone surrogates, which no record can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")
