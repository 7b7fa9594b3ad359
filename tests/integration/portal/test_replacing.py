"""A new plan under a running portal: the next request meets it, one under way ends as it began."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from broker.directory.port import open_gate
from broker.policy.populations import PopulationRule
from tests.support.portal_site import HOME, Browser, FakeDirectory

if TYPE_CHECKING:
    from broker.directory.port import Employee, Gate
    from broker.portal.plan import PortalPlan
    from tests.support.portal_ledger import PortalLedger
    from tests.support.portal_site import PortalSite

LOGIN = f"{HOME}/.broker/login"
CONTRACTORS = PopulationRule("sales", ("cn=contractors,ou=groups,dc=example",))


def changed(site: PortalSite) -> PortalPlan:
    return replace(
        site.plan,
        populations=(CONTRACTORS,),
        company="Sample Ltd",
        color="#8a1c1c",
        session_lifetime=3600.0,
    )


async def test_the_next_request_meets_the_new_plan(
    site: PortalSite, browser: Browser, ledger: PortalLedger
) -> None:
    before = await browser.visit(LOGIN)
    assert "Example &amp; Sons" in before.text
    directory = FakeDirectory()
    async with asyncio.timeout(5):
        await site.portal.replace(changed(site), directory)
    after = await Browser(site).visit(LOGIN)
    assert "Sample Ltd" in after.text
    assert "Example" not in after.text
    page = await browser.log_in("extern")
    assert page.status == 200
    (record,) = ledger.session_records()
    assert record.population == "sales", "by the new rules"
    assert record.ends_ms - record.created_ms == 3_600_000
    assert (site.directory.asked, directory.asked) == ([], ["extern"])


async def test_a_host_that_is_gone_is_no_longer_answered_for(
    site: PortalSite, browser: Browser
) -> None:
    assert (await browser.get(f"{site.feed}/")).status == 302
    await site.portal.replace(replace(site.plan, applications=(site.wiki,)), site.directory)
    assert (await browser.get(f"{site.feed}/")).status == 403
    assert (await browser.get(f"{site.wiki}/")).status == 302


class SlowDirectory(FakeDirectory):
    """Somebody is at its counter until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.free = asyncio.Event(), asyncio.Event()

    async def login(
        self, username: str, password: str, gate: Gate = open_gate, *, preferred: bool = False
    ) -> Employee:
        self.entered.set()
        await self.free.wait()
        return await super().login(username, password, gate, preferred=preferred)


async def test_a_login_under_way_ends_under_the_old_plan(
    site: PortalSite, browser: Browser, ledger: PortalLedger
) -> None:
    slow = SlowDirectory()
    await site.portal.replace(site.plan, slow)
    page = await browser.visit(LOGIN)
    login = asyncio.create_task(browser.fill_in(page, "aminata"))
    await slow.entered.wait()
    ended = asyncio.ensure_future(site.portal.replace(changed(site), FakeDirectory()))
    assert "Sample Ltd" in (await Browser(site).visit(LOGIN)).text
    assert not ended.done(), "the old directory is still needed"
    slow.free.set()
    assert (await login).status == 303
    async with asyncio.timeout(5):
        await ended
    (record,) = ledger.session_records()
    assert record.population == "sales"
    assert record.ends_ms - record.created_ms == 12 * 3_600_000
