"""What only a browser can tell: `__Host-` cookies, form-action on redirects, reloads, widths.

Chromium, over TLS, at phone and desktop width, light and dark.
"""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Literal

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.support.chromium import chromium_started
from tests.support.portal_site import PASSWORD, PortalSite
from tests.support.portal_tls import free_socket, on_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.support.portal_ledger import PortalLedger


pytestmark = pytest.mark.asyncio(loop_scope="module")  # one Chromium for all


@pytest_asyncio.fixture(loop_scope="module")
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    bound = free_socket()
    port = bound.getsockname()[1]
    async with PortalSite(ledger, ports=port) as site, on_tls(site, bound):
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with chromium_started() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def page(chromium: Browser) -> AsyncIterator[Page]:
    """Without JavaScript: no page may need it."""
    context = await chromium.new_context(
        ignore_https_errors=True, java_script_enabled=False, locale="en-GB"
    )
    context.set_default_timeout(10_000)
    page = await context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    yield page
    await context.close()
    assert not [text for text in refused if "Content Security Policy" in text], refused


async def log_in(page: Page, username: str) -> None:
    await page.get_by_label("User name").fill(username)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def test_in_through_one_host_on_to_the_other_and_out(page: Page, site: PortalSite) -> None:
    await page.goto(f"{site.feed}/news?page=2")
    assert page.url.startswith(f"{site.home}/.broker/login?next=")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_label("User name").fill("aminata")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not right")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.feed}/news?page=2")
    assert "application" in await page.content()

    await page.goto(f"{site.wiki}/page")
    assert page.url == f"{site.wiki}/page"
    assert "application wiki" in await page.content()

    await page.goto(f"{site.home}/")
    await expect(page.get_by_role("heading", name="Aminata Diop")).to_be_visible()
    await page.get_by_role("link", name="feed.localhost").click()
    await page.wait_for_url(f"{site.feed}/")

    await page.goto(f"{site.feed}/.broker/logout")
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_role("status")).to_have_text("You are logged out.")
    await page.goto(f"{site.wiki}/page")
    assert page.url.startswith(f"{site.home}/.broker/login")


async def test_two_tabs_log_in_one_after_the_other(chromium: Browser, site: PortalSite) -> None:
    context = await chromium.new_context(ignore_https_errors=True)
    first, second = await context.new_page(), await context.new_page()
    await first.goto(f"{site.feed}/one")
    await second.goto(f"{site.feed}/two")
    await log_in(first, "aminata")
    await first.wait_for_url(f"{site.feed}/one")
    await log_in(second, "aminata")
    await second.wait_for_url(f"{site.feed}/two")
    await first.reload()
    assert first.url == f"{site.feed}/one"
    await context.close()


async def test_the_waiting_page_enters_by_itself(
    page: Page, site: PortalSite, ledger: PortalLedger
) -> None:
    await ledger.wait_first(2)
    await page.goto(f"{site.feed}/news")
    await log_in(page, "aminata")
    await page.wait_for_url(f"{site.feed}/news")
    await expect(page).to_have_title("(3) Waiting · Example & Sons")
    ledger.limit(3)
    for other in ("other0", "other1"):
        await ledger.admit(other, "sales")
    await expect(page.get_by_text("application feed")).to_be_visible()
    assert page.url == f"{site.feed}/news"


async def test_what_was_typed_is_not_lost(
    chromium: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    """A form sent without a seat: the page explains, Back brings the text, a second tab waits."""
    context = await chromium.new_context(ignore_https_errors=True)
    page = await context.new_page()
    await page.goto(f"{site.feed}/")
    await log_in(page, "aminata")
    await page.wait_for_url(f"{site.feed}/")
    await page.set_content('<form method="post" action="/comment"><input name="text"></form>')
    await ledger.release("aminata")
    ledger.limit(0)
    async with page.expect_navigation() as navigation:
        await page.locator("form").evaluate("form => form.submit()")
    response = await navigation.value
    assert response is not None
    assert response.status == 503
    async with context.expect_page() as opened:
        await page.get_by_role("link", name="Wait for a seat").click()
    waiting = await opened.value
    await expect(waiting).to_have_title("(1) Waiting · Example & Sons")
    ledger.limit(1)
    await expect(waiting.get_by_role("heading")).to_have_text("You have a seat")
    await context.close()


async def test_nothing_sticks_out_at_any_width(chromium: Browser, site: PortalSite) -> None:
    """Also with French and Polish texts, which are longer."""
    grounds = {"light": "rgb(238, 241, 245)", "dark": "rgb(17, 20, 26)"}
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for width, scheme, locale in zip(
        (320, 390, 1280), cycle(schemes), cycle(("pl", "fr")), strict=False
    ):
        context = await chromium.new_context(
            ignore_https_errors=True,
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            locale=locale,
        )
        page = await context.new_page()
        await page.goto(f"{site.home}/.broker/login")
        assert await page.evaluate("document.documentElement.lang") == locale
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.locator("#username").fill("aminata")
        await page.locator("#password").fill(PASSWORD)
        await page.locator("button").click()
        await page.wait_for_url("**/.broker/me")
        ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == grounds[scheme]
        for address in (f"{site.home}/.broker/me", f"{site.feed}/.broker/logout"):
            await page.goto(address)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await context.close()


async def test_the_keyboard_alone_suffices(page: Page, site: PortalSite) -> None:
    await page.goto(f"{site.home}/.broker/login")
    await expect(page.get_by_label("User name")).to_be_focused()
    await page.keyboard.type("aminata")
    await page.keyboard.press("Tab")
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.home}/.broker/me")
