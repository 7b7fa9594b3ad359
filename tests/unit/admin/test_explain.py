"""``/api/v1/explain``: what of the second factor is asked, and what follows from the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer

from broker.admin.app import make_app
from broker.admin.explain import Premises
from broker.admin.plan import AdminPlan
from broker.directory.port import Employee
from broker.errors import ConfigurationError, DirectoryAway
from broker.ledger.port import Factor, FactorView
from broker.policy.explaining import Place
from broker.policy.populations import PopulationRule
from broker.policy.second_factor import FactorRules
from broker.telemetry.control import ControlClient
from tests.unit.admin.fakes import RECORD, FakeLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

    from broker.ledger.port import Ledger
    from broker.policy.limits import LimitsDocument

TOKEN = "a-token-of-the-tests"
ADMINS = "cn=admins,dc=example"
HAS = FactorView(Factor("f1", "sealed", 1))


class OneEntry:
    """A directory that knows amina."""

    def __init__(self) -> None:
        self.away = False

    can_look_up = True

    async def lookup(self, username: str) -> Employee | None:
        if self.away:
            raise DirectoryAway("no server answers")
        if username != "amina":
            return None
        return Employee("amina", "Amina D.", (ADMINS,))


class Asked:
    def __init__(self, client: TestClient[web.Request, web.Application]) -> None:
        self.client = client
        self.ledger = FakeLedger()
        self.directory = OneEntry()
        self.factor = FactorRules(groups=(ADMINS,))

    def premises(self) -> Premises:
        return Premises(
            rules=(PopulationRule("sales"),),
            factor=self.factor,
            place=lambda url: Place(url, "/", "/", "feed"),
            canonical=lambda typed: typed,
        )

    async def explain(self) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """The answer, and its finding about the second factor."""
        answer = await self.client.get(
            "/api/v1/explain?employee=amina&url=feed.test",
            headers={"Authorization": f"Bearer {TOKEN}", "Host": "admin.test"},
        )
        told: dict[str, Any] = await answer.json()
        assert answer.status == 200, told
        found = [each for each in told["findings"] if each["what"] == "second factor"]
        assert len(found) <= 1
        return told, found[0] if found else None


def _propose(_: Any) -> LimitsDocument:
    raise ConfigurationError("is not asked here")


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[Asked]:
    wanted = Asked(cast("Any", None))
    plan = AdminPlan("test", TOKEN, frozenset({"admin.test"}), tmp_path)
    app = make_app(
        plan,
        cast("Ledger", wanted.ledger),
        ControlClient(),
        propose=_propose,
        clock=lambda: 1000.0,
        civil=lambda: 1_600_000_000.0,
        directory=cast("Any", wanted.directory),
        premises=wanted.premises,
    )
    async with TestClient(TestServer(app)) as client:
        wanted.client = client
        yield wanted


async def test_it_stands_between_population_and_address(asked: Asked) -> None:
    asked.ledger.factors["amina"] = HAS
    told, found = await asked.explain()
    assert found == {
        "what": "second factor",
        "passes": True,
        "text": "needed; has one: the login asks for a code",
    }
    assert [each["what"] for each in told["findings"][:4]] == [
        "directory", "population", "second factor", "address",
    ]  # fmt: skip


async def test_closed_enrolment_is_the_reason(asked: Asked) -> None:
    asked.ledger.records = []
    told, _ = await asked.explain()
    assert told["gets_in"] is False
    assert told["why"] == (
        "does not get in: second factor: needed; has none, and enrolment is closed: the login is "
        "refused"
    )
    asked.ledger.factors["amina"] = FactorView(None, may_enrol_ms=60_000)
    told, found = await asked.explain()
    assert found is not None
    assert (found["passes"], "setting one up" in found["text"]) == (True, True)
    assert "second factor" not in told["why"]


@pytest.mark.parametrize(
    ("used", "goes_on"), [("", False), ("totp", True), ("recovery", True), ("excepted", True)]
)
async def test_only_sessions_that_the_need_does_not_end_count(
    asked: Asked, used: Any, *, goes_on: bool
) -> None:
    asked.ledger.records = [replace(RECORD, factor=used)]
    _, found = await asked.explain()
    assert found is not None
    assert ("who is logged in goes on" in found["text"]) is goes_on
    assert found["passes"] is (None if goes_on else False)


async def test_who_cannot_be_asked_is_named(asked: Asked) -> None:
    asked.ledger.factors["amina"] = HAS
    asked.ledger.learning = True
    told, found = await asked.explain()
    assert found is not None
    assert (found["passes"], found["text"]) == (None, "needed; not known whether there is one")
    assert "second factor" in told["why"]
    asked.ledger.learning, asked.ledger.away = False, True
    told, found = await asked.explain()
    assert found is not None
    assert "second factor" in told["why"]
    asked.ledger.away, asked.directory.away = False, True
    asked.ledger.records = [replace(RECORD, groups=(ADMINS,))]
    _, found = await asked.explain()
    assert found is not None
    assert found["text"].startswith("needed; has one"), "by the groups of the latest session"


async def test_not_needed_and_off(asked: Asked) -> None:
    asked.factor = FactorRules(groups=("cn=others",))
    _, found = await asked.explain()
    assert found == {"what": "second factor", "passes": None, "text": "not needed"}
    asked.factor = FactorRules()
    _, found = await asked.explain()
    assert found is None
