"""The second factor at the login: set up, asked for, replaced, and attacked; on twin and Redis."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import pyotp
import pytest

from broker.errors import LedgerAway
from broker.ledger.port import AuditEntry
from broker.policy.second_factor import FactorRules
from broker.site.factors import Factors
from broker.site.key_rotation import prepared, promoted
from broker.site.tokens import KeyRing
from tests.support.ledgers import limits_document, redis_ledger
from tests.support.phone import Phone, enter, half_way, set_up, shown_codes
from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import FEED, HOME, Browser, PortalSite, employee

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.ledger.port import Ledger, RevocationKind, SessionRecord

LOGIN, FACTOR, ME = (f"{HOME}/.broker/{name}" for name in ("login", "factor", "me"))
HALF, SESSION, BOUND = "__Host-broker-half", "__Host-broker", "__Host-broker-login"
KNOWN = "__Host-broker-known"
RULES = FactorRules(("managers",), ("CN=Extra, OU=groups,dc=example",), ("10.0.0.0/8",), tries=3)
RESET = AuditEntry("anna", "reset", "second factor of marek")
DAY = 86_400_000


@pytest.fixture
def ledger(portal_ledger: Ledger) -> Ledger:
    return portal_ledger


@pytest.fixture
async def site(ledger: Ledger) -> AsyncIterator[PortalSite]:
    await ledger.open_enrolment(DAY)
    async with PortalSite(ledger, factor=RULES) as running:
        yield running


def logged_in(browser: Browser) -> bool:
    return SESSION in browser.cookies(HOME)


async def session_of(site: PortalSite, name: str = "marek") -> SessionRecord:
    (record,) = await site.ledger.sessions(name)
    return record


# --- who, and how


async def test_only_who_needs_one_is_asked(browser: Browser, site: PortalSite) -> None:
    assert (await browser.log_in("aminata")).url == ME
    assert (await session_of(site, "aminata")).factor == ""
    assert (await half_way(Browser(site))).url == FACTOR
    site.address = "10.1.2.3"
    assert (await Browser(site).log_in("marek")).url == ME
    assert site.outcomes == ["ok", "factor_asked", "ok"]
    record = await session_of(site)
    assert record.factor == "excepted", "the gateway takes it in that network only"
    assert (await Browser(site).log_in("aminata")).url == ME
    assert {each.factor for each in await site.ledger.sessions("aminata")} == {""}


async def test_a_group_needs_one_whatever_the_population(
    browser: Browser, site: PortalSite
) -> None:
    known = site.directory.employees["aminata"]
    groups = (*known.groups, "cn=extra,ou=groups,dc=example")
    site.directory.employees["aminata"] = replace(known, groups=groups)
    assert (await half_way(browser, "aminata")).url == FACTOR


async def test_set_up_at_the_first_login_and_used_at_the_next(
    browser: Browser, site: PortalSite
) -> None:
    page = await half_way(browser)
    assert page.status == 200
    assert not logged_in(browser)
    assert 'src="data:image/svg+xml' in page.text
    phone = Phone(site, page)
    assert f"secret={phone.secret}" in page.text
    wrong = await enter(browser, page, "000000")
    assert (wrong.status, logged_in(browser)) == (401, False)
    assert Phone(site, wrong).secret == phone.secret, "the same one again"
    done = await enter(browser, wrong, phone.code())
    assert done.status == 200
    assert len(set(shown_codes(done))) == 10
    assert done.headers["Cache-Control"] == "no-store"
    assert HALF not in browser.cookies(HOME) or not browser.cookies(HOME)[HALF]
    assert (await session_of(site)).factor == "totp"
    assert (await browser.visit(ME)).url == ME

    await browser.post(f"{HOME}/.broker/logout", {})
    page = await half_way(browser)
    assert "recovery" in page.text
    assert phone.secret not in page.text
    assert (await enter(browser, page, phone.code())).status == 401, "used when it was set up"
    site.now += 30
    spaced = f"{phone.code()[:3]} {phone.code()[3:]}"
    arrived = await enter(browser, page, spaced)
    assert (arrived.status, arrived.location) == (303, ME)
    assert (await session_of(site)).factor == "totp"
    assert site.outcomes.count("ok") == 2


async def test_the_way_back_is_kept_through_all_of_it(browser: Browser, site: PortalSite) -> None:
    page = await half_way(browser, url=f"{FEED}/deep?x=1")
    phone = Phone(site, page)
    done = await enter(browser, page, phone.code())
    onward = done.text.split('class="button" href="')[1].split('"')[0]
    assert (await browser.visit(HOME + onward)).text.endswith("/deep?x=1")
    site.now += 30
    other = Browser(site)
    page = await half_way(other, url=f"{FEED}/deep?x=2")
    arrived = await other.follow(await enter(other, page, phone.code()))
    assert arrived.text.endswith("/deep?x=2")


@pytest.mark.parametrize(("drift", "status"), [(-30, 303), (30, 303), (-60, 401), (60, 401)])
async def test_one_step_of_drift_is_tolerated(
    browser: Browser, site: PortalSite, drift: int, status: int
) -> None:
    phone, _ = await set_up(browser)
    site.now += 300
    phone.drift = drift
    other = Browser(site)
    assert (await enter(other, await half_way(other), phone.code())).status == status


async def test_a_recovery_code_lets_in_once_however_it_is_typed(
    browser: Browser, site: PortalSite
) -> None:
    _, codes = await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    assert (await enter(other, page, "ABCD-EFGH", "recovery")).status == 401
    typed = codes[3].lower().replace("-", " ")
    assert (await enter(other, page, typed, "recovery")).status == 303
    assert {each.factor for each in await site.ledger.sessions("marek")} == {"totp", "recovery"}
    third = Browser(site)
    page = await half_way(third)
    again = await enter(third, page, codes[3], "recovery")
    assert again.status == 401
    assert "<details open>" in again.text
    assert (await enter(third, page, codes[4], "recovery")).status == 303
    factor = await site.portal._parts.second_factor.factor_of("marek")
    assert factor is not None
    assert factor.recovery_left == 8


async def test_after_a_reset_another_one_is_set_up(browser: Browser, site: PortalSite) -> None:
    phone, codes = await set_up(browser)
    await site.ledger.open_enrolment(0)
    other = Browser(site)
    asked = await half_way(other)
    await site.ledger.reset_factor("marek", DAY, RESET)
    late = await enter(other, asked, phone.code())
    assert late.status == 403, "a half login from before offers no secret"
    page = await half_way(other)
    fresh = Phone(site, page)
    assert fresh.secret != phone.secret
    assert (await enter(other, page, phone.code())).status == 401
    assert (await enter(other, page, fresh.code())).status == 200
    site.now += 30
    third = Browser(site)
    page = await half_way(third)
    assert (await enter(third, page, phone.code())).status == 401
    assert (await enter(third, page, codes[0], "recovery")).status == 401
    assert (await enter(third, page, fresh.code())).status == 303


@pytest.mark.parametrize(
    ("language", "words"), [("en", "none is set up"), ("fr", "second facteur"), ("pl", "drugiego")]
)
async def test_while_enrolment_is_closed_a_password_alone_is_worth_nothing(
    site: PortalSite, language: str, words: str
) -> None:
    await site.ledger.open_enrolment(0)
    browser = Browser(site, language)
    page = await half_way(browser)
    assert (page.status, logged_in(browser)) == (403, False)
    assert words in page.text
    assert "service@example.com" in page.text
    assert site.outcomes == ["factor_missing"]


async def test_closed_while_somebody_sets_one_up(browser: Browser, site: PortalSite) -> None:
    page = await half_way(browser)
    await site.ledger.open_enrolment(0)
    assert (await enter(browser, page, Phone(site, page).code())).status == 403
    assert (await browser.get(FACTOR)).status == 403
    assert not logged_in(browser)


async def test_two_tabs_that_set_one_up_show_the_same_key(
    browser: Browser, site: PortalSite
) -> None:
    one = await half_way(browser)
    two = await half_way(browser)
    assert Phone(site, one).secret == Phone(site, two).secret
    assert (await enter(browser, one, Phone(site, one).code())).status == 200


# --- attacks


async def test_without_the_password_there_is_no_page(browser: Browser) -> None:
    await browser.get(LOGIN)
    assert (await browser.get(FACTOR)).location == LOGIN
    page = await browser.get(LOGIN)
    answer = await browser.post(FACTOR, {"csrf": page.hidden("csrf"), "code": "123456"})
    assert answer.location.startswith(f"{LOGIN}?late=1")
    assert (await browser.get(f"{FEED}/.broker/factor")).status == 404


async def test_half_logged_in_is_not_logged_in(browser: Browser, site: PortalSite) -> None:
    await set_up(browser)
    thief = Browser(site)
    await half_way(thief)
    assert (await thief.visit(ME)).url.startswith(LOGIN)
    assert (await thief.visit(f"{FEED}/")).url.startswith(LOGIN)
    half = thief.cookies(HOME)[HALF]
    for name in (SESSION, "__Host-broker-known", "__Host-broker-handover"):
        forged = Browser(site, jar={"localhost:8443": {name: (half, 1e12)}})
        assert (await forged.visit(ME)).url.startswith(LOGIN), "its typ is its own"


async def test_a_session_s_or_known_browser_s_cookie_is_no_half_login(
    browser: Browser, site: PortalSite
) -> None:
    await set_up(browser)
    thief = Browser(site)
    await thief.get(LOGIN)
    for name in (SESSION, "__Host-broker-known"):
        thief.jar["localhost:8443"][HALF] = (browser.cookies(HOME)[name], 1e12)
        assert (await thief.get(FACTOR)).location == LOGIN


async def test_a_half_login_belongs_to_its_browser(browser: Browser, site: PortalSite) -> None:
    phone, _ = await set_up(browser)
    victim, thief = Browser(site), Browser(site)
    await half_way(victim)
    page = await thief.get(LOGIN)
    thief.jar["localhost:8443"][HALF] = (victim.cookies(HOME)[HALF], 1e12)
    assert (await thief.get(FACTOR)).location == LOGIN
    answer = await enter(thief, page, phone.code())
    assert answer.location.startswith(f"{LOGIN}?late=1")
    assert not logged_in(thief)


async def test_one_person_s_factor_opens_nobody_else_s_session(
    browser: Browser, site: PortalSite
) -> None:
    site.directory.employees["irena"] = employee("irena", "managers")
    await set_up(browser)
    irena = Browser(site)
    phone, codes = await set_up(irena, "irena")
    thief = Browser(site)
    page = await half_way(thief, "marek")
    assert (await enter(thief, page, phone.code())).status == 401
    assert (await enter(thief, page, codes[0], "recovery")).status == 401
    # her own half login in the same browser, and the note of the one with the name of the other
    mine = await half_way(thief, "irena")
    _, note, bound = site.tokens.read_half_login(thief.cookies(HOME)[HALF]) or ("", "", "")
    forged = site.tokens.half_login("marek", note, bound, 300)
    thief.jar["localhost:8443"][HALF] = (forged, 1e12)
    assert (await enter(thief, mine, phone.code())).location.startswith(f"{LOGIN}?late=1")
    assert [each.employee for each in await site.ledger.sessions("marek")] == ["marek"]


async def test_nobody_sets_up_another_person_s_factor(browser: Browser, site: PortalSite) -> None:
    """A thief of the password, while the owner sets it up, or afterwards."""
    thief = Browser(site)
    theirs = await half_way(thief)
    stolen = Phone(site, theirs)
    await set_up(browser)
    answer = await enter(thief, theirs, stolen.code())
    assert answer.status == 401, "the owner's code is asked for"
    assert "recovery" in answer.text
    assert not logged_in(thief)
    again = await half_way(thief)
    assert 'class="key"' not in again.text
    assert (await enter(thief, again, stolen.code())).status == 401


async def test_of_two_who_set_one_up_at_once_one_does(browser: Browser, site: PortalSite) -> None:
    others = [browser, Browser(site), Browser(site)]
    pages = [await half_way(other) for other in others]
    phones = [Phone(site, page) for page in pages]
    assert len({phone.secret for phone in phones}) == 3
    answers = await asyncio.gather(
        *(enter(o, p, phone.code()) for o, p, phone in zip(others, pages, phones, strict=True))
    )
    statuses = [answer.status for answer in answers]
    assert statuses.count(200) == 1
    assert set(statuses) <= {200, 303, 401}
    first = statuses.index(200)
    assert [logged_in(other) for other in others] == [n == first for n in range(3)]
    for answer in answers:
        assert answer.status != 303 or answer.location == FACTOR


async def test_a_half_login_is_used_once(browser: Browser, site: PortalSite) -> None:
    phone, codes = await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    half = other.cookies(HOME)[HALF]
    assert (await enter(other, page, phone.code())).status == 303
    other.jar["localhost:8443"][HALF] = (half, 1e12)
    site.now += 30
    for code, field in ((phone.code(), "code"), (codes[0], "recovery")):
        assert (await enter(other, page, code, field)).location.startswith(f"{LOGIN}?late=1")


async def test_a_half_login_ends_by_itself(browser: Browser, site: PortalSite) -> None:
    phone, _ = await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    half, bound = other.cookies(HOME)[HALF], other.cookies(HOME)[BOUND]
    site.now += 310
    other.jar["localhost:8443"] = {HALF: (half, 1e12), BOUND: (bound, 1e12)}
    assert (await enter(other, page, phone.code())).location.startswith(f"{LOGIN}?late=1")


async def test_a_forged_form_changes_nothing(browser: Browser, site: PortalSite) -> None:
    phone, _ = await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    form = {"csrf": page.hidden("csrf"), "code": phone.code()}
    assert (await other.post(FACTOR, form, Origin="https://evil.example")).status == 403
    assert (await other.post(FACTOR, {**form, "csrf": "0" * 64})).status == 403
    assert (await other.post(FACTOR, form)).status == 303


async def test_of_many_who_bring_one_code_at_once_exactly_one_gets_in(
    browser: Browser, site: PortalSite
) -> None:
    phone, _ = await set_up(browser)
    others = [Browser(site) for _ in range(3)]
    pages = [await half_way(other) for other in others]
    code = phone.code()
    answers = await asyncio.gather(*map(enter, others, pages, [code] * 3))
    assert sorted(answer.status for answer in answers) == [303, 401, 401]
    (late,) = [a for a in answers if a.status == 401][:1]
    assert "has been used already" in late.text


async def test_one_recovery_code_at_once_lets_one_in(browser: Browser, site: PortalSite) -> None:
    _, codes = await set_up(browser)
    others = [Browser(site) for _ in range(6)]
    pages = [await half_way(other) for other in others]
    answers = await asyncio.gather(
        *(enter(o, p, codes[0], "recovery") for o, p in zip(others, pages, strict=True))
    )
    assert sorted(answer.status for answer in answers) == [303] + [401] * 5


async def test_a_thief_of_the_password_guesses_few_codes_and_locks_nobody_out(
    browser: Browser, site: PortalSite
) -> None:
    """From as many addresses and browsers as they like, with the right password again each time."""
    phone, codes = await set_up(browser)
    await browser.post(f"{HOME}/.broker/logout", {})
    statuses = []
    for number in range(12):
        thief = Browser(site)
        site.address = f"203.0.113.{number}"
        statuses.append((await enter(thief, await half_way(thief), f"00000{number % 10}")).status)
    assert statuses == [401] * 3 + [429] * 9
    right = await enter(thief, await half_way(thief), phone.code())
    assert right.status == 429, "not even the right code"
    assert "recovery code" in right.text
    assert site.guarded == ["codes"]
    (ban,) = await site.ledger.bans()
    assert (ban.kind, ban.employee) == ("codes", "marek")
    # The owner: in a browser of theirs at once, in a new one with a recovery code.
    assert (await enter(browser, await half_way(browser), phone.code())).status == 303
    new = Browser(site)
    assert (await enter(new, await half_way(new), codes[0], "recovery")).status == 303


async def test_a_known_browser_guesses_no_longer(browser: Browser, site: PortalSite) -> None:
    """Also not when the right password is entered in between: that forgives wrong passwords."""
    await set_up(browser)
    statuses = []
    for number in range(7):
        await browser.post(f"{HOME}/.broker/logout", {})
        statuses.append((await enter(browser, await half_way(browser), f"11111{number}")).status)
    assert statuses == [401] * 6 + [429]


async def test_browsers_known_by_a_password_alone_guess_as_one(
    browser: Browser, site: PortalSite
) -> None:
    """A thief makes many of them known, in the office or before a second factor was asked for."""
    phone, _ = await set_up(browser)
    site.address = "10.1.2.3"
    thieves = [Browser(site) for _ in range(5)]
    for thief in thieves:
        assert (await thief.log_in("marek")).url == ME
        assert KNOWN in thief.cookies(HOME)
        await thief.post(f"{HOME}/.broker/logout", {})
    site.address = "203.0.113.7"
    statuses = [
        (await enter(thief, await half_way(thief), f"33333{number}")).status
        for number, thief in enumerate(thieves)
    ]
    assert statuses == [401] * 3 + [429] * 2
    # The owner's, known by the second factor, stays so where none is asked for.
    await browser.post(f"{HOME}/.broker/logout", {})
    site.address = "10.1.2.4"
    assert (await browser.log_in("marek")).url == ME
    await browser.post(f"{HOME}/.broker/logout", {})
    site.address = "198.51.100.1"
    assert (await enter(browser, await half_way(browser), phone.code())).status == 303


async def test_a_half_login_ends_with_the_sessions_of_its_employee(
    browser: Browser, site: PortalSite
) -> None:
    """Whoever is thrown out must not come back with what they began before."""
    phone, codes = await set_up(browser)
    thief = Browser(site)
    page = await half_way(thief)
    await site.ledger.revoke("employee", "marek")
    assert (await enter(thief, page, phone.code())).status == 503
    assert not logged_in(thief)
    assert await site.ledger.sessions("marek") == ()
    if isinstance(site.ledger, PortalLedger):
        site.ledger.wall_ms += 10
    again = await half_way(thief)
    assert (await enter(thief, again, codes[0], "recovery")).status == 303
    assert len(await site.ledger.sessions("marek")) == 1


@pytest.mark.parametrize(
    ("kind", "subject"), [("employee", "marek"), ("population", "managers"), ("everybody", "")]
)
async def test_a_half_login_sets_nothing_up_once_it_is_revoked(
    browser: Browser, site: PortalSite, kind: RevocationKind, subject: str
) -> None:
    """A thief of the password must not be left with a factor, and its owner without."""
    thief = Browser(site)
    page = await half_way(thief)
    await site.ledger.revoke(kind, subject)
    answer = await enter(thief, page, Phone(site, page).code())
    assert answer.location.startswith(f"{LOGIN}?late=1")
    assert (await site.ledger.factor("marek")).factor is None
    assert not logged_in(thief)
    assert (await thief.get(FACTOR)).location == LOGIN, "it has ended"
    if isinstance(site.ledger, PortalLedger):
        site.ledger.wall_ms += 10
    await set_up(browser)
    assert logged_in(browser)


async def test_codes_that_come_together_count_together(browser: Browser, site: PortalSite) -> None:
    await set_up(browser)
    thief = Browser(site)
    page = await half_way(thief)
    tries = (enter(thief, page, f"22222{number}") for number in range(10))
    statuses = [answer.status for answer in await asyncio.gather(*tries)]
    assert sorted(statuses) == [401] * 3 + [429] * 7


async def test_many_half_logins_of_one_person_hold_their_groups_once(
    browser: Browser, site: PortalSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thief of one password begins as many as there is room for, and no more than their notes
    may lie in the ledger; nobody else is hindered by it."""
    known = site.directory.employees["marek"]
    many = tuple(f"cn=group {number:04},ou=groups,dc=example" for number in range(1500))
    site.directory.employees["marek"] = replace(known, groups=(*known.groups, *many))
    put_once, kept = site.ledger.put_once, []

    async def seen(kind: str, key: str, value: bytes, ttl_ms: int, *, most: int = 0) -> bool:
        fresh = await put_once(kind, key, value, ttl_ms, most=most)
        kept.append(len(value) if fresh else 0)
        return fresh

    monkeypatch.setattr(site.ledger, "put_once", seen)
    thieves = [Browser(site) for _ in range(20)]
    pages = [await half_way(thief) for thief in thieves]
    assert sum(kept) < 2 * len("".join(many)) + 20 * 1000
    assert (await enter(thieves[0], pages[0], Phone(site, pages[0]).code())).status == 200
    (record,) = await site.ledger.sessions("marek")
    assert record.groups == (*known.groups, *many)


async def test_a_half_login_has_the_groups_of_its_own_moment(
    browser: Browser, site: PortalSite
) -> None:
    phone, _ = await set_up(browser)
    known = site.directory.employees["marek"]
    before, after = Browser(site), Browser(site)
    first = await half_way(before)
    site.directory.employees["marek"] = replace(known, groups=(*known.groups, "cn=new,dc=example"))
    second = await half_way(after)
    assert (await enter(before, first, phone.code())).status == 303
    site.now += 30
    assert (await enter(after, second, phone.code())).status == 303
    found = {each.groups for each in await site.ledger.sessions("marek")}
    assert found == {known.groups, (*known.groups, "cn=new,dc=example")}


async def test_what_cannot_be_a_code_is_no_try(browser: Browser, site: PortalSite) -> None:
    await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    for typed in ("", "12345", "1234567", "abcdef", "\uff11\uff12\uff13\uff14\uff15\uff16"):
        assert (await enter(other, page, typed)).status == 422
    assert (await enter(other, page, "123456")).status == 401


# --- what is kept, and what happens when it is lost


async def test_what_lies_in_the_ledger_is_sealed(browser: Browser, site: PortalSite) -> None:
    phone, codes = await set_up(browser)
    factor = (await site.ledger.factor("marek")).factor
    assert factor is not None
    told = f"{factor}"
    assert phone.secret not in told
    assert not any(code.replace("-", "") in told for code in codes)
    assert site.factors.unseal(factor.sealed, "marek", factor.id) == phone.secret


async def test_a_factor_put_under_another_name_is_refused(
    browser: Browser, site: PortalSite
) -> None:
    """By somebody who can write to Redis, and has a factor of their own."""
    site.directory.employees["irena"] = employee("irena", "managers")
    await set_up(browser)
    phone, _ = await set_up(Browser(site), "irena")
    hers = (await site.ledger.factor("irena")).factor
    his = (await site.ledger.factor("marek")).factor
    assert hers is not None
    assert his is not None
    await site.ledger.reseal_factor("marek", his.id, hers.sealed)
    thief = Browser(site)
    answer = await enter(thief, await half_way(thief), phone.code())
    assert (answer.status, logged_in(thief)) == (503, False)


async def test_a_rotation_keeps_secrets_readable_and_seals_them_anew(
    browser: Browser, site: PortalSite
) -> None:
    phone, _ = await set_up(browser)
    before = (await site.ledger.factor("marek")).factor
    text = KeyRing.generate()
    ring = KeyRing.from_json(text)
    site.factors.replace(replace(ring, factors={**ring.factors, **site.ring.factors}))
    other = Browser(site)
    assert (await enter(other, await half_way(other), phone.code())).status == 303
    after = (await site.ledger.factor("marek")).factor
    assert before is not None
    assert after is not None
    assert before.sealed != after.sealed
    site.factors.replace(ring)
    site.now += 30
    third = Browser(site)
    assert (await enter(third, await half_way(third), phone.code())).status == 303
    site.factors.replace(KeyRing.from_json(promoted(prepared(KeyRing.generate()), 1)))
    site.now += 30
    fourth = Browser(site)
    page = await half_way(fourth)
    assert (await enter(fourth, page, phone.code())).status == 503, "a host with another ring"


async def test_a_ring_without_such_keys_lets_nobody_in(browser: Browser, site: PortalSite) -> None:
    site.factors.replace(replace(site.ring, factors={}))
    page = await half_way(browser)
    assert (page.status, logged_in(browser)) == (503, False)


@pytest.mark.parametrize("portal_ledger", ["memory"], indirect=True)
async def test_while_the_ledger_is_away_or_learning_nobody_gets_in(
    browser: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    phone, codes = await set_up(browser)
    other = Browser(site)
    page = await half_way(other)
    ledger.learn()
    for code, field in ((phone.code(), "code"), (codes[0], "recovery")):
        answer = await enter(other, page, code, field)
        assert (answer.status, logged_in(other)) == (503, False)
        assert "could not be completed" in answer.text
    third = Browser(site)
    assert (await half_way(third)).status == 503
    ledger.learn(False)
    ledger.away = True
    answer = await enter(other, page, phone.code())
    assert (answer.status, logged_in(other)) == (503, False)
    ledger.away = False
    assert (await enter(other, page, phone.code())).status == 303, "none of it was a try"


@pytest.mark.parametrize("portal_ledger", ["memory"], indirect=True)
async def test_after_lost_memory_the_password_alone_sets_up_nothing(
    browser: Browser, site: PortalSite, ledger: PortalLedger
) -> None:
    await set_up(browser)
    ledger.lose_memory()
    ledger.limit(100)
    ledger.learn(False)
    thief = Browser(site)
    page = await half_way(thief)
    assert (page.status, logged_in(thief)) == (403, False)


@pytest.mark.parametrize("portal_ledger", ["memory"], indirect=True)
async def test_the_recovery_codes_are_shown_even_when_the_session_fails(
    browser: Browser, site: PortalSite, ledger: PortalLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await half_way(browser)

    async def away(*_: object, **__: object) -> None:
        raise LedgerAway("down")

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "put_session", away)
        done = await enter(browser, page, Phone(site, page).code())
    assert len(shown_codes(done)) == 10
    assert not logged_in(browser)
    assert site.outcomes[-1] == "ledger_away"


async def test_on_two_hosts_at_once_a_code_lets_one_in(redis_url: str) -> None:
    """Two portals, each with a ledger client of its own, on one Redis."""
    async with AsyncExitStack() as stack:
        sites = []
        for number in range(2):
            client = await redis_ledger(redis_url)
            stack.push_async_callback(client.close)
            if number == 0:
                await client.publish(limits_document(seats=100), if_match=0, first_start=True)
                await client.open_enrolment(DAY)
            sites.append(await stack.enter_async_context(PortalSite(client, factor=RULES)))
        first, second = sites
        second.ring = first.ring
        second.tokens.replace(first.ring)
        second.factors.replace(first.ring)
        phone, codes = await set_up(Browser(first))
        second.now = first.now
        browsers = [Browser(site) for site in (first, second) for _ in range(2)]
        pages = [await half_way(browser) for browser in browsers]
        for code, field in ((phone.code(), "code"), (codes[0], "recovery")):
            answers = await asyncio.gather(
                *(enter(b, p, code, field) for b, p in zip(browsers, pages, strict=True))
            )
            assert sum(answer.status == 303 for answer in answers) == 1
            # who got in would be told "late" the second time, whatever the code
            in_now = next(n for n, answer in enumerate(answers) if answer.status == 303)
            del browsers[in_now], pages[in_now]


async def test_the_pages_are_small_and_strict(browser: Browser, site: PortalSite) -> None:
    enrol = await half_way(browser)
    done = await enter(browser, enrol, Phone(site, enrol).code())
    ask = await half_way(Browser(site))
    for page in (enrol, done, ask):
        assert len(page.text.encode()) < 30 * 1024
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script" not in page.text
        assert "style=" not in page.text
    assert 'autocomplete="one-time-code"' in ask.text
    assert 'inputmode="numeric"' in ask.text


def test_the_phone_of_these_tests_is_one_of_others() -> None:
    """RFC 6238, appendix B: the last six of the eight digits there."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert pyotp.TOTP(secret).at(59) == "287082"
    ring = KeyRing.from_json(KeyRing.generate())
    assert Factors(ring, "test", lambda: 59.0).matching_step(secret, "287082") == 1
