"""Waiting for a seat, and the pages around it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from broker.portal.durations import duration, span
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
    assert "is your place in the line of sales" in page.text
    assert "we cannot say yet" in page.text
    assert reloads_after(page) == int(page.headers["Retry-After"])


async def test_a_reload_enters_when_there_is_a_seat(browser: Browser, ledger: PortalLedger) -> None:
    await wait_behind(browser, ledger, 0)
    assert (await browser.visit(f"{FEED}/news")).status == 503
    ledger.limit(1)
    assert (await browser.visit(f"{FEED}/news")).text.startswith("application")


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("en", ("Estimated wait:", "5\u00a0min \u2013 12\u00a0min", "kept for 90 seconds")),
        ("fr", ("Attente estimée", "5\u00a0min \u2013 12\u00a0min", "90 secondes")),
        ("pl", ("Szacowany czas", "5\u00a0min \u2013 12\u00a0min", "90 sekund")),
    ],
)
async def test_the_estimate_is_a_range_and_the_claim_window_is_told(
    browser: Browser, language: str, told: tuple[str, ...]
) -> None:
    browser.language = language
    await browser.log_in("aminata")
    place = {"state": "waiting", "population": "sales", "position": 4, "p50": 300, "p90": 720,
             "poll": 30, "claim": 90}  # fmt: skip
    claims = {"host": "feed.localhost:8443", "sub": "aminata", "sid": "s", "pop": "sales"}
    page = await browser.site.ask(
        f"{FEED}/", "GET", "/.broker/page/wait", claims | {"page": "wait", "wait": place},
        CIMultiDict({"Accept-Language": language}),
    )  # fmt: skip
    for text in told:
        assert text in page.text
    assert "<title>(4) " in page.text
    assert 30 <= reloads_after(page) <= 45
    assert "script-src 'self'; connect-src 'self'" in page.headers["Content-Security-Policy"]


async def test_only_the_waiting_page_may_run_a_script(
    browser: Browser, ledger: PortalLedger
) -> None:
    await wait_behind(browser, ledger, 0)
    page = await browser.visit(f"{FEED}/")
    match = re.search(r'<script src="(/\.broker/static/wait\.[0-9a-f]+\.js)" defer>', page.text)
    assert match
    script = await browser.get(FEED + match[1])
    assert (script.status, script.headers["Content-Type"]) == (
        200,
        "text/javascript; charset=utf-8",
    )
    assert "immutable" in script.headers["Cache-Control"]
    for address in (f"{HOME}/.broker/me", f"{FEED}/.broker/logout"):
        other = await browser.get(address)
        assert "<script" not in other.text
        assert "script-src" not in other.headers["Content-Security-Policy"]


def test_times_are_told_in_units_that_all_languages_share() -> None:
    told = [duration(seconds) for seconds in (5, 85, 90, 120, 3540, 3600, 4800, 43_200)]
    assert [each.replace("\u00a0", " ") for each in told] == [
        "5 s", "85 s", "2 min", "2 min", "59 min", "1 h", "1 h 20 min", "12 h",
    ]  # fmt: skip
    assert span(None, None) == span(60, None) == ""
    assert span(60, 60) == "60\u00a0s"


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
        assert "kept" not in page.visible, "a place is not, when the ledger lost its memory"


async def test_the_ledger_away_is_a_page_that_tries_again_by_itself(
    browser: Browser, ledger: PortalLedger
) -> None:
    await browser.log_in("aminata")
    landing = (await browser.get((await browser.get(f"{FEED}/deep")).location)).location
    ledger.away = True
    page = await browser.get(landing)
    assert page.status == 503
    assert reloads_after(page) == int(page.headers["Retry-After"])
    ledger.away = False
    assert (await browser.visit(landing)).text.endswith("/deep"), "the code was not wasted"


async def test_whoever_waits_while_admission_is_closed_is_told(
    browser: Browser, ledger: PortalLedger
) -> None:
    await wait_behind(browser, ledger, 1)
    await browser.visit(f"{FEED}/")
    ledger.limit(0, ("managers",))
    for address in (f"{FEED}/", f"{FEED}/.broker/wait"):
        page = await browser.visit(address)
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
