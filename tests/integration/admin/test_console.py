"""The console in a real browser: what a form really sends (Origin, cookies, fetch metadata) is the
browser's business, and once it was not what we had thought."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from broker.admin.app import make_app
from broker.admin.plan import AdminPlan, allowed_hosts
from broker.telemetry.control import ControlClient
from tests.support.chromium import chromium_started
from tests.unit.admin.fakes import LIMITS, FakeLedger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from broker.ledger.port import Ledger

TOKEN = "a-token-of-the-tests"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with chromium_started() as browser:
        yield await browser.new_page()


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    hosts: set[str] = set()
    plan = AdminPlan("acme", TOKEN, cast("frozenset[str]", hosts), tmp_path)
    ledger = cast("Ledger", FakeLedger())
    app = make_app(plan, ledger, ControlClient(), lambda _: LIMITS, lambda: 0.0, lambda: 0.0)
    async with TestServer(app) as server:
        hosts |= allowed_hosts([f"127.0.0.1:{server.port}"], [])
        yield f"http://127.0.0.1:{server.port}/console/"


async def test_enter_look_and_leave(page: Page, address: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    await page.goto(address)
    await page.fill("#token", "wrong")
    await page.click("button")
    await expect(page.get_by_role("alert")).to_contain_text("no token of this broker")
    await page.fill("#token", TOKEN)
    await page.click("button")
    await expect(page.locator("#populations")).to_contain_text("sales")
    await page.goto(address)
    await expect(page.get_by_role("heading", name="Seats", exact=True)).to_be_visible()
    await page.click("text=Leave")
    await expect(page.locator("#token")).to_be_visible()
    await page.goto(address)
    await expect(page.locator("#token")).to_be_visible()
    assert not [text for text in said if "Content Security Policy" in text], said


async def test_without_a_script_there_is_a_plain_page(page: Page, address: str) -> None:
    browser = page.context.browser
    assert browser is not None
    plain = await (await browser.new_context(java_script_enabled=False)).new_page()
    await plain.goto(address)
    await plain.fill("#token", TOKEN)
    await plain.click("button")
    await expect(plain.get_by_role("cell", name="sales")).to_be_visible()
    assert plain.url.endswith("/console/plain")
