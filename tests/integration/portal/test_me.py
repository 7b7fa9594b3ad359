"""My session: my browsers, logging them out, the time left; nobody else's, by my own form only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from broker.ledger.port import SyncReport
from tests.support.portal_site import FEED, HOME, WIKI, Browser, PortalSite

if TYPE_CHECKING:
    from tests.support.portal_ledger import PortalLedger
    from tests.support.portal_site import Answer

ME = f"{HOME}/.broker/me"
PHONE = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36"


def pass_time(ledger: PortalLedger, seconds: int) -> None:
    """Ledger time goes on by at most a second a call."""
    for _ in range(seconds):
        ledger.wall_ms += 1000
        ledger._call()


async def log_in_from(site: PortalSite, agent: str, address: str) -> Browser:
    """Another browser of Aminata."""
    browser = Browser(site)
    site.address = address
    page = await browser.visit(f"{HOME}/")
    await browser.fill_in(page, "aminata", User_Agent=agent)
    site.address = "192.0.2.7"
    return browser


async def ask(browser: Browser, page: Answer, which: str, **headers: str) -> Answer:
    form = {"csrf": page.hidden("csrf"), "log_out": which}
    return await browser.post(ME, form, **headers)


def rows(page: Answer) -> list[str]:
    """The browsers of the list, as text."""
    found = re.findall(r"(?s)<li>\s*<div>(.*?)</div>", page.text)
    return [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in found]


def others(page: Answer) -> list[str]:
    """What the buttons of the single browsers say."""
    return re.findall(r'name="log_out" value="([0-9a-f]{32})"', page.text)


async def logged_in(browser: Browser) -> bool:
    return (await browser.get(ME)).status == 200


async def test_my_browsers_this_one_first_and_when_they_were_used(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    await log_in_from(site, PHONE, "2001:db8::7")
    pass_time(ledger, 3600)
    await log_in_from(site, "curl/8", "198.51.100.9")
    (phone, curl) = ledger.session_records()
    pass_time(ledger, 1000)
    await browser.log_in("aminata")
    await ledger.sync(SyncReport("w", 1, "", sessions_used=(phone.id,)))
    page = await browser.get(ME)
    assert rows(page) == [
        "Firefox, Linux This browser 192.0.2.7 Logged in just now.",
        "Chrome, Android 2001:db8::7 Used in the last 5 min. Logged in 1 h 17 min ago.",
        "curl 198.51.100.9 Last used 17 min ago. Logged in 17 min ago.",
    ]
    assert others(page) == [phone.id, curl.id]
    assert "12\xa0h, then you log in again" in page.text


async def test_one_other_browser_is_logged_out_and_no_more(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    first = await log_in_from(site, PHONE, "192.0.2.8")
    second = await log_in_from(site, "curl/8", "192.0.2.9")
    phone = ledger.session_records()[0].id
    await browser.log_in("aminata")
    answer = await ask(browser, await browser.get(ME), phone)
    assert answer.status == 303
    page = await browser.follow(answer)
    assert "That browser is logged out." in page.text
    assert [await logged_in(each) for each in (browser, first, second)] == [True, False, True]
    assert ledger.seated() == ["aminata"], "the seat is the employee's"


async def test_all_others_are_logged_out(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    first = await log_in_from(site, PHONE, "192.0.2.8")
    second = await log_in_from(site, "curl/8", "192.0.2.9")
    await browser.log_in("aminata")
    page = await browser.follow(await ask(browser, await browser.get(ME), "others"))
    assert "All your other browsers are logged out." in page.text
    assert len(rows(page)) == 1
    assert 'value="others"' not in page.text
    assert [await logged_in(each) for each in (browser, first, second)] == [True, False, False]


async def test_everywhere_is_this_browser_too(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    other = await log_in_from(site, PHONE, "192.0.2.8")
    await browser.log_in("aminata", f"{FEED}/")
    page = await browser.follow(await ask(browser, await browser.get(ME), "all"))
    assert "logged out of all your browsers" in page.text
    assert "__Host-broker" not in browser.cookies(HOME)
    assert ledger.session_records() == []
    assert ledger.seated() == []
    assert not await logged_in(other)
    assert (await browser.get(f"{FEED}/")).status == 302


async def test_a_session_of_somebody_else_is_not_ended_whoever_knows_its_id(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    theirs = Browser(site)
    await theirs.log_in("marek")
    (record,) = ledger.session_records()
    await browser.log_in("aminata")
    await ask(browser, await browser.get(ME), record.id)
    await ask(browser, await browser.get(ME), "others")
    await ask(browser, await browser.get(ME), "all")
    assert [each.id for each in ledger.session_records()] == [record.id]


@pytest.mark.parametrize("which", ["", "x", "everybody", "'; --", "é", "0" * 32])
async def test_what_is_no_browser_of_mine_changes_nothing(
    ledger: PortalLedger, browser: Browser, which: str
) -> None:
    await browser.log_in("aminata")
    assert (await ask(browser, await browser.get(ME), which)).status == 303
    assert len(ledger.session_records()) == 1


async def test_only_the_own_form_counts(
    site: PortalSite, ledger: PortalLedger, browser: Browser
) -> None:
    await log_in_from(site, PHONE, "192.0.2.8")
    await browser.log_in("aminata")
    page = await browser.get(ME)
    for headers in ({"Origin": FEED}, {"Origin": ""}, {"Sec_Fetch_Site": "same-site"}):
        assert (await ask(browser, page, "all", **headers)).status == 403
    stale = await browser.post(ME, {"csrf": "0" * 64, "log_out": "all"})
    assert stale.status == 403
    assert "Nothing was changed" in stale.text
    theirs = await Browser(site).get(f"{HOME}/.broker/login")
    assert (await browser.post(ME, {"csrf": theirs.hidden("csrf"), "log_out": "all"})).status == 403
    assert len(ledger.session_records()) == 2
    assert (await ask(browser, stale, "others")).status == 303, "the page shown again works"


async def test_it_is_on_the_home_host_only(browser: Browser) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    for host in (FEED, WIKI):
        assert (await browser.get(f"{host}/.broker/me")).status == 404
        assert (await browser.post(f"{host}/.broker/me", {"log_out": "all"})).status == 404


async def test_strangers_and_ended_sessions_are_sent_to_the_login(
    browser: Browser, ledger: PortalLedger
) -> None:
    assert (await browser.get(ME)).location == f"{HOME}/.broker/login"
    await browser.log_in("aminata")
    page = await browser.get(ME)
    await ledger.revoke("employee", "aminata")
    assert (await ask(browser, page, "others")).location == f"{HOME}/.broker/login"


# --- time left


async def test_what_is_left_of_the_seat(ledger: PortalLedger, browser: Browser) -> None:
    await browser.log_in("aminata")
    pass_time(ledger, 180)
    assert (
        "Unused for 15\xa0min it may go to somebody who waits: 12\xa0min left."
        in (await browser.get(ME)).text
    )
    pass_time(ledger, 721)
    assert "unused for more than 15\xa0min" in (await browser.get(ME)).text
    await ledger.release("aminata")
    assert "None at the moment" in (await browser.get(ME)).text


@pytest.mark.parametrize(
    ("left", "lifetime", "told"),
    [
        (3601, 43_200, ""),
        (3600, 43_200, "1\xa0h"),
        (80, 43_200, "80\xa0s"),
        (901, 3600, ""),
        (900, 3600, "15\xa0min"),
    ],
)
async def test_every_page_tells_that_the_session_ends_soon(
    ledger: PortalLedger, left: int, lifetime: int, told: str
) -> None:
    async with PortalSite(ledger, session_lifetime=lifetime) as site:
        for host, path in (
            (FEED, "/.broker/page/wait"),
            (FEED, "/.broker/page/not-admitted"),
            (FEED, "/.broker/page/body-lost"),
            (FEED, "/.broker/logout"),
            (HOME, "/nothing"),
        ):
            claims = {
                "host": host.removeprefix("https://"),
                "method": "GET",
                "sub": "aminata",
                "sid": "s",
                "left": left,
                "page": path.rpartition("page/")[2] if "page/" in path else "",
                "wait": {"state": "waiting", "population": "sales"},
            }
            answer = await site.ask(f"{host}/", "GET", path, claims, CIMultiDict())
            assert ("Your session ends in" in answer.text) is bool(told), path
            assert f"ends in {told}" in answer.text or not told
            assert (f"{HOME}/.broker/login?again=1" in answer.text) is bool(told)


async def test_logging_in_again_begins_anew_and_keeps_the_place(
    ledger: PortalLedger, browser: Browser
) -> None:
    await ledger.wait_first(3)
    await browser.log_in("aminata", f"{FEED}/news")
    (before,) = ledger.session_records()
    place = (await ledger.look("aminata")).position
    await ledger.admit("later", "sales")
    pass_time(ledger, 60)
    page = await browser.get(f"{HOME}/.broker/login?again=1")
    assert page.status == 200
    assert "A new session begins" in page.text
    assert (await browser.fill_in(page, "aminata")).status == 303
    (after,) = ledger.session_records()
    assert after.id != before.id
    assert after.ends_ms - before.ends_ms == 60_000
    assert (await ledger.look("aminata")).position == place == 4


# --- another language


async def test_pages_in_place_of_others_change_their_language_and_stay(
    ledger: PortalLedger, browser: Browser
) -> None:
    await ledger.wait_first(1)
    await browser.log_in("aminata", f"{FEED}/news?lang=xx&page=2")
    page = await browser.get(f"{FEED}/news?lang=xx&page=2")
    assert page.status == 503
    (polish,) = re.findall(r'href="(/\.broker/language\?[^"]*lang=pl)"', page.text)
    answer = await browser.get(FEED + polish.replace("&amp;", "&"))
    assert answer.location == f"{FEED}/news?lang=xx&page=2"
    assert (await browser.get(answer.location)).headers["Content-Language"] == "pl"
    sent = await browser.post(f"{FEED}/news", {"text": "typed"})
    assert "/.broker/language" not in sent.text, "going back would lose what was typed"


@pytest.mark.parametrize(
    "to",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "/%0d%0aSet-Cookie:x", "",
     "/x\r\nSet-Cookie: a=b", "javascript:alert(1)", "/.broker/logout", "/é"],
)  # fmt: skip
async def test_the_switch_leads_nowhere_else(browser: Browser, to: str) -> None:
    from urllib.parse import urlencode

    answer = await browser.get(f"{FEED}/.broker/language?{urlencode({'to': to, 'lang': 'fr'})}")
    assert answer.status == 302
    assert answer.headers["Location"].startswith(f"{FEED}/")
    assert answer.cookie("a") is None


# --- the company


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 2 1"><path d="M0 0h2"/></svg>'


async def test_a_logo_stands_in_place_of_our_mark(ledger: PortalLedger) -> None:
    async with PortalSite(ledger, logo=("image/svg+xml", SVG)) as site:
        browser = Browser(site)
        page = await browser.get(f"{HOME}/.broker/login")
        (address,) = re.findall(r'<img class="logo" src="([^"]+)" alt="">', page.text)
        assert 'class="mark"' not in page.text
        logo = await browser.get(HOME + address)
        assert logo.text.encode() == SVG
        assert logo.headers["Content-Type"] == "image/svg+xml"
        assert "immutable" in logo.headers["Cache-Control"]
        assert logo.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert logo.headers["X-Content-Type-Options"] == "nosniff"
