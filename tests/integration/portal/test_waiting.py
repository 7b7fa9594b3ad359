"""Waiting for a seat, and the pages around it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from tests.support.portal_site import FEED, HOME, WIKI, Browser

if TYPE_CHECKING:
    from tests.support.portal_ledger import PortalLedger
    from tests.support.portal_site import Answer


def reloads_after(page: Answer) -> int:
    match = re.search(r'<meta http-equiv="refresh" content="(\d+)">', page.text)
    assert match, "the page does not reload by itself"
    return int(match[1])


async def wait_behind(browser: Browser, ledger: PortalLedger, others: int) -> None:
    await ledger.wait_first(others)
    await browser.log_in("aminata")


async def test_the_page_shows_the_place_at_the_wanted_address(
    browser: Browser, ledger: PortalLedger
) -> None:
    await wait_behind(browser, ledger, 11)
    page = await browser.visit(f"{FEED}/news?page=2")
    assert page.status == 503
    assert page.url == f"{FEED}/news?page=2"
    assert "<title>(12) Waiting" in page.text
    assert 3 <= int(page.headers["Retry-After"]) <= 60
    assert reloads_after(page) == int(page.headers["Retry-After"])


async def test_a_reload_enters_when_there_is_a_seat(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 0)
    assert (await browser.visit(f"{FEED}/news")).status == 503
    ledger.limit(1)
    assert (await browser.visit(f"{FEED}/news")).text.startswith("application")


async def test_a_seat_that_came_meanwhile_is_entered_at_once(
    browser: Browser, ledger: PortalLedger
) -> None:
    await browser.log_in("aminata")
    claims = {"host": "feed.localhost:8443", "sub": "aminata", "sid": "s", "pop": "sales"}
    page = await browser.site.ask(
        f"{FEED}/", "GET", "/.broker/page/wait", claims | {"page": "wait"}, CIMultiDict()
    )
    assert "It is your turn" in page.text
    assert reloads_after(page) == 1


async def test_reloading_and_tabs_change_no_place(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 2)
    for _ in range(3):
        assert "(3) Waiting" in (await browser.visit(f"{FEED}/")).text
        assert "(3) Waiting" in (await browser.visit(f"{FEED}/.broker/wait")).text


async def test_the_waiting_room_reloads_and_goes_on(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 1)
    await browser.visit(f"{FEED}/")
    room = await browser.get(f"{FEED}/.broker/wait")
    assert room.status == 200
    assert reloads_after(room)
    await ledger.release("other0")
    ledger.limit(1)
    assert (await browser.get(f"{FEED}/.broker/wait")).location == f"{FEED}/"


async def test_the_waiting_room_goes_on_to_the_stored_return(
    browser: Browser, ledger: PortalLedger
) -> None:
    sent_home = await browser.get(f"{FEED}/deep?x=1")
    return_id = sent_home.location.partition("next=")[2]
    await browser.log_in("aminata", f"{FEED}/")
    room = f"{FEED}/.broker/wait?next={return_id}"
    assert (await browser.get(room)).location == f"{FEED}/deep?x=1"
    other_host = (await Browser(browser.site).get(f"{WIKI}/other")).location.partition("next=")[2]
    for wrong in ("https://evil.example/", "//evil.example", "x" * 43, other_host):
        answer = await browser.get(f"{FEED}/.broker/wait?next={wrong}")
        assert answer.location == f"{FEED}/"


async def test_a_stranger_in_the_waiting_room_is_sent_to_the_login(browser: Browser) -> None:
    page = await browser.visit(f"{FEED}/.broker/wait")
    assert 'name="password"' in page.text


async def test_learning_is_told_as_what_it_is(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 3)
    ledger.learn()
    for address in (f"{FEED}/", f"{FEED}/.broker/wait", f"{HOME}/"):
        page = await browser.visit(address)
        assert "We are checking places after a fault" in page.text
        assert "kept" not in page.text, "a place is not, when the ledger lost its memory"


async def test_the_ledger_away_is_a_page_that_tries_again_by_itself(
    browser: Browser, ledger: PortalLedger
) -> None:
    await browser.log_in("aminata")
    landing = (await browser.get((await browser.get(f"{FEED}/deep")).location)).location
    ledger.away = True
    for address in (f"{WIKI}/", landing):
        page = await browser.get(address)
        assert page.status == 503
        assert reloads_after(page) == int(page.headers["Retry-After"])
    ledger.away = False
    assert (await browser.visit(landing)).text.endswith("/deep"), "the code was not wasted"


async def test_whoever_waits_while_admission_is_closed_is_told(
    browser: Browser, ledger: PortalLedger
) -> None:
    """Also when the ledger has changed between the gateway's question and the page."""
    await wait_behind(browser, ledger, 1)
    await browser.visit(f"{FEED}/")
    ledger.limit(0, ("managers",))
    claims = {"host": "feed.localhost:8443", "sub": "aminata", "sid": "s", "pop": "sales"}
    page = await browser.site.ask(
        f"{FEED}/", "GET", "/.broker/page/wait", claims | {"page": "wait"}, CIMultiDict()
    )
    assert page.status == 403
    assert "<b>managers</b>" in page.text


async def test_a_form_without_a_seat_is_not_lost(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 0)
    await browser.visit(f"{FEED}/")
    page = await browser.post(f"{FEED}/comment", {"text": "an hour of typing"})
    assert page.status == 503
    assert "Retry-After" in page.headers
    assert "refresh" not in page.text, "a reload would throw away what was typed"
    assert 'href="/.broker/wait?keep=1" target="_blank"' in page.text
    ledger.limit(1)
    ready = await browser.get(f"{FEED}/.broker/wait?keep=1")
    assert ready.status == 200
    assert "send it again" in ready.text


@pytest.mark.parametrize("page", ["enter", "wait", "not-admitted", "body-lost"])
async def test_internal_pages_have_no_address_of_their_own(browser: Browser, page: str) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    assert (await browser.get(f"{FEED}/.broker/page/{page}")).status == 404


async def test_home_pages_are_not_on_application_hosts_nor_the_other_way_round(
    browser: Browser,
) -> None:
    for address in (
        f"{FEED}/.broker/login",
        f"{FEED}/.broker/me",
        f"{HOME}/.broker/landing?code=x",
        f"{HOME}/.broker/wait",
        f"{HOME}/elsewhere",
    ):
        assert (await browser.get(address)).status == 404
