"""Logging in and out on the home host, as a dialogue."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from multidict import CIMultiDict

from broker.errors import AccountRefused, Busy, DirectoryAway
from tests.support.portal_site import FEED, HOME, PASSWORD, WIKI, Browser, PortalSite

if TYPE_CHECKING:
    from tests.support.portal_ledger import PortalLedger

LOGIN = f"{HOME}/.broker/login"


async def test_a_login_opens_a_session_and_asks_for_a_seat(
    browser: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    page = await browser.log_in("aminata")
    assert page.url == f"{HOME}/.broker/me"
    assert page.status == 200
    assert "Aminata Diop" in page.text
    (record,) = ledger.session_records()
    assert record.employee == "aminata"
    assert record.population == "sales"
    assert record.groups == ("cn=sales,ou=groups,dc=example",)
    assert record.address == "192.0.2.7"
    assert record.ends_ms - record.created_ms == 12 * 3600 * 1000
    assert ledger.seated() == ["aminata"]
    assert site.outcomes == ["ok"]
    planted = site.tokens.read_session(browser.cookies(HOME)["__Host-broker"], "localhost:8443")
    assert planted is not None
    assert planted.session_id == record.id


@pytest.mark.parametrize(("username", "password"), [("aminata", "no"), ("nobody", PASSWORD)])
async def test_wrong_password_and_unknown_name_are_told_alike(
    browser: Browser, site: PortalSite, username: str, password: str
) -> None:
    page = await browser.fill_in(await browser.get(LOGIN), username, password)
    assert page.status == 401
    assert "The user name or the password is not right." in page.text
    assert f'value="{username}"' in page.text
    assert PASSWORD not in page.text
    assert page.cookie("__Host-broker") is None
    assert site.outcomes == ["wrong_password"]
    assert (await browser.fill_in(page, "aminata")).status == 303, "the form shown can be used"


@pytest.mark.parametrize(
    ("error", "status", "says", "outcome"),
    [
        (DirectoryAway("ldaps://10.0.0.1 refused"), 503, "cannot be reached", "directory_away"),
        (Busy("no thread"), 503, "try again", "busy"),
        (AccountRefused("data 775, v4563"), 403, "service@example.com", "account_refused"),
    ],
)
async def test_other_failures_are_told_as_they_are_and_no_more(
    browser: Browser,
    site: PortalSite,
    error: Exception,
    status: int,
    says: str,
    outcome: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    form = await browser.visit(f"{FEED}/deep")
    site.directory.fails = error
    site.jitter = 0.8
    page = await browser.fill_in(form, "aminata")
    assert page.status == status
    assert says in page.text
    assert str(error) not in page.text
    assert site.outcomes == [outcome]
    later = page.headers.get("Retry-After")
    assert later == ("14" if status == 503 else None), "not everybody at the same moment"
    assert (str(error) in caplog.text) == (status == 503), "operations hear of it"
    site.directory.fails = None
    arrived = await browser.follow(await browser.fill_in(page, "aminata"))
    assert arrived.text.endswith("/deep"), "the way back was kept"


async def test_the_ledger_away_is_told_and_the_form_shown_again(
    browser: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    form = await browser.get(LOGIN)
    ledger.away = True
    page = await browser.fill_in(form, "aminata")
    assert page.status == 503
    assert "could not be completed" in page.text
    assert 'name="password"' in page.text
    assert site.outcomes == ["ledger_away"]


async def test_the_password_is_in_no_log(
    browser: Browser, site: PortalSite, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    form = await browser.get(LOGIN)
    site.directory.fails = RuntimeError("a bug")
    page = await browser.fill_in(form, "aminata")
    assert page.status == 500
    assert "a bug" in caplog.text
    assert "a bug" not in page.text
    assert PASSWORD not in caplog.text
    assert "correct+horse" not in caplog.text


# --- forged forms


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": WIKI},
        {"Origin": FEED},
        {"Origin": "http://localhost:8443"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none", "Origin": ""},
        {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"},
    ],
)
async def test_a_form_from_elsewhere_is_refused(
    browser: Browser, site: PortalSite, headers: dict[str, str]
) -> None:
    answer = await browser.fill_in(await browser.get(LOGIN), "aminata", **headers)
    assert answer.status == 403
    assert answer.cookie("__Host-broker") is None
    assert site.directory.asked == []


@pytest.mark.parametrize(
    "headers", [{"Origin": "", "Sec_Fetch_Site": "same-origin"}, {"Origin": HOME}]
)
async def test_either_sign_of_the_own_origin_suffices(
    browser: Browser, headers: dict[str, str]
) -> None:
    assert (await browser.fill_in(await browser.get(LOGIN), "aminata", **headers)).status == 303


@pytest.mark.parametrize("csrf", ["", "x", "0" * 64, "é"])
async def test_a_form_without_its_token_is_shown_again_and_not_checked(
    browser: Browser, site: PortalSite, csrf: str
) -> None:
    await browser.get(LOGIN)
    page = await browser.post(LOGIN, {"username": "aminata", "password": PASSWORD, "csrf": csrf})
    assert page.status == 403
    assert site.directory.asked == []
    assert site.outcomes == ["bad_form"]
    assert (await browser.fill_in(page, "aminata")).status == 303


async def test_a_token_of_another_browser_is_refused(browser: Browser, site: PortalSite) -> None:
    await browser.get(LOGIN)
    theirs = await Browser(site).get(LOGIN)
    assert (await browser.fill_in(theirs, "aminata")).status == 403


async def test_a_form_without_its_cookie_is_refused(browser: Browser) -> None:
    form = await browser.get(LOGIN)
    browser.jar.clear()
    assert (await browser.fill_in(form, "aminata")).status == 403


async def test_all_tabs_of_a_browser_share_the_cookie_of_the_form(browser: Browser) -> None:
    first, second = await browser.get(LOGIN), await browser.get(LOGIN)
    assert first.hidden("csrf") == second.hidden("csrf")
    assert (await browser.fill_in(first, "aminata")).status == 303


async def test_a_huge_form_is_refused(browser: Browser, site: PortalSite) -> None:
    page = await browser.fill_in(await browser.get(LOGIN), "a" * 20_000)
    assert page.status == 413
    assert site.directory.asked == []


async def test_a_name_longer_than_any_never_reaches_the_directory(
    browser: Browser, site: PortalSite
) -> None:
    assert (await browser.fill_in(await browser.get(LOGIN), "a" * 300)).status == 401
    assert site.directory.asked == []


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--b\r\nContent-Disposition: form-data; name=username\r\n\r\nx\r\n--b--\r\n",
         "multipart/form-data; boundary=b"),
        (b'{"username": "aminata"}', "application/json"),
        (b"username=aminata&password=x", "text/plain"),
        (b"username=\xff\xfe&password=%ff&csrf=%ed%b3%a9", "application/x-www-form-urlencoded"),
        (b"username=a", "application/x-www-form-urlencoded; charset=nonsense"),
        (b"&".join(b"x=%d" % n for n in range(100)), "application/x-www-form-urlencoded"),
        (b"", ""),
    ],
)  # fmt: skip
async def test_what_is_no_form_of_ours_is_no_login(
    browser: Browser, site: PortalSite, body: bytes, content_type: str
) -> None:
    await browser.get(LOGIN)
    answer = await browser.request("POST", LOGIN, body, Content_Type=content_type)
    assert answer.status == 403
    assert site.directory.asked == []


async def test_what_was_typed_is_escaped(browser: Browser) -> None:
    page = await browser.fill_in(await browser.get(LOGIN), '"><script>x</script>', "no")
    assert "<script" not in page.text
    assert "&#34;&gt;&lt;script&gt;" in page.text


# --- who is let in


async def test_a_population_that_is_not_admitted_logs_in_and_is_told(
    browser: Browser, ledger: PortalLedger
) -> None:
    page = await browser.log_in("odile", f"{FEED}/news")
    assert page.status == 403
    assert page.url == f"{FEED}/news"
    assert "managers, sales" in page.text
    assert "service@example.com" in page.text
    assert "Odile Martin" in page.text
    ledger.limit(100, ("managers", "sales", "everyone"))
    assert (await browser.get(f"{FEED}/news")).text.startswith("application")


async def test_somebody_of_no_population_logs_in_and_is_told(browser: Browser) -> None:
    page = await browser.log_in("extern", f"{FEED}/")
    assert page.status == 403
    assert "no population" in page.text
    mine = await browser.visit(f"{HOME}/")
    assert mine.status == 200
    assert "managers, sales" in mine.text


# --- again, and out


async def test_whoever_is_logged_in_is_not_asked_again(browser: Browser) -> None:
    await browser.log_in("aminata")
    assert (await browser.get(LOGIN)).location == f"{HOME}/.broker/me"
    assert (await browser.get(f"{HOME}/")).location == f"{HOME}/.broker/me"


async def test_a_second_login_in_the_same_browser_replaces_the_first(
    browser: Browser, ledger: PortalLedger
) -> None:
    form = await browser.get(LOGIN)
    await browser.follow(await browser.fill_in(form, "aminata"))
    (first,) = ledger.session_records()
    await browser.follow(await browser.fill_in(form, "marek"))
    (second,) = ledger.session_records()
    assert second.id != first.id
    assert second.employee == "marek"
    assert ledger.seated() == ["marek"]


async def test_logging_out_of_an_application_logs_out_everywhere(
    browser: Browser, ledger: PortalLedger
) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    await browser.visit(f"{WIKI}/")
    asked = await browser.get(f"{FEED}/.broker/logout")
    assert asked.status == 200
    assert len(ledger.session_records()) == 1, "GET changes nothing"
    answer = await browser.post(f"{FEED}/.broker/logout", {})
    assert answer.status == 303
    assert answer.location == f"{HOME}/.broker/login?out=1"
    assert "__Host-broker" not in browser.cookies(FEED)
    assert ledger.session_records() == []
    assert ledger.seated() == []
    page = await browser.get(answer.location)
    assert "You are logged out." in page.text
    assert 'name="password"' in (await browser.visit(f"{WIKI}/")).text


async def test_a_logout_from_elsewhere_is_refused(browser: Browser, ledger: PortalLedger) -> None:
    await browser.log_in("aminata", f"{FEED}/")
    answer = await browser.post(f"{FEED}/.broker/logout", {}, Origin=WIKI)
    assert answer.status == 403
    assert len(ledger.session_records()) == 1


async def test_a_logout_that_cannot_be_done_keeps_the_cookie_for_another_try(
    browser: Browser, ledger: PortalLedger, site: PortalSite
) -> None:
    await browser.log_in("aminata")
    record = ledger.session_records()[0]
    claims = {"host": "localhost:8443", "sub": "aminata", "sid": record.id, "method": "POST"}
    ledger.away = True
    answer = await site.ask(
        f"{HOME}/.broker/logout", "POST", "/.broker/logout", claims, CIMultiDict(Origin=HOME)
    )
    assert answer.status == 503
    assert answer.cookie("__Host-broker") is None


async def test_logging_out_twice_is_no_error(browser: Browser) -> None:
    assert (await browser.post(f"{HOME}/.broker/logout", {})).status == 303


async def test_a_logout_heard_by_the_portal_before_the_gateway_counts(
    browser: Browser, ledger: PortalLedger, site: PortalSite
) -> None:
    """The assertion still names a session that has just ended: no loop, no page of the session."""
    claims = {"host": "localhost:8443", "sub": "aminata", "sid": "gone", "method": "GET"}
    for path in ("/.broker/login", "/.broker/login?out=1"):
        answer = await site.ask(f"{HOME}{path}", "GET", path, claims, CIMultiDict())
        assert answer.status == 200
        assert 'name="password"' in answer.text
    answer = await site.ask(f"{HOME}/", "GET", "/.broker/me", claims, CIMultiDict())
    assert answer.headers["Location"] == LOGIN


async def test_one_more_browser_than_allowed_may_be_refused(ledger: PortalLedger) -> None:
    async with PortalSite(ledger, sessions_per_employee=2, refuse_more_sessions=True) as site:
        first, second, third = Browser(site), Browser(site), Browser(site)
        for browser in (first, second):
            assert (await browser.log_in("aminata")).status == 200
        page = await third.fill_in(await third.get(LOGIN), "aminata")
        assert page.status == 409
        assert "Log out in one of them first" in page.text
        assert site.outcomes[-1] == "sessions_full"
        assert (await first.get(f"{HOME}/.broker/me")).status == 200, "nobody was evicted"
        await first.post(f"{HOME}/.broker/logout", {})
        assert (await third.fill_in(page, "aminata")).status == 303
