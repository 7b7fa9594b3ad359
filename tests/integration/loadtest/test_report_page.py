"""The report in a real browser: it fits, in light and in dark, and answers the pointer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.async_api import expect

from loadtest.report.model import Chart, LimitUse, Mark, Objective, Run, Series
from loadtest.report.writing import write
from tests.support.chromium import chromium_started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Error, Page, Request


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium_started() as found:
        yield found


@pytest.fixture
def report(tmp_path: Path) -> str:
    rising = Series(name="occupied", points=[(n, float(n)) for n in range(61)], style="area")
    waits = Series(name="sales", points=[(1.0, 2.0), (5.0, 9.0)], style="dots")
    run = Run(
        name="weekday",
        kind="load",
        title="weekday",
        question="Does it fit?",
        started="2026-11-25T10:00:00Z",
        seconds=60.0,
        over_admissions=0,
        objectives=[Objective.judge("Pages: 99 % within", 0.7, 0.5, unit="s", why="slow")],
        marks=[Mark(at=58, text="raise to 6x"), Mark(at=10, text="lowered")],
        charts=[
            Chart(id="seats", title="Seats", unit="employees", series=[rising]),
            Chart(id="latency", title="Latency", unit="s", series=[rising], log=True),
            Chart(id="waits", title="Waits", unit="s", series=[waits], x="number"),
        ],
        limits=[LimitUse(name="Connections, feed, everyone", limit=9, broker=2, counter=3)],
        command="python -m loadtest run weekday " + "--set a=b " * 20,
    )
    return f"file://{write(run, tmp_path)}/report.html"


def watched(page: Page) -> list[str]:
    """What the page asks for, and its errors."""
    seen: list[str] = []

    def asked(request: Request) -> None:
        seen.append(request.url)

    def failed(error: Error) -> None:
        seen.append(str(error))

    page.on("request", asked)
    page.on("pageerror", failed)
    return seen


@pytest.mark.parametrize("width", [390, 1280])
async def test_it_fits_in_light_and_in_dark(browser: Browser, report: str, width: int) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page = await browser.new_page(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        seen = watched(page)
        await page.goto(report)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        papers.append(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
        line = page.locator("#seats svg path[style*='--main']").first
        papers.append(await line.evaluate("it => getComputedStyle(it).stroke"))
        assert seen == [report], "nothing is fetched but the page"
        await page.close()
    light, dark = papers[:2], papers[2:]
    assert light[0] != dark[0]
    assert light[1] != dark[1], "the drawing follows as well"


async def test_the_pointer_shows_the_same_moment_in_all_charts(
    browser: Browser, report: str
) -> None:
    page = await browser.new_page(viewport={"width": 1280, "height": 800})
    await page.goto(report)
    plot = page.locator("#seats .plot")
    box = await plot.bounding_box()
    assert box is not None
    await plot.hover(position={"x": box["width"] / 2, "y": box["height"] / 2})
    here = await page.locator("#seats .legend b").inner_text()
    assert 27 <= float(here) <= 31
    await expect(page.locator("#latency .legend b")).to_have_text(here)
    await expect(page.locator("#waits .legend b")).to_have_text("")
    await expect(page.locator("#latency .hair")).to_be_visible()
    await page.mouse.move(5, 5)
    await expect(page.locator("#latency .hair")).to_be_hidden()
    await page.close()
