"""The console on a whole broker, in a real browser: a raise from the form to the audit trail."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import pytest
from playwright.async_api import expect

from tests.support.axe import barriers
from tests.support.chromium import chromium_started
from tests.support.running_demo import RunningDemo, running_demo

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    with running_demo(tmp_path_factory.mktemp("demo"), seats=5) as running:
        yield running


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    async with chromium_started() as browser:
        yield browser


async def ask(
    demo: RunningDemo, method: str, path: str, token: str | None = None, **more: Any
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or demo.known['admin_token']}"}
    url = f"{demo.known['admin']}/api/v1/{path}"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, url, **more) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def enter(chromium: Browser, url: str, **context: Any) -> tuple[Page, list[str]]:
    """A page that is live, and what the browser complained of."""
    page = await (await chromium.new_context(**context)).new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if "401" not in m.text else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    await page.goto(url)
    await expect(page.locator("#live")).to_have_text("live", timeout=20_000)
    return page, said


async def link(demo: RunningDemo, token: str | None = None) -> str:
    status, made = await ask(demo, "POST", "console-links", token)
    assert status == 201
    return str(made["url"])


async def test_a_raise_from_the_what_if_to_the_audit_trail(
    demo: RunningDemo, chromium: Browser
) -> None:
    page, said = await enter(chromium, demo.known["console"])
    assert "#" not in page.url
    async with demo.browser() as (browser, _):
        await demo.enter(browser, demo.person("sales"))
        await expect(page.locator("#tile-seats .big")).to_have_text("1", timeout=10_000)
    await page.fill("#scale-wanted", "6")
    await page.check("#open-to input[value=everyone]")
    await page.select_option("#ramp", "1.25/60")
    what_if = page.locator("#what-if")
    await expect(what_if).to_contain_text("Newly admitted: everyone")
    await expect(what_if.locator("tr", has_text="Seats")).to_have_text(re.compile(r"Seats5730"))
    assert (await ask(demo, "GET", "capacity"))[1]["scale"] == 1  # only asked
    await page.fill("#reason", "lockdown")
    await page.get_by_role("button", name="Raise", exact=True).click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Raise the site to 6×?")  # noqa: RUF001
    await dialog.get_by_role("button", name="Cancel").click()
    assert (await ask(demo, "GET", "capacity"))[1]["raises"] == {}
    await page.get_by_role("button", name="Raise", exact=True).click()
    await dialog.get_by_role("button", name="Raise").click()
    await expect(page.locator("#said")).to_contain_text("In force on every worker after")
    await expect(page.locator("#ramps h3 b")).to_have_text("The site: 1.25× of 6×")  # noqa: RUF001
    await expect(page.locator("#ramps .pill")).to_have_text("climbing")
    status, capacity = await ask(demo, "GET", "capacity")
    assert (capacity["raises"]["site"]["reason"], capacity["scale"]) == ("lockdown", 1.25)
    assert "everyone" in capacity["open_to"]
    # Another raise over this one lets in whom it let in, unless somebody says otherwise.
    await expect(page.locator("#open-to input[value=everyone]")).to_be_checked()
    await page.fill("#scale-wanted", "3")
    await expect(what_if.locator("tr", has_text="Seats")).to_contain_text("15")
    await expect(what_if).not_to_contain_text("No longer admitted")
    await page.uncheck("#open-to input[value=everyone]")
    await expect(what_if).to_contain_text("No longer admitted: everyone")

    await page.get_by_role("button", name="Hold").click()
    await dialog.get_by_role("button", name="Hold").click()
    await expect(page.locator("#ramps .pill")).to_have_text("held")
    await page.get_by_role("button", name="Resume").click()
    await dialog.get_by_role("button", name="Resume").click()
    await expect(page.locator("#ramps .pill")).to_have_text("climbing")
    await page.get_by_role("button", name="End the raise").click()
    await dialog.locator("input[name=reason]").fill("back in the office")
    await dialog.get_by_role("button", name="End the raise").click()
    await expect(page.locator("#ramps")).to_contain_text("No raise is in force")

    trail = page.locator("#trail li")
    await expect(trail.first).to_contain_text("admin token lowered site", timeout=20_000)
    for action in ("raised", "held", "resumed"):
        await expect(page.locator("#trail")).to_contain_text(f"admin token {action} site")
    assert status == 200
    assert not said


async def test_who_gets_in_and_what_runs_out_stands_beside_the_raise(
    demo: RunningDemo, chromium: Browser
) -> None:
    """All seats are taken and three wait: the page says what the API foresees, and again when the
    queue has changed though nobody touched the form."""
    async with contextlib.AsyncExitStack() as stack:
        waiting: list[Any] = []
        for number in range(20, 40):
            browser, _ = await stack.enter_async_context(demo.browser())
            stack.push_async_callback(browser.log_out)
            page_seen = await browser.log_in(demo.person("sales", number), demo.known["password"])
            waiting += [browser] if page_seen.outcome == "waiting" else []
            if len(waiting) == 3:
                break
        page, said = await enter(chromium, await link(demo))
        await page.fill("#scale-wanted", "2")
        forecast = page.locator("#what-if .forecast")
        await expect(forecast).to_contain_text("Nobody waits any more after 60 s.")
        order = {"scale": 2, "reason": "what if", "dry_run": True}
        _, told = await ask(demo, "POST", "capacity/raise", json=order)
        steps = forecast.locator(".climb li")
        for number, step in enumerate(told["forecast"]["steps"][:2]):
            row = steps.nth(number)
            await expect(row).to_contain_text(f"{step['called']['sales']} sales get in")
            await expect(row.locator(".queue .in")).to_be_visible()
        await expect(steps.first).to_contain_text("1 still wait")
        await expect(steps.nth(1)).not_to_contain_text("still wait")
        await expect(forecast).to_contain_text("Connections when all 10 seats are taken")
        site = told["forecast"]["connections"]["limit"]
        await expect(forecast.locator(".needs li").last).to_contain_text(f"of {site}")
        unknown = forecast.locator("details[data-key=not-known]")
        await unknown.locator("summary").click()
        for each in told["forecast"]["not_known"]:
            await expect(unknown).to_contain_text(each)
        await page.fill("#reason", "lockdown")
        await expect(unknown.locator("li").first).to_be_visible()
        await page.get_by_role("button", name="Raise", exact=True).click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Nobody waits any more after 60 s.")
        await dialog.get_by_role("button", name="Cancel").click()
        for browser in waiting:
            await browser.log_out()
        await expect(forecast).to_contain_text("Nobody waits.", timeout=30_000)
        await expect(page.locator("#apply")).to_be_enabled()
        assert not said


async def test_a_session_is_found_and_ended(demo: RunningDemo, chromium: Browser) -> None:
    page, said = await enter(chromium, await link(demo))
    person = demo.person("sales", 1)
    async with demo.browser() as (browser, _):
        await demo.enter(browser, person)
        await page.fill("#employee", person)
        await page.get_by_role("button", name="Find").click()
        await expect(page.locator("#found")).to_contain_text("logged in with one browser")
        await expect(page.locator("#found td.words").nth(1)).to_contain_text("ends in 12 h")
        await page.locator("#found td").get_by_role("button", name="End").click()
        await page.get_by_role("dialog").get_by_role("button", name="End it").click()
        await expect(page.locator("#found")).to_contain_text("is not logged in")
    _, found = await ask(demo, "GET", f"sessions?employee={person}")
    assert found["sessions"] == []
    assert not said


async def test_a_link_opens_once(demo: RunningDemo, chromium: Browser) -> None:
    url = await link(demo)
    await enter(chromium, url)
    page = await (await chromium.new_context()).new_page()
    await page.goto(url)
    await expect(page.get_by_role("alert")).to_contain_text("used already")


async def test_a_viewer_sees_and_changes_nothing_until_revoked(
    demo: RunningDemo, chromium: Browser
) -> None:
    wanted = {"name": "wall", "role": "viewer"}
    status, made = await ask(demo, "POST", "tokens", json=wanted)
    assert status == 201
    page, said = await enter(chromium, await link(demo, made["token"]))
    await expect(page.locator(".leave")).to_contain_text("wall · viewer")
    await page.fill("#reason", "I would like to")
    await expect(page.locator("#what-if")).to_contain_text("Seats")
    await expect(page.locator("#apply")).to_be_disabled()
    await expect(page.get_by_role("button", name="Drain")).to_have_count(0)
    # What the page does not offer, its cookie cannot do either.
    order = {"scale": 2, "reason": "by hand", "ramp": None}
    status = await page.evaluate(
        """async (order) => (await fetch("/console/api/v1/capacity/raise", {
            method: "POST", headers: {"If-Match": '"1"'}, body: JSON.stringify(order)})).status""",
        order,
    )
    assert status == 403
    said.clear()  # the browser tells of that 403
    assert (await ask(demo, "DELETE", "tokens/wall"))[0] == 200
    await expect(page.locator("#token")).to_have_count(1, timeout=15_000)  # the stream ended


async def test_members_of_the_operators_group_enter_with_their_password(
    demo: RunningDemo, chromium: Browser
) -> None:
    page = await (await chromium.new_context()).new_page()
    await page.goto(f"{demo.known['admin']}/console/")
    await page.fill("#username", demo.person("sales"))
    await page.fill("#password", demo.known["password"])
    await page.get_by_role("button", name="Enter", exact=True).click()
    await expect(page.get_by_role("alert")).to_contain_text("none of the groups")
    operator = demo.person("ops")
    await page.fill("#username", operator)
    await page.fill("#password", "wrong")
    await page.get_by_role("button", name="Enter", exact=True).click()
    await expect(page.get_by_role("alert")).to_be_visible()
    await page.fill("#password", demo.known["password"])
    await page.get_by_role("button", name="Enter", exact=True).click()
    await expect(page.locator(".leave")).to_contain_text(f"{operator} (directory)")
    _, trail = await ask(demo, "GET", "audit?most=3")
    assert [(e["author"], e["action"], e["subject"]) for e in trail["entries"]] == [
        ("console", "refused", f"entry as {demo.person('sales')}"),
        ("console", "refused", f"entry as {operator}"),
        (f"{operator} (directory)", "entered", "the console"),
    ]
    assert "none of the groups" in trail["entries"][0]["reason"]
    assert trail["entries"][1]["reason"] == "a wrong password, from 127.0.0.1"
    assert demo.known["password"] not in str(trail)
    await expect(page.locator("#trail li").first).to_contain_text("entered the console")
    button = page.get_by_role("button", name="Drain").first
    await button.click()
    await page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    enable = page.get_by_role("button", name="Enable").first
    await expect(enable).to_be_visible()
    await enable.click()
    await page.get_by_role("dialog").get_by_role("button", name="Enable").click()
    await expect(enable).to_have_count(0)
    _, trail = await ask(demo, "GET", "audit?most=2")
    assert [(each["author"], each["action"]) for each in trail["entries"]] == [
        (f"{operator} (directory)", "drained"),
        (f"{operator} (directory)", "enabled"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_is_worked_by_keyboard(
    demo: RunningDemo, chromium: Browser, scheme: str
) -> None:
    phone = {"width": 360, "height": 740}
    page, said = await enter(chromium, await link(demo), viewport=phone, color_scheme=scheme)
    wide = await page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert not wide
    chart = page.locator("#tile-seats .chart")
    await chart.focus()
    await page.keyboard.press("ArrowLeft")
    await expect(chart.locator(".tip")).to_contain_text("sales")
    await page.keyboard.press("Escape")
    await expect(chart.locator(".tip")).to_be_hidden()
    await page.locator("input[name=kind][value=raise]").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#apply")).to_have_text("Put in force")
    await expect(page.locator("#level-wanted")).to_be_visible()
    assert not said


async def test_the_console_keeps_no_operator_out(demo: RunningDemo, chromium: Browser) -> None:
    """By axe-core, in light and in dark: the console at work, and the page that asks who one is."""
    page, _ = await enter(chromium, await link(demo))
    await page.fill("#scale-wanted", "3")
    await expect(page.locator("#what-if")).to_contain_text("Seats")
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await page.emulate_media(color_scheme=scheme)
        found = await barriers(page)
        assert not found, f"{scheme}:\n" + "\n".join(found)
    stranger = await (await chromium.new_context()).new_page()
    await stranger.goto(f"{demo.known['admin']}/console/")
    for scheme in schemes:
        await stranger.emulate_media(color_scheme=scheme)
        found = await barriers(stranger)
        assert not found, f"{scheme}:\n" + "\n".join(found)
