"""The hand-over between home and the application hosts, as a dialogue of browsers with a portal."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from multidict import CIMultiDict

from tests.support.portal_site import FEED, HOME, PASSWORD, WIKI, Browser

if TYPE_CHECKING:
    from tests.support.portal_ledger import PortalLedger
    from tests.support.portal_site import PortalSite


async def test_a_stranger_logs_in_and_is_back_where_they_wanted_to_be(browser: Browser) -> None:
    sent_home = await browser.get(f"{FEED}/news/today?page=2&q=a%20b")
    assert sent_home.status == 302
    assert sent_home.location.startswith(f"{HOME}/.broker/login?next=")
    assert "news" not in sent_home.location
    planted = sent_home.cookie("__Host-broker-handover")
    assert planted is not None
    assert planted["max-age"] == "60"
    assert planted["httponly"]
    assert planted["samesite"] == "Lax"

    form = await browser.get(sent_home.location)
    assert form.status == 200
    logged_in = await browser.fill_in(form, "aminata")
    assert logged_in.status == 303
    assert logged_in.cookie("__Host-broker") is not None
    assert logged_in.location.startswith(f"{FEED}/.broker/landing?code=")

    landed = await browser.get(logged_in.location)
    assert landed.status == 302
    assert landed.location == f"{FEED}/news/today?page=2&q=a%20b"
    assert landed.headers["Referrer-Policy"] == "no-referrer"

    page = await browser.get(landed.location)
    assert page.text == "application feed.localhost:8443 GET /news/today?page=2&q=a%20b"


async def test_the_second_host_needs_no_second_login(browser: Browser) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    page = await browser.visit(f"{WIKI}/page")
    assert page.text == "application wiki.localhost:8443 GET /page"
    assert browser.cookies(FEED)["__Host-broker"] != browser.cookies(WIKI)["__Host-broker"]


async def test_somebody_who_types_for_minutes_still_arrives(
    browser: Browser, site: PortalSite
) -> None:
    form = await browser.visit(f"{FEED}/deep")
    site.now += 400
    assert "__Host-broker-handover" not in browser.cookies(FEED)
    page = await browser.follow(await browser.fill_in(form, "aminata"))
    assert page.text == "application feed.localhost:8443 GET /deep"
    assert site.directory.asked == ["aminata"]


async def test_several_tabs_all_arrive(browser: Browser) -> None:
    tabs = [await browser.visit(f"{FEED}/tab{number}") for number in range(3)]
    tabs.append(await browser.visit(f"{WIKI}/tab"))
    for number, tab in enumerate(tabs[:3]):
        page = await browser.follow(await browser.fill_in(tab, "aminata"))
        assert page.text == f"application feed.localhost:8443 GET /tab{number}"
    page = await browser.follow(await browser.fill_in(tabs[3], "aminata"))
    assert page.text == "application wiki.localhost:8443 GET /tab"


async def test_tabs_restored_together_overwrite_each_others_cookie_and_still_arrive(
    browser: Browser,
) -> None:
    await browser.log_in("aminata")
    first, second = await browser.get(f"{FEED}/1"), await browser.get(f"{FEED}/2")
    assert second.cookie("__Host-broker-handover") == first.cookie("__Host-broker-handover")

    browser.jar[urlsplit(FEED).netloc].clear()
    third = await browser.get(f"{FEED}/3")
    assert third.cookie("__Host-broker-handover") != first.cookie("__Host-broker-handover")
    for number, tab in ((1, first), (3, third), (2, second)):
        page = await browser.follow(tab)
        assert page.text == f"application feed.localhost:8443 GET /{number}"


async def code_for(browser: Browser, url: str) -> str:
    """The landing address home gives to a browser that is logged in there."""
    at_home = (await browser.get(url)).location
    return (await browser.get(at_home)).location


async def test_a_code_is_used_once(browser: Browser) -> None:
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/")
    assert (await browser.get(landing)).status == 302
    again = await browser.get(landing)
    assert again.status == 400
    assert again.cookie("__Host-broker") is None


async def test_a_stolen_code_gives_another_browser_nothing(
    browser: Browser, site: PortalSite
) -> None:
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/")
    stranger, insider = Browser(site), Browser(site)
    await insider.get(f"{FEED}/")  # has a hand-over cookie of its own
    for thief in (stranger, insider):
        answer = await thief.get(landing)
        assert answer.cookie("__Host-broker") is None
        assert answer.location.startswith(f"{HOME}/.broker/login?next=")
        assert "__Host-broker" not in thief.cookies(FEED)
    assert (await browser.get(landing)).cookie("__Host-broker") is not None, (
        "the owner's still works"
    )


async def test_nobody_is_logged_in_as_somebody_else_by_following_their_link(
    browser: Browser, site: PortalSite
) -> None:
    attacker = Browser(site)
    await attacker.log_in("marek")
    landing = await code_for(attacker, f"{FEED}/")
    page = await browser.visit(landing)
    assert "__Host-broker" not in browser.cookies(FEED)
    assert 'name="password"' in page.text


async def test_a_code_of_one_host_is_refused_on_another(browser: Browser) -> None:
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/")
    await browser.get(f"{WIKI}/")
    crossed = await browser.get(landing.replace("feed.", "wiki."))
    assert crossed.status == 400
    assert crossed.cookie("__Host-broker") is None


async def test_a_session_cookie_of_one_host_is_nothing_on_another(browser: Browser) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    browser.jar[urlsplit(WIKI).netloc] = dict(browser.jar[urlsplit(FEED).netloc])
    assert (await browser.get(f"{WIKI}/")).status == 302


async def test_an_old_code_is_refused(browser: Browser, site: PortalSite) -> None:
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/")
    site.now += 40
    assert (await browser.get(landing)).status == 400


@pytest.mark.parametrize("code", ["", "x", "a.b.c", "%00", "é"])
async def test_rubbish_is_no_code(browser: Browser, code: str) -> None:
    assert (await browser.get(f"{FEED}/.broker/landing?code={code}")).status == 400


async def test_a_code_of_a_session_that_has_ended_leads_to_the_login(
    browser: Browser, ledger: PortalLedger
) -> None:
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/")
    await ledger.end_session(ledger.session_records()[0].id)
    page = await browser.visit(landing)
    assert 'name="password"' in page.text


async def test_a_browser_without_cookies_is_told_instead_of_going_round(browser: Browser) -> None:
    await browser.log_in("aminata")
    address = f"{FEED}/"
    for _ in range(20):
        answer = await browser.get(address)
        browser.jar.pop(urlsplit(FEED).netloc, None)
        if answer.status != 302:
            break
        address = answer.location
    assert answer.status == 400
    assert "cookies" in answer.text


@pytest.mark.parametrize(
    ("wanted", "arrives"),
    [
        ("//evil.example/", f"{FEED}//evil.example/"),
        ("/\\evil.example/", f"{FEED}/\\evil.example/"),
        ("https://evil.example/", f"{FEED}/"),
        ("@evil.example/", f"{FEED}/"),
        (".evil.example/", f"{FEED}/"),
        ("", f"{FEED}/"),
        ("/a\r\nSet-Cookie: x=y", f"{FEED}/"),
        ("/a\tb", f"{FEED}/"),
        ("/é", f"{FEED}/"),
        ("/.broker/logout", f"{FEED}/"),
        ("/.broker/landing?code=x", f"{FEED}/"),
        ("/" + "x" * 5000, f"{FEED}/"),
        ("/ok?next=https://evil.example/", f"{FEED}/ok?next=https://evil.example/"),
    ],
)
async def test_no_return_leads_elsewhere(
    browser: Browser, site: PortalSite, wanted: str, arrives: str
) -> None:
    """Whatever raw target the gateway reports, the landing stays on the host that was entered."""
    await browser.log_in("aminata")
    claims = {"host": urlsplit(FEED).netloc, "method": "GET", "page": "enter", "return": wanted}
    entered = await site.ask(f"{FEED}/", "GET", "/.broker/page/enter", claims, CIMultiDict())
    browser._keep(urlsplit(FEED).netloc, entered)
    at_home = await browser.get(entered.location)
    landed = await browser.get(at_home.location)
    assert landed.headers["Location"] == arrives


@pytest.mark.parametrize(
    "next_", ["https://evil.example/", "//evil.example", "x" * 43, "../../etc", "a" * 5000]
)
async def test_next_is_an_id_and_nothing_else(browser: Browser, next_: str) -> None:
    page = await browser.get(f"{HOME}/.broker/login?next={next_}")
    assert page.hidden("next") == ""
    form = {"username": "aminata", "password": PASSWORD, "csrf": page.hidden("csrf")}
    answer = await browser.post(f"{HOME}/.broker/login", form | {"next": next_})
    assert answer.location == f"{HOME}/.broker/me"
    assert (await browser.get(f"{HOME}/.broker/login?next={next_}")).location == answer.location


async def test_the_language_chosen_at_home_travels_along(browser: Browser) -> None:
    form = await browser.visit(f"{FEED}/")
    return_id = form.hidden("next")
    polish = await browser.get(f"{HOME}/.broker/login?next={return_id}&lang=pl")
    assert "Zaloguj" in polish.text
    await browser.follow(await browser.fill_in(polish, "aminata"))
    assert browser.cookies(FEED)["__Host-broker-lang"] == "pl"


async def test_a_form_sent_by_somebody_no_longer_logged_in_is_not_redirected(
    browser: Browser,
) -> None:
    answer = await browser.post(f"{FEED}/post", {"text": "long"})
    assert answer.status == 503
    assert "Back" in answer.text
    assert f"{HOME}/.broker/login" in answer.text


async def test_the_code_names_no_place(browser: Browser) -> None:
    """The return address stands in the ledger, not in the address bar, logs or referrers."""
    await browser.log_in("aminata")
    landing = await code_for(browser, f"{FEED}/secret-project")
    assert "secret-project" not in landing
    assert list(parse_qs(urlsplit(landing).query)) == ["code"]


async def test_strangers_push_out_the_oldest_return_address_and_no_more(
    site: PortalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood costs return addresses; whoever loses one still logs in."""
    monkeypatch.setattr("broker.portal.handover.MOST_RETURNS", 2)
    early, late = Browser(site), Browser(site)
    first = await early.visit(f"{FEED}/posts/7")
    second = await late.visit(f"{FEED}/posts/8")
    await Browser(site).visit(f"{FEED}/")
    landed = await early.follow(await early.fill_in(first, "aminata"))
    assert landed.url == f"{HOME}/.broker/me"
    landed = await late.follow(await late.fill_in(second, "aminata"))
    assert landed.url == f"{FEED}/posts/8"


async def test_tabs_that_log_in_at_the_same_moment_all_arrive(
    browser: Browser, ledger: PortalLedger
) -> None:
    """Each where it wanted to go; and each of them goes on working, whichever cookie came last."""
    wanted = [f"{FEED}/{number}" for number in range(3)] + [f"{WIKI}/page"]
    forms = [await browser.visit(address) for address in wanted]
    sent = await asyncio.gather(*(browser.fill_in(form, "aminata") for form in forms))
    arrived = [await browser.follow(answer) for answer in sent]
    assert [page.url for page in arrived] == wanted
    assert all(page.text.startswith("application") for page in arrived)
    for address in wanted:
        assert (await browser.get(address)).text.startswith("application")
    assert ledger.seated() == ["aminata"]
