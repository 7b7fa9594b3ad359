"""What an employee of ``broker demo arrive`` does when something fails: presses reload."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, cast

from broker.demo import arrive
from broker.demo.pages import Page

if TYPE_CHECKING:
    import pytest

    from broker.demo.browser import Browser

HOME = "https://localhost/"
FORM = '<form method="post" action="/login"><input name="password">'


class Failing:
    """A browser whose first pages are as told; then the employee works until stopped."""

    def __init__(self, *pages: Page) -> None:
        self.pages = list(pages)
        self.entered = asyncio.Event()

    async def log_in(self, username: str, password: str) -> Page:
        if self.pages:
            return self.pages.pop(0)
        return Page(HOME, 200, "the feed")

    async def view(self, path: str) -> tuple[Page, int]:
        self.entered.set()
        return Page(HOME, 200, "the feed"), 0

    async def listen(self) -> Any:
        await asyncio.Event().wait()
        yield ""


async def work(browser: Failing) -> arrive.Crowd:
    crowd = arrive.Crowd({"password": "x"}, ["amina"], random.Random(1))
    working = asyncio.create_task(crowd._work(cast("Browser", browser), "amina", asyncio.Event()))
    seated = asyncio.create_task(browser.entered.wait())
    try:
        async with asyncio.timeout(10):
            await asyncio.wait({working, seated}, return_when=asyncio.FIRST_COMPLETED)
        assert browser.entered.is_set() or working.done()
        return crowd
    finally:
        working.cancel()
        seated.cancel()
        await asyncio.gather(working, seated, return_exceptions=True)


async def test_a_server_that_fails_is_asked_until_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(arrive, "LONGEST_PAUSE", 0.001)
    browser = Failing(*[Page(HOME, 502, "bad gateway")] * 50, *[Page(HOME, 503, FORM, 1.0)] * 50)
    crowd = await work(browser)
    assert browser.entered.is_set()
    assert crowd.errors == {f"{HOME} answered 502": 50}
    assert crowd.now["failed"] == 0


async def test_a_page_of_trouble_is_asked_again_and_is_no_waiting_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While Redis is away a first visit gets 503 before the login: nothing says there when it is
    one's turn."""
    monkeypatch.setattr(arrive, "LONGEST_PAUSE", 0.001)
    browser = Failing(*[Page(HOME, 503, "Not possible at the moment", 7.0)] * 3)
    crowd = await work(browser)
    assert browser.entered.is_set()
    assert crowd.errors == {f"{HOME} answered 503": 3}
    assert Page(HOME, 503, '<div id="wait" data-poll="2"').outcome == "waiting"


async def test_who_may_not_log_in_gives_up() -> None:
    crowd = await work(Failing(Page(HOME, 200, FORM)))
    assert crowd.now["failed"] == 1
    assert crowd.errors == {f"{HOME} answered 401": 1}
