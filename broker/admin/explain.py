"""``/api/v1/explain``: why one employee gets in at one address, or does not.

Asks the directory (with the service account; nobody's password is needed), the ledger and this
host's workers, and changes nothing. Who cannot be asked is named, and the rest is answered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from broker.admin import views
from broker.admin.operations import Operation, Parameter
from broker.errors import Busy, DirectoryAway, LedgerAway, LedgerLearning, Refused
from broker.policy import explaining
from broker.policy.populations import match

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.admin.processes import HostState, Processes
    from broker.directory.port import Employee
    from broker.ledger.port import Ledger, SeatAnswer, SessionRecord, Usage
    from broker.policy.explaining import Finding, Place
    from broker.policy.populations import PopulationRule
    from broker.policy.second_factor import FactorRules

LONGEST = 2_000  # characters of an address


class LookUps(Protocol):
    """The part of a directory that needs no password (see ``directory.port``)."""

    @property
    def can_look_up(self) -> bool: ...

    async def lookup(self, username: str) -> Employee | None: ...


@dataclass(frozen=True, slots=True)
class Premises:
    """What of the configuration decides: the rules of populations in their order, who needs a
    second factor, and where an address leads (``place``); ``canonical``: a typed name in its one
    form, None: nobody's."""

    rules: tuple[PopulationRule, ...]
    factor: FactorRules
    place: Callable[[str], Place]
    canonical: Callable[[str], str | None]


class Explain:
    """``premises``: as the configuration is at this moment. ``directory`` None: there is none to
    ask."""

    def __init__(
        self,
        ledger: Ledger,
        processes: Processes,
        directory: LookUps | None,
        premises: Callable[[], Premises],
    ) -> None:
        self._ledger = ledger
        self._processes = processes
        self._directory = directory
        self._premises = premises

    async def explain(self, request: web.Request) -> web.Response:
        query = request.query
        if set(query) != {"employee", "url"} or len(query) != 2:
            raise Refused("this needs the parameters employee and url, once each, and no other")
        premises = self._premises()
        typed = premises.canonical(query["employee"])
        if typed is None:
            raise Refused("nobody can have that login name")
        if not query["url"] or len(query["url"]) > LONGEST:
            raise Refused(f"an address has 1 to {LONGEST} characters")
        return web.json_response(await self._answer(typed, query["url"], premises))

    async def _answer(self, typed: str, url: str, premises: Premises) -> dict[str, Any]:
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._look_up(typed))
            host = group.create_task(self._processes.state())
        employee, trouble = looking.result()
        name = employee.name if employee is not None else typed
        usage, seat, records = await self._books(name)
        latest = max(records, key=lambda each: each.created_ms, default=None)
        findings = [trouble or _known(employee, typed)]
        matched = None
        if employee is not None:
            matched = match(employee.groups, employee.attributes, premises.rules, employee.filters)
        population = matched.name if matched else ""
        if not population and trouble is not None and latest is not None:
            population = latest.population
        if employee is not None or population:
            findings.append(explaining.population(matched, remembered=population))
            if premises.factor.on:
                groups = employee.groups if employee else latest.groups if latest else ()
                held = await self._factor(name, records)
                findings.append(explaining.second_factor(premises.factor, population, groups, held))
        place = premises.place(url)
        findings.append(explaining.address(place))
        if usage is None:
            text = "not known: the ledger does not answer; who has a seat works on, nobody new"
            findings.append(explaining.Finding("seat", None, text, known=False))
        elif not place.portal:
            findings.append(explaining.sessions(len(records)))
            findings += _of_ledger(usage, seat, population, place)
        if place.pool:
            findings.append(explaining.servers(_servers(host.result(), place.pool)))
        gets_in, why = explaining.verdict(findings)
        return {
            "employee": name,
            "url": url,
            "gets_in": gets_in,
            "why": why,
            "findings": [
                {"what": each.what, "passes": each.passes, "text": each.text} for each in findings
            ],
            "display_name": employee.display_name if employee else None,
            "groups": list(employee.groups) if employee else None,
            "population": population or None,
            "seat": None if seat is None else {"state": seat.state, "position": seat.position},
            "sessions": [views.session(each) for each in records],
            "host": place.host,
            "route": place.route or None,
            "pool": place.pool or None,
        }

    async def _look_up(self, typed: str) -> tuple[Employee | None, Finding | None]:
        if self._directory is None:
            text = "not known: this process has no directory to ask"
            return None, explaining.Finding("directory", None, text, known=False)
        if not self._directory.can_look_up:
            text = "not known: without a service account only employees may read their own entries"
            return None, explaining.Finding("directory", None, text, known=False)
        try:
            return await self._directory.lookup(typed), None
        except (Busy, DirectoryAway) as error:
            text = f"not known: {error.reason}"
            return None, explaining.Finding("directory", None, text, known=False)

    async def _books(
        self, name: str
    ) -> tuple[Usage | None, SeatAnswer | None, Sequence[SessionRecord]]:
        try:
            usage = await self._ledger.usage()
            return usage, await self._ledger.look(name), await self._ledger.sessions(name)
        except LedgerAway:
            return None, None, ()

    async def _factor(
        self, name: str, records: Sequence[SessionRecord]
    ) -> explaining.FactorHeld | None:
        try:
            view = await self._ledger.factor(name)
        except (LedgerAway, LedgerLearning):
            return None
        kept = sum(1 for each in records if each.factor)
        return explaining.FactorHeld(view.factor is not None, view.may_enrol_ms > 0, kept)

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET", "/explain", "Why an employee gets in at an address, or does not",
                self.explain,
                {
                    200: "rule, population, second factor, address, seat, place, quota, servers, "
                    "and the verdict",
                    400: "no employee or no address named",
                },
                (
                    Parameter("employee", "query", "the login name", required=True),
                    Parameter("url", "query", "the address, with its path", required=True),
                ),
            ),
        )  # fmt: skip


def _known(employee: Employee | None, typed: str) -> Finding:
    if employee is None:
        return explaining.Finding(
            "directory", False, f"there is no {typed}, or the account is disabled"
        )
    groups = f"{len(employee.groups)} {'group' if len(employee.groups) == 1 else 'groups'}"
    return explaining.Finding("directory", True, f"{employee.display_name}, in {groups}")


def _of_ledger(
    usage: Usage, seat: SeatAnswer | None, population: str, place: Place
) -> list[Finding]:
    assert seat is not None
    counted = explaining.Counted(
        {
            name: usage.occupied.get(name, 0) + usage.called.get(name, 0)
            for name in {**usage.occupied, **usage.called}
        },
        usage.used,
    )
    standing = explaining.Seat(seat.state, seat.population, seat.position)
    name = seat.population or population
    found = [explaining.seat(usage.limits, counted, standing, name, usage.waiting.get(name, 0))]
    if place.pool:
        found += explaining.quotas(usage.limits, counted, place.pool, name)
    return found


def _servers(host: HostState, pool: str) -> list[explaining.ServerState]:
    listed = views.pools(None, host)["pools"].get(pool, {"servers": []})["servers"]
    return [
        explaining.ServerState(each["server"], each["healthy"], each["draining"], each["in_flight"])
        for each in listed
    ]
