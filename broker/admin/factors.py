"""``/api/v1/factors``: second factors, seen and reset, and when employees may set one up.

No secret and no recovery code passes through here: operations can take a factor away, not use it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from aiohttp import web

from broker.admin import guard
from broker.admin.asking import body
from broker.admin.capacity_views import civil
from broker.admin.operations import Operation, Parameter
from broker.errors import Refused
from broker.ledger.port import AuditEntry

if TYPE_CHECKING:
    from broker.ledger.port import Ledger

DAY = 86_400.0
LONGEST = 366 * DAY
_log = logging.getLogger(__name__)


class Factors:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def show(self, request: web.Request) -> web.Response:
        if set(request.query) - {"employee"}:
            raise Refused("the only parameter is employee=NAME")
        answer: dict[str, Any] = {"enrolment_seconds_left": await self._ledger.enrolment() / 1000}
        if employee := request.query.get("employee", ""):
            view = await self._ledger.factor(employee)
            answer |= {
                "employee": employee,
                "set_up": None,
                "recovery_codes_left": None,
                "may_set_up_seconds": None if view.factor else view.may_enrol_ms / 1000,
            }
            if view.factor is not None:
                answer["set_up"] = civil(view.factor.since_ms)
                answer["recovery_codes_left"] = len(view.factor.recovery)
        return web.json_response(answer)

    async def reset(self, request: web.Request) -> web.Response:
        """Their sessions end too: whoever has the lost telephone may be logged in."""
        wanted = await body(request)
        employee = wanted.pop("employee", None)
        if not isinstance(employee, str) or not employee:
            raise Refused("say whose: employee is the name as the directory has it")
        lasts = _seconds(wanted)
        author = guard.author(request)
        entry = AuditEntry(author, "reset", f"second factor of {employee}")
        had = await self._ledger.reset_factor(employee, round(lasts * 1000), entry)
        await self._ledger.revoke("employee", employee)
        _log.warning("%s reset second factor of %s", author, employee)
        return web.json_response({"employee": employee, "had": had, "may_set_up_seconds": lasts})

    async def open(self, request: web.Request) -> web.Response:
        lasts = _seconds(await body(request))
        return await self._enrolment(request, "opened" if lasts else "closed", lasts)

    async def close(self, request: web.Request) -> web.Response:
        return await self._enrolment(request, "closed", 0)

    async def _enrolment(self, request: web.Request, action: str, lasts: float) -> web.Response:
        author = guard.author(request)
        entry = AuditEntry(author, action, "enrolment of second factors", after=f"{lasts:g} s")
        await self._ledger.open_enrolment(round(lasts * 1000), entry)
        _log.warning("%s %s enrolment of second factors for %g s", author, action, lasts)
        return web.json_response({"enrolment_seconds_left": lasts})

    def operations(self) -> tuple[Operation, ...]:
        lasts = {
            "description": "seconds; a day when it is left out",
            "type": "number",
            "minimum": 0,
            "maximum": LONGEST,
        }
        whose = {"type": "string", "minLength": 1}
        return (
            Operation(
                "GET", "/factors", "Second factors: enrolment, and that of an employee", self.show,
                {200: "when it was set up, how many recovery codes are left", 400: "no such query"},
                (Parameter("employee", "query", "the name as the directory has it"),),
            ),
            Operation(
                "POST", "/factors/reset", "Forget an employee's second factor, end their sessions",
                self.reset,
                {200: "had: whether there was one; they may set up another one", 400: "whose?"},
                body={
                    "type": "object",
                    "required": ["employee"],
                    "properties": {"employee": whose, "lasts": lasts},
                    "additionalProperties": False,
                },
            ),
            Operation(
                "POST", "/factors/enrolment", "Let who has no second factor set one up", self.open,
                {200: "until then, or until Redis is restarted", 400: "not a time"},
                body={
                    "type": "object",
                    "properties": {"lasts": lasts},
                    "additionalProperties": False,
                },
            ),
            Operation(
                "DELETE", "/factors/enrolment", "Let nobody set one up any more", self.close,
                {200: "closed; who was allowed by name still may"},
            ),
        )  # fmt: skip


def _seconds(wanted: dict[str, Any]) -> float:
    """Raises Refused."""
    lasts = wanted.pop("lasts", DAY)
    if wanted:
        raise Refused(f"not known here: {', '.join(sorted(map(str, wanted)))}")
    if isinstance(lasts, bool) or not isinstance(lasts, int | float) or not 0 <= lasts <= LONGEST:
        raise Refused("lasts is a number of seconds, at most a year")
    return float(lasts)
