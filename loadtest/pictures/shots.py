"""What people see, photographed in a real Chromium."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from loadtest.site import Site

PATIENCE = 20_000  # ms
QUIET_MS = 700  # fonts are there, what moves has come to rest
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
             "--disable-background-networking", "--disable-component-update")  # fmt: skip


class NoChromium(Exception):
    pass


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's; it resolves ``*.localhost`` itself. Raises NoChromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise NoChromium("chromium is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True, slots=True)
class Photographer:
    browser: Browser
    site: Site

    @contextlib.contextmanager
    def page(self, width: int, height: int) -> Iterator[Page]:
        """A browser of its own: nobody is logged in."""
        context = self.browser.new_context(
            ignore_https_errors=True, locale="en-GB", viewport={"width": width, "height": height}
        )
        context.set_default_timeout(PATIENCE)
        try:
            yield context.new_page()
        finally:
            context.close()

    def login(self) -> bytes:
        with self.page(900, 640) as page:
            page.goto(f"{self.site.app}/communities/dakar")
            page.fill("#username", self._person(self.site.mobile[-1]))
            return _picture(page)

    def inside(self) -> tuple[bytes, bytes]:
        """The application, and *my session*, of somebody who found a seat; then logged out."""
        with self.page(1100, 760) as page:
            self._log_in(page, self.site.mobile[-1])
            page.wait_for_url(f"{self.site.app}/**")
            feed = _picture(page)
            page.set_viewport_size({"width": 900, "height": 860})
            page.goto(f"{self.site.home}/.broker/me")
            session = _picture(page)
            _log_out(page)
            return feed, session

    def waiting(self, population: str) -> bytes | None:
        """Of somebody who finds every seat taken, and gives the place up again; None: there was a
        seat after all."""
        with self.page(900, 640) as page:
            self._log_in(page, population)
            page.wait_for_selector("#place:visible, #live-state")
            picture = _picture(page) if page.is_visible("#place") else None
            _log_out(page)
            return picture

    def console(self, link: str) -> bytes:
        """``link``: opens it once."""
        with self.page(1280, 825) as page:
            page.goto(link)
            page.wait_for_function("document.querySelector('#live').textContent === 'live'")
            page.wait_for_timeout(2 * QUIET_MS)
            return _picture(page)

    def report(self, file: Path, height: int) -> bytes:
        with self.page(1180, height) as page:
            page.goto(file.resolve().as_uri())
            return _picture(page)

    def _person(self, population: str) -> str:
        """The last one, whom the load test does not play."""
        return self.site.accounts[population][-1]

    def _log_in(self, page: Page, population: str) -> None:
        person = self._person(population)
        page.goto(f"{self.site.app}/")
        page.fill("#username", person)
        page.fill("#password", self.site.password_of(person))
        page.press("#password", "Enter")


def _picture(page: Page) -> bytes:
    page.evaluate("document.fonts.ready")
    page.wait_for_timeout(QUIET_MS)
    return page.screenshot(animations="disabled")


def _log_out(page: Page) -> None:
    page.goto(urljoin(page.url, "/.broker/logout"))
    page.click("form button[type=submit]")
    page.wait_for_load_state()
