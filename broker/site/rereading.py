"""Live sessions follow the directory: every few minutes each employee's entry is read again.

Whoever is disabled or gone is out everywhere; another name, other groups or another population are
written into the records, and the workers told. Whoever needs a second factor by now, and has logged
in without, is out of that browser: the next login asks. Runs in the portal process, where the
directory is; the ledger hands each employee to one portal at a time, the longest unread first, and
at once those that operations want refreshed. Slowly on purpose: a login never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.errors import Busy, DirectoryAway, LedgerAway
from broker.policy.populations import population_of
from broker.policy.second_factor import FactorRules, excepted, wants_factor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.directory.port import Directory
    from broker.ledger.port import Ledger
    from broker.policy.populations import PopulationRule

AT_ONCE = 2
"""Entries read at the same time: of the directory's threads most are left for logins."""
PORTION = 20
PAUSE = 0.2
"""Seconds between two portions: at most a hundred entries a second for each portal."""
REST = 1.0
"""Seconds until the ledger is asked again when nobody was due, unless it wakes us."""

_log = logging.getLogger(__name__)


class Rereading:
    """``every``: seconds. ``counted`` is told of each employee: ``same``, ``changed``, ``gone`` or
    ``failed``. ``directory``, ``rules`` and ``factor`` may be replaced at any time."""

    def __init__(
        self,
        ledger: Ledger,
        directory: Directory,
        rules: Sequence[PopulationRule],
        every: float,
        counted: Callable[[str], None] = lambda outcome: None,
        factor: FactorRules | None = None,
    ) -> None:
        self.factor = factor or FactorRules()
        self._ledger = ledger
        self.directory = directory
        self.rules = rules
        self.every = every
        self._counted = counted

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._with_wakeups()
            except LedgerAway:
                await asyncio.sleep(REST)

    async def _with_wakeups(self) -> None:
        wakeups = await self._ledger.wakeups()
        try:
            while True:
                busy = await self.once()
                await asyncio.sleep(PAUSE)
                if not busy:
                    await wakeups.next(REST)
        finally:
            await wakeups.close()

    async def once(self) -> bool:
        """One portion; whether anybody was due. Raises LedgerAway."""
        if not self.directory.can_look_up:
            return False
        due = await self._ledger.due_employees(PORTION, int(self.every * 1000))
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(name: str) -> None:
            async with turns:
                self._counted(await self._read(name))

        async with asyncio.TaskGroup() as group:
            for name in due:
                group.create_task(in_turn(name))
        return bool(due)

    async def _read(self, name: str) -> str:
        """One employee. That directory or ledger is away changes nothing: until next time."""
        try:
            employee = await self.directory.lookup(name)
            if employee is None or employee.name != name:
                await self._ledger.revoke("employee", name)
                _log.warning("an employee is gone from the directory, or disabled: logged out")
                return "gone"
            population = population_of(
                employee.groups, employee.attributes, self.rules, employee.filters
            )
            changed, out = [], 0
            for record in await self._ledger.sessions(name):
                wants = wants_factor(self.factor, population, employee.groups)
                without = record.factor in ("", "excepted")
                fresh = replace(
                    record,
                    factor=("excepted" if wants else "") if without else record.factor,
                    display_name=employee.display_name,
                    groups=employee.groups,
                    population=population or "",
                )
                if wants and without and not excepted(record.address, self.factor.except_from):
                    await self._ledger.end_session(record.id)
                    out += 1
                elif fresh != record:
                    changed.append(fresh)
            if out:
                _log.info("sessions without the second factor that is needed by now: %d ended", out)
            if changed:
                await self._ledger.update_sessions(name, changed)
        except (Busy, DirectoryAway, LedgerAway) as error:
            _log.info("an employee could not be read again: %s", error.reason)
            return "failed"
        return "changed" if changed or out else "same"
