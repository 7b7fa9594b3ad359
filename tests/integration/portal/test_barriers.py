"""Every page of the portal in Chromium: no barrier that axe-core knows of, in light and in dark;
the keyboard reaches everything in the order it is read, and shows where it is; small enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
import pytest_asyncio

from tests.support.axe import barriers
from tests.support.chromium import chromium_started
from tests.support.portal_pages import PAGES, PLAN, Scene
from tests.support.portal_site import PortalSite
from tests.support.portal_tls import free_socket, on_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from tests.support.portal_ledger import PortalLedger

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one Chromium for all
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
LARGEST = 30 * 1024  # bytes of a page with all that it loads
FOCUS = """() => {
  const at = document.activeElement;
  if (at === document.body) return null;
  const box = at.getBoundingClientRect(), style = getComputedStyle(at);
  return {
    what: at.outerHTML,
    y: Math.round(box.top + scrollY),
    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    seen: box.top >= -1 && box.bottom <= innerHeight + 1 && box.height > 0,
  };
}"""
TO_THE_TOP = """() => {  // where Tab goes on from: blurring a field would leave it there
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute("tabindex");
  scrollTo(0, 0);
}"""
REACHABLE = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    async with chromium_started() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def scene(chromium: Browser, ledger: PortalLedger) -> AsyncIterator[Scene]:
    bound = free_socket()
    site = PortalSite(ledger, ports=bound.getsockname()[1], **PLAN)
    context = await chromium.new_context(
        ignore_https_errors=True, locale="en-GB", viewport={"width": 390, "height": 800}
    )
    async with site, on_tls(site, bound):
        yield Scene(await context.new_page(), site, ledger)
        await context.close()


@pytest.mark.parametrize("name", PAGES)
async def test_no_page_keeps_anybody_out(scene: Scene, name: str) -> None:
    page = scene.page
    await PAGES[name](scene)
    for scheme in SCHEMES:
        await page.emulate_media(color_scheme=scheme)
        found = await barriers(page)
        assert not found, f"{name}, {scheme}:\n" + "\n".join(found)
    await keyboard(page)
    assert await weight(page) < LARGEST


async def keyboard(page: Page) -> None:
    """Tab from the top: whatever can be reached, once, downwards, visible and outlined."""
    reachable = await page.locator(f"{REACHABLE} >> visible=true").count()
    await page.evaluate(TO_THE_TOP)
    stops: list[dict[str, Any]] = []
    for _ in range(reachable):
        await page.keyboard.press("Tab")
        stop = await page.evaluate(FOCUS)
        assert stop is not None, f"{len(stops)} of {reachable} are reached"
        assert stop["outlined"], f"one does not see where one is: {stop['what']}"
        assert stop["seen"], f"out of sight: {stop['what']}"
        stops.append(stop)
    assert len({stop["what"] for stop in stops}) == reachable
    rows = [stop["y"] for stop in stops]
    assert rows == sorted(rows), stops


async def weight(page: Page) -> int:
    """Bytes of the page itself, its style sheet and script included."""
    sizes: list[int] = await page.evaluate(
        """async () => {
          const named = [...document.querySelectorAll("link[rel=stylesheet], script[src], img")]
            .map((each) => each.href || each.src);
          const sizes = [new Blob([document.documentElement.outerHTML]).size];
          return sizes.concat(named.map((name) =>
            performance.getEntriesByName(name)[0]?.decodedBodySize || 0));
        }"""
    )
    return sum(sizes)


async def test_a_barrier_would_be_found(scene: Scene) -> None:
    """A field without a label, pale text, a picture without words: else no test above can fail."""
    await PAGES["login"](scene)
    await scene.page.evaluate(
        """() => {
          document.querySelector("label").remove();
          document.querySelector("main p").setAttribute("class", "pale");
          const style = new CSSStyleSheet();
          style.replaceSync(".pale { color: #ccc; background: #fff }");
          document.adoptedStyleSheets = [style];
          document.querySelector("main").append(new Image());
        }"""
    )
    found = " ".join(await barriers(scene.page))
    for rule in ("color-contrast", "label", "image-alt"):
        assert f"{rule}: " in found


async def test_a_page_that_says_not_now_reloads_only_when_that_has_changed(scene: Scene) -> None:
    """A screen reader would have to begin again with each reload."""
    page = scene.page
    await PAGES["error-503"](scene)
    await page.evaluate("document.title = 'the same page'")
    async with page.expect_response(f"{scene.site.feed}/news") as asked:
        pass
    assert (await asked.value).status == 503
    assert await page.title() == "the same page"
    scene.ledger.away = False
    await page.wait_for_url(f"{scene.site.home}/.broker/login?next=*")
