"""Live sessions follow the directory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest

from broker.directory.port import Employee
from broker.errors import DirectoryAway
from broker.ledger.port import SessionRecord
from broker.policy.second_factor import FactorRules
from broker.site.rereading import Rereading
from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import POPULATIONS, FakeDirectory, employee

if TYPE_CHECKING:
    from broker.ledger.port import Revocation

EVERY = 0.9


class Reader:
    """The parts, and what was counted."""

    def __init__(self) -> None:
        self.ledger = PortalLedger()
        self.directory = FakeDirectory()
        self.outcomes: list[str] = []
        self.rereading = Rereading(
            self.ledger, self.directory, POPULATIONS, EVERY, self.outcomes.append
        )

    async def log_in(self, name: str, session_id: str, population: str = "sales") -> SessionRecord:
        now = self.ledger.state.now
        known = self.directory.employees[name]
        record = SessionRecord(
            session_id, name, known.display_name, population, known.groups, now, now + 10**7
        )
        await self.ledger.put_session(record, most=10)
        return record

    def later(self) -> None:
        self.ledger.wall_ms += int(EVERY * 1000)

    def told(self) -> list[Revocation]:
        return list(self.ledger.seat_sessions.revocations_after(0)[1])


@pytest.fixture
def reader() -> Reader:
    return Reader()


async def test_nothing_is_written_while_nothing_changed(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    assert not await reader.rereading.once()
    reader.later()
    assert await reader.rereading.once()
    assert reader.outcomes == ["same"]
    assert reader.told() == []


async def test_other_groups_are_in_force_in_all_sessions(reader: Reader) -> None:
    one, two = await reader.log_in("aminata", "s1"), await reader.log_in("aminata", "s2")
    promoted = replace(employee("aminata", "managers"), display_name="Director Diop")
    reader.directory.employees["aminata"] = promoted
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes == ["changed"]
    for record in (one, two):
        found = await reader.ledger.session(record.id)
        assert found is not None
        assert found.groups == promoted.groups
        assert found.population == "managers"
        assert found.display_name == "Director Diop"
    assert [(each.kind, each.subject) for each in reader.told()] == [("changed", "aminata")]


async def test_who_is_of_no_population_any_more_has_none(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    reader.directory.employees["aminata"] = employee("aminata", "contractors")
    await reader.ledger.mark_due("employee", "aminata")
    await reader.rereading.once()
    found = await reader.ledger.session("s1")
    assert found is not None
    assert found.population == ""


@pytest.mark.parametrize("becomes", [None, Employee("renamed", "Aminata", ())])
async def test_a_disabled_employee_is_out_and_the_seat_is_free(
    reader: Reader, becomes: Employee | None
) -> None:
    await reader.log_in("aminata", "s1")
    await reader.log_in("marek", "s2", "managers")
    await reader.ledger.admit("aminata", "sales")
    if becomes is None:
        del reader.directory.employees["aminata"]
    else:
        reader.directory.employees["aminata"] = becomes
    reader.later()
    await reader.rereading.once()
    assert sorted(reader.outcomes) == ["gone", "same"]
    assert await reader.ledger.session("s1") is None
    assert await reader.ledger.session("s2") is not None
    assert reader.ledger.seated() == []


async def test_a_directory_that_is_away_logs_nobody_out(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reader.log_in("aminata", "s1")

    async def away(_: str) -> None:
        raise DirectoryAway("down")

    monkeypatch.setattr(reader.directory, "lookup", away)
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes == ["failed"]
    assert await reader.ledger.session("s1") is not None


async def test_where_only_employees_may_read_themselves_nothing_is_read(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    reader.directory.can_look_up = False
    reader.later()
    assert not await reader.rereading.once()
    assert reader.outcomes == []


async def test_a_refresh_wakes_the_reader(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    reader.rereading.every = 3600.0
    task = asyncio.create_task(reader.rereading.run())
    try:
        async with asyncio.timeout(30):
            del reader.directory.employees["aminata"]
            await reader.ledger.mark_due("employee", "aminata")
            while await reader.ledger.session("s1") is not None:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    assert reader.outcomes == ["gone"]


async def test_a_ledger_that_is_away_is_asked_again(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    reader.ledger.away = True
    task = asyncio.create_task(reader.rereading.run())
    await asyncio.sleep(0)
    reader.ledger.away = False
    await reader.ledger.mark_due("employee", "aminata")
    async with asyncio.timeout(30):
        while not reader.outcomes:
            await asyncio.sleep(0.01)
    task.cancel()
    assert reader.outcomes == ["same"]


async def test_who_needs_a_second_factor_by_now_is_out_where_none_was_used(reader: Reader) -> None:
    """Of the sessions of one employee those that were begun with one go on, and so do those that
    were begun in a network from which none is needed."""
    reader.rereading.factor = FactorRules(("managers",), except_from=("10.0.0.0/8",))
    begun: tuple[tuple[str, Literal["", "totp"], str], ...] = (
        ("with", "totp", "192.0.2.7"),
        ("without", "", "192.0.2.7"),
        ("inside", "", "10.0.0.7"),
    )
    for session_id, factor, address in begun:
        record = await reader.log_in("aminata", session_id)
        await reader.ledger.put_session(replace(record, factor=factor, address=address), most=10)
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes == ["same"], "sales people need none"
    reader.directory.employees["aminata"] = employee("aminata", "managers")
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes == ["same", "changed"]
    left = {
        each.id: (each.population, each.factor) for each in await reader.ledger.sessions("aminata")
    }
    assert left == {"with": ("managers", "totp"), "inside": ("managers", "excepted")}
    assert ("session", "without") in [(each.kind, each.subject) for each in reader.told()]
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes[-1] == "same"
    reader.directory.employees["aminata"] = employee("aminata", "sales")
    reader.later()
    await reader.rereading.once()
    left = {
        each.id: (each.population, each.factor) for each in await reader.ledger.sessions("aminata")
    }
    assert left == {"with": ("sales", "totp"), "inside": ("sales", "")}


async def test_switching_it_on_ends_sessions_without(reader: Reader) -> None:
    await reader.log_in("aminata", "s1")
    reader.rereading.factor = FactorRules(groups=("CN=sales,ou=groups,dc=example",))
    reader.later()
    await reader.rereading.once()
    assert reader.outcomes == ["changed"]
    assert await reader.ledger.session("s1") is None
