"""Wrong passwords: who is banned, who is slowed down, and that no owner is ever locked out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from broker.errors import AccountRefused, DirectoryAway
from broker.policy.guessing import GuessRules
from tests.support.ledgers import limits_document, redis_ledger
from tests.support.portal_site import HOME, PASSWORD, Answer, Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.support.portal_ledger import PortalLedger

LOGIN = f"{HOME}/.broker/login"
RULES = GuessRules(per_pair=3, per_address=8, free=6, slowest_ms=1)
ATTACKER, OWNER = "203.0.113.66", "198.51.100.5"


@pytest.fixture
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    async with PortalSite(ledger, guesses=RULES, trusted_addresses=("10.0.0.0/8",)) as running:
        yield running


async def guess(browser: Browser, many: int, name: str = "aminata") -> list[int]:
    form = await browser.get(LOGIN)
    return [(await browser.fill_in(form, name, f"guess {n}")).status for n in range(many)]


async def test_a_name_from_one_address_is_banned_there_and_the_directory_not_asked(
    browser: Browser, site: PortalSite
) -> None:
    assert await guess(browser, 5) == [401, 401, 401, 429, 429]
    page = await browser.fill_in(await browser.get(LOGIN), "aminata", PASSWORD)
    assert page.status == 429, "not even with the right password"
    assert page.headers["Retry-After"] == "900"
    assert "in 15 min" in page.text
    assert "service@example.com" in page.text
    assert len(site.directory.asked) == 3
    assert site.guarded == ["pair"]
    assert site.outcomes[-1] == "banned"
    site.address = OWNER
    assert (await Browser(site).log_in("aminata")).status == 200, "elsewhere nothing is banned"


async def test_the_spelling_of_a_name_makes_no_new_count(
    browser: Browser, site: PortalSite
) -> None:
    statuses = [(await guess(browser, 1, name))[0] for name in ("Aminata", "AMINATA", "aminatA")]
    assert statuses == [401] * 3
    assert await guess(browser, 1, "aminata") == [429]


async def test_a_name_that_nobody_has_is_banned_like_any_other(browser: Browser) -> None:
    assert await guess(browser, 4, "nobody") == [401, 401, 401, 429]


async def test_an_address_that_tries_many_names_is_banned(
    browser: Browser, site: PortalSite
) -> None:
    statuses = [(await guess(browser, 1, f"name{n}"))[0] for n in range(10)]
    assert statuses == [401] * 8 + [429] * 2
    assert "address" in site.guarded
    asked = len(site.directory.asked)
    assert (await guess(browser, 1, "marek"))[0] == 429
    assert len(site.directory.asked) == asked


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3"])
async def test_loopback_and_trusted_addresses_are_never_banned(
    browser: Browser, site: PortalSite, address: str
) -> None:
    site.address = address
    assert set(await guess(browser, 20)) == {401}
    assert "delayed" in site.guarded
    assert (await Browser(site).log_in("aminata")).status == 200
    assert (await Browser(site).log_in("marek")).status == 200


async def test_many_at_once_count_as_many(browser: Browser, site: PortalSite) -> None:
    form = await browser.get(LOGIN)
    pages = await asyncio.gather(*(browser.fill_in(form, "aminata", "x") for _ in range(20)))
    assert sorted(page.status for page in pages) == [401] * 3 + [429] * 17


@pytest.mark.parametrize("error", [DirectoryAway("down"), AccountRefused("disabled")])
async def test_what_is_no_wrong_password_does_not_count(
    browser: Browser, site: PortalSite, error: Exception
) -> None:
    site.directory.fails = error
    assert set(await guess(browser, 20)) == {503 if isinstance(error, DirectoryAway) else 403}
    site.directory.fails = None
    assert await guess(browser, 4) == [401, 401, 401, 429]


async def test_the_right_password_clears_what_one_mistyped(browser: Browser) -> None:
    for _ in range(5):
        assert await guess(browser, 2) == [401, 401]
        page = await browser.fill_in(await browser.get(LOGIN), "aminata")
        assert page.status == 303
        await browser.post(f"{HOME}/.broker/logout", {})


async def test_a_known_browser_gets_in_from_an_address_that_is_banned(site: PortalSite) -> None:
    owner = Browser(site)
    await owner.log_in("aminata")
    await owner.post(f"{HOME}/.broker/logout", {})
    site.address = ATTACKER
    assert 429 in await guess(Browser(site), 10)
    for number in range(9):
        await guess(Browser(site), 1, f"name{number}")
    assert await site.ledger.banned(ATTACKER) > 0
    delays = site.guarded.count("delayed")
    assert (await owner.log_in("aminata")).status == 200
    assert site.guarded.count("delayed") == delays, "and at once"


async def test_a_known_browser_is_known_for_its_own_employee_only(site: PortalSite) -> None:
    marek = Browser(site)
    await marek.log_in("marek")
    await marek.post(f"{HOME}/.broker/logout", {})
    assert await guess(marek, 4) == [401, 401, 401, 429]


async def test_a_stolen_known_browser_may_not_guess_for_ever(site: PortalSite) -> None:
    thief = Browser(site)
    await thief.log_in("aminata")
    await thief.post(f"{HOME}/.broker/logout", {})
    assert await guess(thief, 8) == [401] * 6 + [429] * 2, "three as known, three as anybody"


@pytest.mark.parametrize("cookie", ["", "x", "a.b.c", "é"])
async def test_a_forged_cookie_makes_nobody_known(
    browser: Browser, site: PortalSite, cookie: str
) -> None:
    browser.jar.setdefault("localhost:8443", {})["__Host-broker-known"] = (cookie, 1e12)
    assert await guess(browser, 4) == [401, 401, 401, 429]


async def test_a_session_cookie_makes_nobody_known(site: PortalSite) -> None:
    browser = Browser(site)
    await browser.log_in("aminata")
    session = browser.jar["localhost:8443"].pop("__Host-broker")
    browser.jar["localhost:8443"]["__Host-broker-known"] = session
    assert await guess(browser, 4) == [401, 401, 401, 429]


async def test_ten_thousand_guesses_never_lock_the_owner_out(redis_url: str) -> None:
    """Half of them from one address, half each from one of its own; then the owner comes, from a
    browser they have used before and from a new one, both times at once or nearly so."""
    ledger = await redis_ledger(redis_url)
    try:
        await ledger.publish(limits_document(), if_match=0, first_start=True)
        async with PortalSite(ledger, guesses=GuessRules(slowest_ms=10)) as site:
            owner = Browser(site)
            site.address = OWNER
            await owner.log_in("aminata")
            await owner.post(f"{HOME}/.broker/logout", {})

            form = await Browser(site).get(LOGIN)
            cookie = form.cookie("__Host-broker-login")
            assert cookie is not None

            async def guess_from(address: str) -> Answer:
                attacker = Browser(site)
                attacker.jar["localhost:8443"] = {"__Host-broker-login": (cookie["value"], 1e12)}
                site.address = address  # read before anything is awaited
                return await attacker.fill_in(form, "aminata", "guess")

            statuses: dict[int, int] = {}
            for start in range(0, 10_000, 16):
                addresses = [
                    ATTACKER if n % 2 else f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
                    for n in range(start, start + 16)
                ]
                for page in await asyncio.gather(*map(guess_from, addresses)):
                    statuses[page.status] = statuses.get(page.status, 0) + 1
            assert statuses == {401: 5010, 429: 4990}

            site.address = ATTACKER
            delayed = site.guarded.count("delayed")
            assert (await owner.log_in("aminata")).status == 200
            assert site.guarded.count("delayed") == delayed
            site.address = "198.51.100.77"
            assert (await Browser(site).log_in("aminata")).status == 200
    finally:
        await ledger.close()
