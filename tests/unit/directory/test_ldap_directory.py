"""The rules about people, with lines that are scripted: turns, deadline, places, nobody's name."""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.directory import ldap_directory
from broker.directory.cutoff import Cutoff
from broker.directory.ldap_directory import LOGINS_PER_NAME, LdapDirectory
from broker.directory.line import WRONG, Found
from broker.directory.link import Entry
from broker.directory.plan import DirectoryPlan
from broker.directory.port import Employee
from broker.errors import Busy, ConfigurationError, DirectoryAway, WrongPassword

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PATIENCE = 20.0
PLAN = DirectoryPlan(
    servers=("ldaps://one.example",), base="dc=example", threads=2, queue=20, deadline=PATIENCE
)
NAMES = {"anna": "anna", "anna@intranet.example": "anna", "awa": "awa"}


class Script:
    """What the lines of one test do, and what was asked of them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.at_once: dict[str, int] = {}
        self.most_at_once = 0
        self.cuts: list[bool] = []
        self.linger = 0.0
        self.pretending = 0.0
        self.company = threading.Event()
        self.lock = threading.Lock()


class ScriptedLine:
    def __init__(self, script: Script) -> None:
        self.script = script
        self.cutoff = Cutoff()

    def find(self, typed: str) -> Found | None:
        self.script.log.append(f"find {typed}")
        name = NAMES.get(typed)
        return None if name is None else Found(Entry(f"uid={name}", {}), name)

    def admit(self, found: Found, password: str) -> Employee:
        script = self.script
        name = found.name or ""
        with script.lock:
            script.log.append(f"admit {name} {password}")
            script.at_once[name] = script.at_once.get(name, 0) + 1
            script.most_at_once = max(script.most_at_once, script.at_once[name])
            if script.most_at_once > 1:
                script.company.set()
        script.company.wait(script.linger)
        try:
            while not script.hold.wait(0.005):
                if self.cutoff.passed:
                    script.cuts.append(self.cutoff.overdue)
                    raise DirectoryAway("cut")
        finally:
            with script.lock:
                script.at_once[name] -= 1
        if password != "right":
            raise WrongPassword(WRONG)
        return Employee(name, name.title(), ())

    def pretend(self, password: str) -> None:
        self.script.log.append(f"pretend {password}")
        time.sleep(self.script.pretending)

    def close(self) -> None:
        pass


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def make(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., LdapDirectory]]:
    monkeypatch.setattr(ldap_directory, "Line", lambda *_: ScriptedLine(script))
    made: list[LdapDirectory] = []

    def build(**changes: object) -> LdapDirectory:
        made.append(LdapDirectory(replace(PLAN, **changes), lambda: 0.0))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for directory in made:
        await directory.close()


async def test_logins_of_one_person_take_turns_and_share_nothing(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    """Two spellings, two passwords: each is tried by itself, never two at once."""
    directory = make()
    script.linger = 0.1  # each attempt waits a little for another to intrude
    logins = [
        directory.login(name, password)
        for name in ("anna", "Anna@Intranet.example")
        for password in ("right", "wrong", "right")
    ]
    outcomes = await asyncio.gather(*logins, return_exceptions=True)
    assert [isinstance(outcome, Employee) for outcome in outcomes] == [True, False, True] * 2
    assert script.most_at_once == 1
    assert sum(line.startswith("admit anna") for line in script.log) == 6


async def test_logins_of_different_people_do_not_wait_for_each_other(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    script.hold.clear()
    tasks = [asyncio.create_task(directory.login(name, "right")) for name in ("anna", "awa")]
    await _until(lambda: script.at_once == {"anna": 1, "awa": 1})
    script.hold.set()
    assert [employee.name for employee in await asyncio.gather(*tasks)] == ["anna", "awa"]


async def test_a_person_waiting_for_a_turn_takes_no_thread_from_others(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    script.hold.clear()
    first = asyncio.create_task(directory.login("anna", "right"))
    await _until(lambda: script.at_once.get("anna") == 1)
    more = [asyncio.create_task(directory.login("anna", "right")) for _ in range(3)]
    await _until(lambda: script.log.count("find anna") == 4)
    await _until(lambda: directory.statistics().free == 1)  # the finds come home; nobody else left
    assert directory.statistics().present == 4
    script.hold.set()
    await asyncio.gather(first, *more)


async def test_the_gate_is_passed_before_the_password_is_tried_and_holds_no_thread(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    passed = asyncio.Event()
    names: list[str] = []

    async def gate(name: str) -> None:
        names.append(name)
        await passed.wait()

    logins = [
        asyncio.create_task(directory.login(typed, "right", gate))
        for typed in ("Anna@Intranet.example", "nobody")
    ]
    await _until(lambda: sorted(names) == ["anna", "nobody"])
    await _until(lambda: directory.statistics().free == 2)
    assert directory.statistics().present == 0
    assert not any(line.startswith(("admit", "pretend")) for line in script.log)
    passed.set()
    found, nobody = await asyncio.gather(*logins, return_exceptions=True)
    assert isinstance(found, Employee)
    assert isinstance(nobody, WrongPassword)


async def test_what_the_gate_raises_ends_the_login(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    async def gate(name: str) -> None:
        raise Busy(name)

    with pytest.raises(Busy, match="anna"):
        await make().login("anna", "right", gate)
    assert script.log == ["find anna"]


async def test_who_is_preferred_is_not_turned_away_by_a_crowd(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    script.hold.clear()
    crowd = [asyncio.create_task(directory.login("anna", "right")) for _ in range(LOGINS_PER_NAME)]
    await _until(lambda: script.log.count("find anna") == LOGINS_PER_NAME)
    with pytest.raises(Busy):
        await directory.login("anna", "right")
    owner = asyncio.create_task(directory.login("anna", "right", preferred=True))
    await _until(lambda: script.log.count("find anna") == LOGINS_PER_NAME + 2)
    script.hold.set()
    await asyncio.gather(owner, *crowd)


async def test_one_name_cannot_fill_the_queue(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    script.hold.clear()
    tasks = [asyncio.create_task(directory.login("anna", "x")) for _ in range(LOGINS_PER_NAME)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await directory.login("anna", "right")
    script.hold.set()
    assert (await directory.login("awa", "right")).name == "awa"
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_beyond_threads_and_queue_it_is_busy_at_once(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make(threads=1, queue=1)
    script.hold.clear()
    inside = [asyncio.create_task(directory.login(name, "right")) for name in ("anna", "awa")]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await directory.login("somebody", "right")
    with pytest.raises(Busy):
        await directory.lookup("somebody")
    script.hold.set()
    await asyncio.gather(*inside)


async def test_the_deadline_ends_login_and_thread(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make(deadline=0.05)
    script.hold.clear()
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(DirectoryAway):
            await directory.login("anna", "right")
        await _until(lambda: directory.statistics().free == 2)
    assert script.cuts == [True]
    assert directory.statistics().present == 0


async def test_somebody_who_leaves_is_not_the_servers_fault(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    directory = make()
    script.hold.clear()
    task = asyncio.create_task(directory.login("anna", "right"))
    await _until(lambda: script.at_once.get("anna") == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(lambda: directory.statistics().free == 2)
    assert script.cuts == [False]


async def test_a_name_nobody_has_is_tried_on_nobody(
    make: Callable[..., LdapDirectory], script: Script
) -> None:
    with pytest.raises(WrongPassword) as unknown:
        await make().login("nobody", "secret")
    with pytest.raises(WrongPassword) as wrong:
        await make().login("anna", "secret")
    assert script.log[:2] == ["find nobody", "pretend secret"]
    assert unknown.value.reason == wrong.value.reason


def test_a_plan_with_faults_makes_no_directory() -> None:
    with pytest.raises(ConfigurationError) as error:
        LdapDirectory(replace(PLAN, servers=("ldap://one",), bind_dn="cn=x"), lambda: 0.0)
    assert len(error.value.faults) == 2


@pytest.mark.parametrize("content", [None, "no certificate in here"])
def test_a_ca_file_that_cannot_be_used(
    tmp_path_factory: pytest.TempPathFactory, content: str | None
) -> None:
    ca = tmp_path_factory.mktemp("ca") / "ca.pem"
    if content is not None:
        ca.write_text(content)
    with pytest.raises(ConfigurationError, match=r"directory\.ca"):
        LdapDirectory(replace(PLAN, ca=ca), lambda: 0.0)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize(("linger", "pretending"), [(0.05, 0.0), (0.0, 0.05)])
async def test_who_exists_cannot_be_told_by_the_time(
    make: Callable[..., LdapDirectory], script: Script, linger: float, pretending: float
) -> None:
    """A directory that takes its time for one of the two, whichever."""
    directory = make()
    script.linger, script.pretending = linger, pretending
    took: dict[str, list[float]] = {"anna": [], "nobody": []}
    for _ in range(15):
        for name, times in took.items():
            began = time.monotonic()
            with pytest.raises(WrongPassword):
                await directory.login(name, "wrong")
            times.append(time.monotonic() - began)
    # The first of each kind cannot know yet.
    medians = [statistics.median(times[3:]) for times in took.values()]
    assert abs(medians[0] - medians[1]) < 0.02, "without holding back it would be 0.05"
