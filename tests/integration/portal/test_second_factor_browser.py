"""The second factor in Chromium: set up, logged out, a code, a recovery code, a reset; by keyboard,
without JavaScript, at phone and desktop width, light and dark, in three languages.

``BROKER_SHOTS=FOLDER`` keeps a picture of each page and variant.
"""

from __future__ import annotations

import os
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

import pyotp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from broker.ledger.port import AuditEntry
from broker.policy.second_factor import FactorRules
from tests.support.chromium import chromium_started
from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import PASSWORD, PortalSite
from tests.support.portal_tls import free_socket, on_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = FactorRules(("managers",), tries=5)
RESET = AuditEntry("anna", "reset", "second factor of marek")
Scheme = Literal["light", "dark"]
SHOTS = os.environ.get("BROKER_SHOTS")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with chromium_started() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def ledger() -> PortalLedger:
    return PortalLedger()


@pytest_asyncio.fixture(loop_scope="module")
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    await ledger.open_enrolment(86_400_000)
    bound = free_socket()
    port = bound.getsockname()[1]
    async with PortalSite(ledger, ports=port, factor=RULES) as site, on_tls(site, bound):
        yield site


async def password(page: Page, site: PortalSite, address: str = "") -> None:
    await page.goto(address or f"{site.home}/.broker/login")
    await page.locator("#username").fill("marek")
    await page.locator("#password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.home}/.broker/factor")


def code_of(site: PortalSite, secret: str) -> str:
    """Each time a later one."""
    site.now += 30
    return pyotp.TOTP(secret).at(int(site.now))


async def test_set_up_out_in_with_a_code_with_a_recovery_code_and_reset(
    chromium: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    context = await chromium.new_context(
        ignore_https_errors=True, java_script_enabled=False, locale="en-GB"
    )
    context.set_default_timeout(10_000)
    page = await context.new_page()
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))

    await password(page, site, f"{site.feed}/news?page=2")
    await expect(page.get_by_role("heading")).to_have_text("Set up your second factor")
    picture = page.get_by_role("img", name="QR code")
    await expect(picture).to_be_visible()
    secret = (await page.locator("#key").inner_text()).replace(" ", "")
    await page.get_by_label("Code").fill("000000")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not right")
    await expect(page.get_by_label("Code")).to_be_focused()
    await page.keyboard.type(code_of(site, secret))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading")).to_have_text("Your recovery codes")
    codes = await page.get_by_role("listitem").locator("code").all_inner_texts()
    assert len(codes) == 10
    link = page.get_by_role("link", name="Download")
    told = unquote((await link.get_attribute("href") or "").partition(",")[2])
    assert told.split() == codes
    async with page.expect_download() as download:
        await link.click()
    file = await download.value
    assert file.suggested_filename == "recovery-codes.txt"
    await page.get_by_role("link", name="I have kept them").click()
    await page.wait_for_url(f"{site.feed}/news?page=2")

    await page.goto(f"{site.feed}/.broker/logout")
    await page.get_by_role("button", name="Log out").click()
    await password(page, site)
    await expect(page.get_by_label("Code", exact=True)).to_be_focused()
    assert secret not in await page.content()
    await page.keyboard.type(code_of(site, secret))
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.home}/.broker/me")

    await page.goto(f"{site.home}/.broker/logout")
    await page.get_by_role("button", name="Log out").click()
    await password(page, site)
    # Chromium gives autofocus with a frame, maybe after the load: a Tab before it starts elsewhere.
    await expect(page.get_by_label("Code", exact=True)).to_be_focused()
    await page.keyboard.press("Tab")  # the button
    await page.keyboard.press("Tab")  # the summary
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Recovery code")).to_be_visible()
    await page.keyboard.press("Tab")
    await page.keyboard.type(codes[0].lower())
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{site.home}/.broker/me")

    await site.ledger.open_enrolment(0)
    await site.ledger.reset_factor("marek", 60_000, RESET)
    await site.ledger.revoke("employee", "marek")
    ledger.wall_ms += 1000
    await password(page, site)
    fresh = (await page.locator("#key").inner_text()).replace(" ", "")
    assert fresh != secret
    await page.get_by_label("Code").fill(code_of(site, fresh))
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Your second factor is set up.")
    await context.close()
    assert not [text for text in refused if "Content Security Policy" in text], refused


async def sent(page: Page) -> None:
    """The form, and the page that answers it is there: what it shows stood on the last one too."""
    async with page.expect_navigation():
        await page.keyboard.press("Enter")


async def _fits(page: Page, variant: str, name: str) -> None:
    width, _, locale = variant.split("-")
    assert await page.evaluate("document.documentElement.lang") == locale
    assert await page.evaluate("document.documentElement.scrollWidth") <= int(width), name
    if SHOTS:
        await page.screenshot(path=Path(SHOTS) / f"{name}-{variant}.png", full_page=True)


async def test_every_page_fits_and_is_readable_in_every_variant(
    chromium: Browser, site: PortalSite
) -> None:
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for (width, scheme), locale in zip(
        product((320, 390, 1280), schemes), ("pl", "fr", "en", "pl", "fr", "en"), strict=True
    ):
        await site.ledger.reset_factor("marek", 60_000, RESET)
        context = await chromium.new_context(
            ignore_https_errors=True,
            viewport={"width": width, "height": 800},
            color_scheme=scheme,
            locale=locale,
        )
        page = await context.new_page()
        fits = partial(_fits, page, f"{width}-{scheme}-{locale}")
        await password(page, site)
        await fits("enrol")
        # What a telephone's camera must see, whatever the page's colours: black on white.
        ground = await page.locator(".qr").evaluate("e => getComputedStyle(e).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        secret = (await page.locator("#key").inner_text()).replace(" ", "")
        await page.locator("#code").fill(code_of(site, secret))
        await sent(page)
        await page.locator(".codes").wait_for()
        await fits("recovery-codes")
        await context.clear_cookies()
        await password(page, site)
        await fits("code")
        await page.locator("#code").fill("000000")
        await sent(page)
        await page.locator("#fault").wait_for()
        await fits("wrong-code")
        await page.locator("summary").click()
        await page.locator("#recovery").fill("ABCD")
        await sent(page)
        await page.locator("details[open]").wait_for()
        await fits("wrong-recovery")
        await site.ledger.reset_factor("marek", 0, RESET)
        await site.ledger.open_enrolment(0)
        await page.goto(f"{site.home}/.broker/factor")
        await fits("closed")
        await site.ledger.open_enrolment(86_400_000)
        await site.ledger.clear_bans(employee="marek")
        await context.close()
