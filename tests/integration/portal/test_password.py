"""What the directory says of an account, in sentences; an expired password changed from home."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.errors import AccountRefused, DirectoryAway, PasswordExpired
from broker.policy.guessing import GuessRules
from tests.support.portal_site import FEED, HOME, PASSWORD, Answer, Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.errors import RefusedBecause
    from tests.support.portal_ledger import PortalLedger

LOGIN, CHANGE = f"{HOME}/.broker/login", f"{HOME}/.broker/password"
NEW = "battery staple"
EXPIRED = PasswordExpired("expired", may_change=True)


@pytest.fixture
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    async with PortalSite(ledger, password_change=True, guesses=GuessRules(per_pair=3)) as running:
        yield running


async def change(
    browser: Browser, page: Answer, *, old: str = PASSWORD, new: str = NEW, again: str | None = None
) -> Answer:
    form = {
        "username": "Aminata",
        "password": old,
        "new": new,
        "again": new if again is None else again,
        "csrf": page.hidden("csrf"),
        "next": page.hidden("next"),
    }
    return await browser.post(CHANGE, form)


@pytest.mark.parametrize(
    ("because", "language", "words"),
    [
        ("disabled", "en", "is disabled"),
        ("locked", "en", "is locked"),
        ("account_expired", "en", "has expired"),
        ("hours", "en", "at this hour"),
        ("refused", "en", "may not log in at present"),
        ("nameless", "en", "may not log in at present"),
        ("locked", "fr", "verrouillé"),
        ("disabled", "pl", "wyłączone"),
    ],
)
async def test_why_an_account_is_refused(
    site: PortalSite, because: RefusedBecause, language: str, words: str
) -> None:
    browser = Browser(site, language)
    site.directory.fails = AccountRefused("data 533", because)
    page = await browser.fill_in(await browser.get(LOGIN), "aminata")
    assert page.status == 403
    assert words in page.text
    assert "service@example.com" in page.text
    assert "data 533" not in page.text


async def test_a_refusal_that_proves_no_password_counts_as_a_try(
    browser: Browser, site: PortalSite
) -> None:
    site.directory.fails = AccountRefused("x", "locked", proven=False)
    form = await browser.get(LOGIN)
    statuses = [(await browser.fill_in(form, "aminata")).status for _ in range(4)]
    assert statuses == [403, 403, 403, 429]


async def test_an_expired_password_is_changed_and_the_way_back_is_kept(
    browser: Browser, site: PortalSite
) -> None:
    site.directory.fails = EXPIRED
    page = await browser.fill_in(await browser.visit(f"{FEED}/deep"), "Aminata")
    assert page.status == 403
    assert "has expired or must be changed" in page.text
    assert 'value="Aminata"' in page.text
    assert PASSWORD not in page.text
    assert site.outcomes == ["password_expired"]
    answer = await change(browser, page)
    assert answer.status == 303
    login = await browser.follow(answer)
    assert "Your password has been changed" in login.text
    assert (await browser.fill_in(login, "aminata")).status == 401, "the old one is gone"
    arrived = await browser.follow(await browser.fill_in(login, "aminata", NEW))
    assert arrived.text.endswith("/deep")


async def test_without_a_way_to_change_it_one_is_told_so(site: PortalSite) -> None:
    browser = Browser(site, "fr")
    site.directory.fails = PasswordExpired("expired", may_change=False)
    page = await browser.fill_in(await browser.get(LOGIN), "aminata")
    assert page.status == 403
    assert "au bureau" in page.text
    assert 'name="new"' not in page.text


async def test_where_no_password_can_be_changed_there_is_no_such_page(
    ledger: PortalLedger,
) -> None:
    async with PortalSite(ledger) as site:
        browser = Browser(site)
        assert (await browser.get(CHANGE)).status == 404
        assert (await browser.post(CHANGE, {})).status == 404


async def test_the_page_exists_at_home_only(browser: Browser) -> None:
    assert (await browser.get(f"{FEED}/.broker/password")).status == 404


@pytest.mark.parametrize(
    ("old", "new", "again", "status", "words"),
    [
        ("wrong", NEW, None, 401, "is not right"),
        (PASSWORD, NEW, "another", 422, "not the same"),
        (PASSWORD, PASSWORD, None, 422, "is the old one"),
        (PASSWORD, "tiny", None, 422, "not accepted"),
    ],
)
async def test_what_is_wrong_is_told(
    browser: Browser,
    site: PortalSite,
    old: str,
    new: str,
    again: str | None,
    status: int,
    words: str,
) -> None:
    site.directory.fails = EXPIRED
    page = await change(browser, await browser.get(CHANGE), old=old, new=new, again=again)
    assert page.status == status
    assert words in page.text
    assert new not in page.text
    assert (await change(browser, page)).status == 303, "the form shown can be used"


async def test_a_password_that_has_not_expired_is_left_alone(
    browser: Browser, site: PortalSite
) -> None:
    """Or whoever has it and nothing else, a second factor least of all, could take it away."""
    page = await change(browser, await browser.get(CHANGE))
    assert page.status == 403
    assert "has not expired" in page.text
    assert site.directory.password == PASSWORD


async def test_an_old_password_is_guessed_no_longer_here_than_at_the_login(
    browser: Browser,
) -> None:
    form = await browser.get(CHANGE)
    statuses = [(await change(browser, form, old=f"guess {n}")).status for n in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert (await browser.fill_in(await browser.get(LOGIN), "aminata")).status == 429
    page = await change(browser, form)
    assert page.headers.get("Set-Cookie")
    assert "in 15 min" in page.text


async def test_forged_forms_change_nothing(browser: Browser, site: PortalSite) -> None:
    page = await browser.get(CHANGE)
    form = {"username": "aminata", "password": PASSWORD, "new": NEW, "again": NEW, "next": ""}
    assert (await browser.post(CHANGE, form)).status == 403
    forged = await browser.post(
        CHANGE, {**form, "csrf": page.hidden("csrf")}, Origin="https://evil.example"
    )
    assert forged.status == 403
    assert site.directory.password == PASSWORD


async def test_a_directory_that_is_away_counts_nothing(browser: Browser, site: PortalSite) -> None:
    form = await browser.get(CHANGE)

    async def away(*_: object, **__: object) -> None:
        raise DirectoryAway("down")

    site.directory.change_password = away  # type: ignore[method-assign]
    for _ in range(5):
        assert (await change(browser, form)).status == 503
