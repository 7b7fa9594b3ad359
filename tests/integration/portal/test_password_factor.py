"""An expired password is not changed with the password alone by who has a second factor; on twin
and Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.errors import PasswordExpired
from broker.policy.guessing import GuessRules
from broker.policy.second_factor import FactorRules
from tests.support.phone import enter, half_way, set_up
from tests.support.portal_site import HOME, PASSWORD, Answer, Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.ledger.port import Ledger
    from tests.support.portal_ledger import PortalLedger

CHANGE, LOGIN = f"{HOME}/.broker/password", f"{HOME}/.broker/login"
NEW = "battery staple"
RULES = FactorRules(("managers",), (), ("10.0.0.0/8",), tries=3)
EXPIRED = PasswordExpired("expired", may_change=True)


@pytest.fixture
def ledger(portal_ledger: Ledger) -> Ledger:
    return portal_ledger


@pytest.fixture
async def site(ledger: Ledger) -> AsyncIterator[PortalSite]:
    await ledger.open_enrolment(86_400_000)
    rules = GuessRules(per_pair=3)
    async with PortalSite(ledger, factor=RULES, password_change=True, guesses=rules) as running:
        yield running


async def change(
    browser: Browser, code: str = "", *, name: str = "marek", old: str = PASSWORD, new: str = NEW
) -> Answer:
    page = await browser.get(CHANGE)
    form = {
        "username": name,
        "password": old,
        "code": code,
        "new": new,
        "again": new,
        "csrf": page.hidden("csrf"),
        "next": "",
    }
    return await browser.post(CHANGE, form)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "and a code of it too"), ("fr", "code de ce second"), ("pl", "kod drugiego")],
)
async def test_a_thief_of_an_expired_password_needs_the_code_too(
    browser: Browser, site: PortalSite, language: str, words: str
) -> None:
    phone, codes = await set_up(browser)
    site.directory.fails = EXPIRED
    thief = Browser(site, language)
    page = await thief.fill_in(await thief.get(LOGIN), "marek")
    assert 'name="code"' in page.text, "asked for in the same form"
    refused = await change(thief)
    assert refused.status == 422
    assert words in refused.text
    assert (await change(thief, "000000")).status == 401
    assert (await change(thief, "AAAA-BBBB-CCCC-DDDD")).status == 401
    assert site.directory.password == PASSWORD
    changed = await change(browser, phone.code())
    assert (changed.status, site.directory.password) == (303, NEW)
    assert await site.ledger.sessions("marek"), "nobody is thrown out by it"
    assert len(codes) == 10


async def test_a_recovery_code_does_and_each_code_once(browser: Browser, site: PortalSite) -> None:
    phone, codes = await set_up(browser)
    site.directory.fails = EXPIRED
    assert (await change(browser, codes[0].lower(), new="tiny")).status == 422
    assert (await change(browser, codes[0])).status == 401, "used up"
    assert (await change(browser, codes[1])).status == 303
    site.directory.fails, site.directory.password = EXPIRED, PASSWORD
    assert (await change(browser, phone.code())).status == 303
    site.directory.fails, site.directory.password = EXPIRED, PASSWORD
    again = await change(browser, phone.code())
    assert again.status == 401
    assert "has been used already" in again.text
    site.directory.fails = None
    other = Browser(site)
    page = await half_way(other)
    assert (await enter(other, page, phone.code())).status == 401, "nor at the login"


async def test_codes_are_looked_at_only_after_the_right_password(
    browser: Browser, site: PortalSite
) -> None:
    """Or strangers could use up the tries of codes."""
    phone, _ = await set_up(browser)
    site.directory.fails = EXPIRED
    for number in range(6):
        site.address = f"203.0.113.{number}"
        stranger = Browser(site)
        assert (await change(stranger, f"00000{number}", old="guess")).status == 401
    assert await site.ledger.bans() == ()
    assert (await change(Browser(site), phone.code())).status == 303


async def test_few_codes_are_guessed_here_and_at_the_login_together(
    browser: Browser, site: PortalSite
) -> None:
    phone, codes = await set_up(browser)
    site.directory.fails = EXPIRED
    statuses = []
    for number in range(5):
        site.address = f"203.0.113.{number}"
        thief = Browser(site)
        statuses.append((await change(thief, f"11111{number}")).status)
    assert statuses == [401] * 3 + [429] * 2
    banned = await change(thief, phone.code())
    assert banned.status == 429
    assert int(banned.headers["Retry-After"]) > 0
    assert site.directory.password == PASSWORD
    assert (await change(thief, codes[0])).status == 303, "the owner, in a new browser"


async def test_who_needs_one_and_may_set_none_up_is_refused(site: PortalSite) -> None:
    site.directory.fails = EXPIRED
    await site.ledger.open_enrolment(0)
    page = await change(Browser(site))
    assert page.status == 403
    assert "none is set up" in page.text
    assert site.directory.password == PASSWORD
    await site.ledger.open_enrolment(1000)
    assert (await change(Browser(site))).status == 303, "and sets it up at the login"


async def test_who_needs_none_is_asked_for_none(browser: Browser, site: PortalSite) -> None:
    site.directory.fails = EXPIRED
    assert (await change(Browser(site), name="aminata")).status == 303
    site.directory.fails, site.directory.password = None, PASSWORD
    await set_up(browser)
    site.directory.fails = EXPIRED
    site.address = "10.1.2.3"
    inside = Browser(site)
    assert 'name="code"' not in (await inside.get(CHANGE)).text
    assert (await change(inside)).status == 303, "as at the login from there"


@pytest.mark.parametrize("portal_ledger", ["memory"], indirect=True)
async def test_while_the_ledger_cannot_say_no_password_is_changed(
    browser: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    phone, _ = await set_up(browser)
    site.directory.fails = EXPIRED
    ledger.learn()
    assert (await change(Browser(site), phone.code())).status == 503
    assert site.directory.password == PASSWORD
    ledger.learn(False)
    assert (await change(Browser(site), phone.code())).status == 303, "it was no try"
