"""``/api/v1/bans``: bans by wrong passwords, seen and ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from broker.admin.operations import Operation, Parameter
from broker.errors import Refused
from broker.policy.guessing import block, one_spelling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broker.ledger.port import Ledger

_WHOSE = "say which: employee=NAME, address=ADDRESS or all=yes"


class Bans:
    """``record(request, action, subject)`` writes the audit trail."""

    def __init__(
        self, ledger: Ledger, record: Callable[[web.Request, str, str], Awaitable[None]]
    ) -> None:
        self._ledger = ledger
        self._record = record

    async def list(self, _: web.Request) -> web.Response:
        found = await self._ledger.bans()
        bans = [
            {
                "kind": ban.kind,
                "employee": ban.employee or None,
                "address": ban.where if ban.kind in ("pair", "address") else None,
                "seconds_left": ban.left_ms / 1000,
            }
            for ban in found
        ]
        return web.json_response({"bans": bans})

    async def clear(self, request: web.Request) -> web.Response:
        if len(request.query) != 1:
            raise Refused(_WHOSE)
        ((selector, subject),) = request.query.items()
        if selector == "employee" and subject:
            cleared = await self._ledger.clear_bans(employee=subject)
            if (counted := one_spelling(subject)) != subject:  # where names are not searched for
                cleared += await self._ledger.clear_bans(employee=counted)
        elif selector == "address" and block(subject.split("/")[0]):
            # As the list shows it, or one address of an IPv6 /64.
            cleared = await self._ledger.clear_bans(address=block(subject.split("/")[0]))
        elif selector == "all" and subject == "yes":
            cleared = await self._ledger.clear_bans()
        else:
            raise Refused(_WHOSE)
        whose = "everybody" if selector == "all" else f"{selector} {subject}"
        await self._record(request, "cleared", f"bans of {whose}")
        return web.json_response({"cleared": cleared})

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET", "/bans", "Bans that wrong passwords have brought", self.list,
                {200: "those in force, the longest first, at most 1000"},
            ),
            Operation(
                "DELETE", "/bans", "End the bans of an employee, of an address, or all", self.clear,
                {200: "how many have ended", 400: "not exactly one of the parameters"},
                (
                    Parameter("employee", "query", "the name as the directory has it"),
                    Parameter("address", "query", "an address"),
                    Parameter("all", "query", "yes: all of the site"),
                ),
            ),
        )  # fmt: skip
