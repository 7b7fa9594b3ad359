"""A day at home in a real browser: log in, be handed over to the feed, work, upload, log out."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.async_api import Error, expect

from tests.support.chromium import chromium_started
from tests.support.running_demo import RunningDemo, running_demo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Page


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=10, workers=2) as running,
    ):
        yield running


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with chromium_started() as browser:
        context = await browser.new_context(ignore_https_errors=True, locale="en-GB")
        yield await context.new_page()


async def test_a_sales_employee_s_day(demo: RunningDemo, page: Page) -> None:
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    feed, home = demo.known["apps"]["feed"], demo.known["home"]
    person = demo.person("sales", 7)

    # A click on the feed leads to the login on the home host, and back to where it wanted.
    await page.goto(f"{feed}/communities/dakar")
    assert page.url.startswith(f"{home}/.broker/login")
    await page.fill("#username", person)
    await page.fill("#password", demo.known["password"])
    await page.press("#password", "Enter")
    await page.wait_for_url(f"{feed}/communities/dakar")
    await expect(page.locator(".who-text small")).to_have_text(f"{person} · sales")

    # Cookies: on each host its own, for no script to read; none of them reaches the application.
    cookies = {(c["domain"], c["name"]): c for c in await page.context.cookies()}
    for host in ("localhost", "feed.localhost"):
        cookie = cookies[host, "__Host-broker"]
        assert cookie["httpOnly"]
        assert cookie["secure"]
        assert cookie["sameSite"] == "Lax"
    assert "__Host-broker" not in await page.evaluate("document.cookie")

    # The live line ticks by itself and echoes.
    await expect(page.locator("#live-state")).to_have_text("connected")
    await expect(page.locator("#live-count")).to_have_text(re.compile(r"^[2-9]$"), timeout=10_000)
    await page.fill("#echo-text", "Dzień dobry, Dakar")
    await page.press("#echo-text", "Enter")
    await expect(page.locator("#echoes li").first).to_have_text("Dzień dobry, Dakar")

    # A post appears here and in a second tab, by server-sent events.
    second = await page.context.new_page()
    await second.goto(f"{feed}/")
    await expect(second.locator("#events-state")).to_have_text("listening")
    await page.goto(f"{feed}/")
    await page.fill("#text", "The <b>line</b> holds.")
    await page.click("#post")
    for tab in (page, second):
        await expect(tab.locator("#posts .post p").first).to_have_text("The <b>line</b> holds.")
    await second.close()

    # Upload, and what the backend received is what was sent.
    content = os.urandom(2_500_000)
    await page.set_input_files(
        "#file", {"name": "plan.bin", "mimeType": "application/octet-stream", "buffer": content}
    )
    await page.click("#upload button[type=submit]")
    await expect(page.locator("#upload-status")).to_have_attribute(
        "data-sha256", hashlib.sha256(content).hexdigest()
    )

    # The wiki knows who it is without another login, and can prove it.
    await page.goto(demo.known["apps"]["wiki"])
    await expect(page.locator("[data-claim=sub]")).to_have_text(person)
    await expect(page.locator(".badge")).to_have_text("verified")

    assert faults == []

    # Logging out here logs out everywhere. (That the news leaves at once is a contract test: a page
    # that were faster would lose its pictures, hence no look at faults from here on.)
    await page.goto(f"{feed}/")
    await page.click("#logout")
    await page.wait_for_url(re.compile(r"/\.broker/"))
    for address in (feed, demo.known["apps"]["wiki"]):
        async with asyncio.timeout(10):
            await page.goto(address)
            while not page.url.startswith(f"{home}/.broker/login"):
                await asyncio.sleep(0.05)
                await page.goto(address)
    seen = [(await demo.oracle(n))["by_employee"][person] for n in (0, 1)]
    assert sum(one["total"] for one in seen) > 20


async def test_an_open_live_line_ends_with_the_session(demo: RunningDemo, page: Page) -> None:
    feed = demo.known["apps"]["feed"]
    await page.goto(feed)
    await page.fill("#username", demo.person("managers", 3))
    await page.fill("#password", demo.known["password"])
    await page.click("button[type=submit]")
    await page.wait_for_url(f"{feed}/")
    await expect(page.locator("#live-state")).to_have_text("connected")
    other = await page.context.new_page()
    await other.goto(f"{feed}/communities/sales")
    await other.click("#logout")
    await expect(page.locator("#live-state")).to_have_text("reconnecting", timeout=3000)


async def test_another_browser_of_mine_is_logged_out_from_my_session(
    demo: RunningDemo, page: Page
) -> None:
    """Through the whole broker: its last use is known, its live line ends, mine goes on."""
    feed, person = demo.known["apps"]["feed"], demo.person("managers", 5)
    assert page.context.browser is not None
    other = await (await page.context.browser.new_context(ignore_https_errors=True)).new_page()
    for each in (other, page):
        await each.goto(feed)
        await each.fill("#username", person)
        await each.fill("#password", demo.known["password"])
        await each.click("button[type=submit]")
        await each.wait_for_url(f"{feed}/")
        await expect(each.locator("#live-state")).to_have_text("connected")
    mine = await page.context.new_page()
    await mine.goto(f"{demo.known['home']}/.broker/me")
    browsers = mine.locator(".browsers li")
    await expect(browsers).to_have_count(2)
    await expect(browsers.first).to_contain_text("This browser")
    await expect(browsers.last).to_contain_text("Used in the last 5 min.")
    await browsers.last.get_by_role("button").click()
    await expect(mine.get_by_role("status")).to_have_text("That browser is logged out.")
    await expect(browsers).to_have_count(1)
    await expect(other.locator("#live-state")).to_have_text("reconnecting", timeout=3000)
    await expect(page.locator("#live-state")).to_have_text("connected")


@pytest.mark.parametrize("kind", ["expired", "must_change"])
async def test_a_password_that_has_expired_is_changed_from_home(
    demo: RunningDemo, page: Page, kind: str
) -> None:
    feed, person = demo.known["apps"]["feed"], demo.known["accounts"][kind][0]
    new = "from home in the evening"
    await page.goto(f"{feed}/communities/dakar")
    await page.fill("#username", person)
    await page.fill("#password", demo.known["password"])
    await page.press("#password", "Enter")
    await expect(page.get_by_role("heading")).to_have_text("Change your password")
    await expect(page.get_by_role("status")).to_contain_text("Your password was right")
    for typed, told in (("short", "not accepted"), (new, "has been changed")):
        await page.fill("#password", demo.known["password"])
        await page.fill("#new", typed)
        await page.fill("#again", typed)
        await page.press("#again", "Enter")
        await expect(page.locator(".fault, .note")).to_contain_text(told)
    await page.fill("#username", person)
    await page.fill("#password", new)
    await page.press("#password", "Enter")
    await page.wait_for_url(f"{feed}/communities/dakar")
    await expect(page.locator(".who-text small")).to_have_text(f"{person} · sales")


async def test_a_certificate_of_nobody_is_refused_by_a_careful_browser(demo: RunningDemo) -> None:
    """The demo does not weaken anything: without its CA the browser warns."""
    async with chromium_started() as browser:
        page = await browser.new_page()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            await page.goto(demo.known["home"])
