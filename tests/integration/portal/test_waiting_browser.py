"""The waiting page in Chromium, over TLS, on the real gateway, sync and portal: it enters by
itself, and a page that was asleep for ten minutes (of ledger time) finds its place again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from playwright.async_api import expect

from broker.portal.durations import span
from tests.integration.portal.test_real_browser import log_in
from tests.support.chromium import chromium_started
from tests.support.waiting_site import WaitingSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, BrowserContext, Page, Route

    from tests.support.portal_ledger import PortalLedger

WAKES_WITHIN = 20_000  # ms: a few polls of somebody who is near

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def site(ledger: PortalLedger) -> AsyncIterator[WaitingSite]:
    """One seat, which ``boss`` has."""
    ledger.limit(1)
    await ledger.admit("boss", "sales")
    async with WaitingSite(ledger) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with chromium_started() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context(ignore_https_errors=True, locale="en-GB")
    context.set_default_timeout(WAKES_WITHIN)
    yield context
    await context.close()


async def waits(context: BrowserContext, site: WaitingSite, path: str = "/news?page=2") -> Page:
    """Aminata logs in, finds no seat and waits."""
    page = await context.new_page()
    await page.goto(site.feed + path)
    await log_in(page, "aminata")
    await page.wait_for_url(site.feed + path)
    return page


async def titled(page: Page, title: str) -> None:
    await expect(page).to_have_title(title, timeout=WAKES_WITHIN)


async def set_asleep(page: Page, asleep: bool) -> None:
    """As a browser does to a tab it has not shown for long, and a phone that is locked."""
    devtools = await page.context.new_cdp_session(page)
    state = "frozen" if asleep else "active"
    await devtools.send("Page.setWebLifecycleState", {"state": state})


async def test_the_page_shows_the_place_and_enters_by_itself_where_it_wanted_to_go(
    context: BrowserContext, site: WaitingSite, ledger: PortalLedger
) -> None:
    await ledger.admit("zoe", "sales")
    page = await waits(context, site)
    await titled(page, "(2) Waiting · Example & Sons")
    await expect(page.locator("#placed")).to_have_text("2 is your place in the line of sales")
    await expect(page.locator(".estimate")).to_have_text("Estimated wait: we cannot say yet")
    await expect(
        page.get_by_text("Should it be asleep, your seat is kept for 90 seconds")
    ).to_be_visible()
    cookies = {cookie["name"]: cookie for cookie in await context.cookies(site.feed)}
    assert cookies["__Host-broker-ticket"]["httpOnly"]
    assert cookies["__Host-broker-ticket"]["secure"]
    await ledger.release("zoe")
    await titled(page, "(1) Waiting · Example & Sons")
    titles: list[str] = []
    await page.expose_function("note", lambda title: titles.append(title))
    await page.evaluate(
        "new MutationObserver(() => note(document.title))"
        ".observe(document.querySelector('title'), {childList: true})"
    )
    await ledger.release("boss")
    await page.wait_for_url(f"{site.feed}/news?page=2")
    await titled(page, "application")
    assert await page.evaluate("document.body.textContent") == "/news?page=2 aminata"
    assert "It is your turn · Example & Sons" in titles
    names = {cookie["name"] for cookie in await context.cookies(site.feed)}
    assert "__Host-broker-ticket" not in names


async def test_a_page_asleep_for_ten_minutes_finds_its_place_again(
    context: BrowserContext, site: WaitingSite, ledger: PortalLedger
) -> None:
    """Called and unclaimed, then absent: others go on past it. Awake again it is first."""
    page = await waits(context, site)
    await titled(page, "(1) Waiting · Example & Sons")
    await ledger.admit("late", "sales")
    number = (await ledger.look("aminata")).number
    await set_asleep(page, asleep=True)
    await ledger.release("boss")
    assert (await ledger.look("aminata")).state == "called"
    await site.later(80, "late")
    assert (await ledger.look("late")).state == "waiting", "the seat is kept for 90 seconds"
    await site.later(520, "late")
    assert (await ledger.look("late")).state in ("called", "waiting")
    await ledger.look("late", present=True)
    assert (await ledger.admit("late", "sales")).state == "seated"
    await ledger.admit("later", "sales")
    assert (await ledger.look("aminata")).number == number, "kept"
    assert (await ledger.usage()).waiting["sales"] == 1, "absent, and not in anybody's way"
    async with page.expect_response("**/.broker/wait/status") as polled:
        await set_asleep(page, asleep=False)
    assert (await (await polled.value).json())["position"] == 1
    await titled(page, "(1) Waiting · Example & Sons")
    await site.later(2, "later")
    assert (await ledger.look("later")).position == 2
    await ledger.release("late")
    await titled(page, "application")
    assert page.url == f"{site.feed}/news?page=2"


async def test_a_page_that_was_called_in_its_sleep_enters_when_it_wakes(
    context: BrowserContext, site: WaitingSite, ledger: PortalLedger
) -> None:
    page = await waits(context, site)
    await set_asleep(page, asleep=True)
    await ledger.release("boss")
    await site.later(60)
    assert (await ledger.look("aminata")).state == "called"
    await set_asleep(page, asleep=False)
    await titled(page, "application")


async def test_a_closed_tab_and_another_browser_keep_the_place(
    context: BrowserContext, chromium: Browser, site: WaitingSite, ledger: PortalLedger
) -> None:
    page = await waits(context, site)
    await ledger.admit("late", "sales")
    await page.close()
    again = await context.new_page()
    await again.goto(f"{site.feed}/other")
    await titled(again, "(1) Waiting · Example & Sons")
    await again.reload()
    await titled(again, "(1) Waiting · Example & Sons")
    elsewhere = await chromium.new_context(ignore_https_errors=True, locale="en-GB")
    other = await waits(elsewhere, site, "/")
    await titled(other, "(1) Waiting · Example & Sons")
    assert (await ledger.usage()).waiting["sales"] == 2
    await ledger.release("boss")
    for tab in (again, other):  # one seat for all of an employee's browsers
        await titled(tab, "application")
    await elsewhere.close()


async def test_a_queue_comes_back_after_the_ledger_lost_its_memory(
    context: BrowserContext, site: WaitingSite, ledger: PortalLedger
) -> None:
    page = await waits(context, site)
    ledger.limit(0)
    await site.later(1)
    ledger.lose_memory()
    await site.later(1)
    assert (await ledger.look("aminata")).state == "learning"
    await titled(page, "Checking places · Example & Sons")
    ledger.state.grants.learning = False
    await site.later(1)
    await ledger.admit("newcomer", "sales")
    await titled(page, "(1) Waiting · Example & Sons")
    assert (await ledger.look("newcomer")).position == 2


async def test_the_script_tells_times_as_the_page_does(
    context: BrowserContext, site: WaitingSite
) -> None:
    page = await waits(context, site)
    told: dict[str, object] = {"state": "waiting", "position": 3, "poll_seconds": 0.02}

    async def answer(route: Route) -> None:
        await route.fulfill(json=told)

    await page.route("**/.broker/wait/status", answer)
    for seconds in (5, 85, 90, 150, 1770, 3540, 3570, 3600, 5400, 36_000):
        told["estimate_seconds"] = {"p50": seconds, "p90": 2 * seconds}
        shown = page.locator("#span")
        await expect(shown).to_have_text(span(seconds, 2 * seconds), timeout=WAKES_WITHIN)
