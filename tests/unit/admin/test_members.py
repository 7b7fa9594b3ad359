"""Who of the directory may enter the console, and for how long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest

from broker.admin.callers import Caller, Callers
from broker.admin.console_sessions import ConsoleSessions
from broker.admin.members import Members
from broker.directory.port import Employee
from broker.errors import AccountRefused, Busy, DirectoryAway, WrongPassword
from tests.unit.admin.fakes import FakeLedger

if TYPE_CHECKING:
    from broker.ledger.port import Ledger

OPS = "CN=Ops, ou=groups,dc=x"
WALL = "cn=wall,ou=groups,dc=x"


class FakeDirectory:
    can_look_up = True

    def __init__(self) -> None:
        self.groups: dict[str, tuple[str, ...]] = {
            "anna": ("cn=ops,OU=groups,dc=x",),
            "ben": (WALL,),
            "carl": ("cn=a,dc=x",),
        }
        self.away = False
        self.asked = 0

    async def login(self, username: str, password: str) -> Employee:
        self.asked += 1
        if password != "right":
            raise WrongPassword("wrong")
        return Employee(username, username, self.groups[username])

    async def lookup(self, username: str) -> Employee | None:
        if self.away:
            raise DirectoryAway("away")
        groups = self.groups.get(username)
        return None if groups is None else Employee(username, username, groups)


class Site:
    def __init__(self) -> None:
        self.now = 0.0
        self.directory = FakeDirectory()
        self.members = Members(self.directory, OPS, WALL, lambda: self.now)
        ledger = cast("Ledger", FakeLedger())
        callers = Callers("the-token", ledger, lambda: self.now, lambda: 0.0)
        self.sessions = ConsoleSessions(callers, self.members, lambda: self.now, 3600.0)


@pytest.fixture
def site() -> Site:
    return Site()


async def test_the_group_decides_the_role(site: Site) -> None:
    assert await site.members.enter("anna", "right") == Caller("anna (directory)", "operator")
    assert await site.members.enter("ben", "right") == Caller("ben (directory)", "viewer")
    with pytest.raises(AccountRefused, match="none of the groups"):
        await site.members.enter("carl", "right")


async def test_another_spelling_is_no_other_name(site: Site) -> None:
    for typed in ("anna", "ANNA ", "\uff41nna", "ann\u00e1", "anna"):
        with pytest.raises(WrongPassword):
            await site.members.enter(typed, "guess")
    with pytest.raises(Busy):
        await site.members.enter("\uff21nna", "guess")


async def test_five_wrong_passwords_pause_the_name_and_spare_the_directory(site: Site) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await site.members.enter("anna", "guess")
    with pytest.raises(Busy):
        await site.members.enter("Anna ", "right")
    assert site.directory.asked == 5
    assert (await site.members.enter("ben", "right")).role == "viewer"
    site.now += 60
    assert (await site.members.enter("anna", "right")).role == "operator"


async def test_many_guesses_at_once_are_many(site: Site) -> None:
    asked = asyncio.Event()
    guess = site.directory.login

    async def slow(username: str, password: str) -> Employee:
        await asked.wait()
        return await guess(username, password)

    site.directory.login = slow  # type: ignore[method-assign]
    tries = [asyncio.create_task(site.members.enter("anna", "guess")) for _ in range(50)]
    await asyncio.sleep(0)
    asked.set()
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert [type(each) for each in outcomes].count(WrongPassword) == 5
    assert site.directory.asked == 5


async def test_a_pause_is_not_forgotten_for_other_names(site: Site) -> None:
    for _ in range(5):
        with pytest.raises(WrongPassword):
            await site.members.enter("anna", "guess")
    for number in range(1100):
        with pytest.raises(WrongPassword):
            await site.members.enter(f"nobody-{number}", "guess")
    with pytest.raises(Busy):
        await site.members.enter("anna", "right")


async def test_what_the_directory_did_not_answer_counts_against_nobody(site: Site) -> None:
    async def away(username: str, password: str) -> Employee:
        raise DirectoryAway("away")

    guess, site.directory.login = site.directory.login, away  # type: ignore[method-assign]
    for _ in range(9):
        with pytest.raises(DirectoryAway):
            await site.members.enter("anna", "right")
    site.directory.login = guess  # type: ignore[method-assign]
    assert (await site.members.enter("anna", "right")).role == "operator"


async def test_a_link_of_who_has_left_the_group_opens_nothing(site: Site) -> None:
    code = site.sessions.link(await site.members.enter("anna", "right"))
    site.directory.groups["anna"] = ()
    assert await site.sessions.take_link(code) is None


async def test_who_leaves_the_group_leaves_the_console(site: Site) -> None:
    session = site.sessions.open(await site.members.enter("anna", "right"))
    site.directory.groups["anna"] = (WALL,)
    assert (await caller(site, session)).role == "operator"
    site.now += 301
    assert (await caller(site, session)).role == "viewer"
    site.directory.groups["anna"] = ()
    site.directory.away = True
    site.now += 301
    assert (await caller(site, session)).role == "viewer"  # the directory does not answer
    site.directory.away = False
    site.now += 301
    assert await site.sessions.caller(session) is None


async def test_where_nobody_may_read_anothers_entry_the_role_stays_for_the_session(
    site: Site,
) -> None:
    session = site.sessions.open(await site.members.enter("anna", "right"))
    site.directory.groups["anna"] = ()
    site.directory.can_look_up = False
    site.now += 301
    assert (await caller(site, session)).role == "operator"


async def test_a_session_ends_with_its_lifetime_and_a_link_with_its_use(site: Site) -> None:
    session = site.sessions.open(await site.members.enter("anna", "right"))
    code = site.sessions.link(await caller(site, session))
    assert (await site.sessions.take_link(code)) == Caller("anna (directory)", "operator")
    assert await site.sessions.take_link(code) is None
    late = site.sessions.link(await caller(site, session))
    site.now += 3600
    assert await site.sessions.caller(session) is None
    assert await site.sessions.take_link(late) is None


async def test_the_oldest_session_makes_room(site: Site) -> None:
    who = await site.members.enter("anna", "right")
    first, *_, last = (site.sessions.open(who) for _ in range(65))
    assert await site.sessions.caller(first) is None
    assert await site.sessions.caller(last) == who


async def caller(site: Site, session: str) -> Caller:
    found = await site.sessions.caller(session)
    assert found is not None
    return found
