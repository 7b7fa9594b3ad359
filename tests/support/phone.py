"""An authenticator app, and what employees do with it on the pages of the second factor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyotp

from tests.support.portal_site import PASSWORD, Answer, Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import Sequence


class Phone:
    """Holds one secret, typed in from the page. ``drift``: seconds by which its clock is wrong."""

    def __init__(self, site: PortalSite, page: Answer) -> None:
        match = re.search(r'<code class="key" id="key">([A-Z2-7 ]+)</code>', page.text)
        assert match, page.text
        self.site = site
        self.secret = match[1].replace(" ", "")
        self.drift = 0.0

    def code(self) -> str:
        return pyotp.TOTP(self.secret).at(int(self.site.now + self.drift))


async def half_way(
    browser: Browser, username: str = "marek", url: str = "", password: str = PASSWORD
) -> Answer:
    """The page after the right password."""
    form = await browser.visit(url or f"{browser.site.home}/.broker/login")
    return await browser.follow(await browser.fill_in(form, username, password))


async def enter(browser: Browser, page: Answer, code: str, field: str = "code") -> Answer:
    """No redirect followed."""
    form = {"csrf": page.hidden("csrf"), field: code}
    return await browser.post(f"{browser.site.home}/.broker/factor", form)


def shown_codes(page: Answer) -> Sequence[str]:
    return re.findall(r"<li><code>([A-Z2-7-]+)</code></li>", page.text)


async def set_up(browser: Browser, username: str = "marek") -> tuple[Phone, Sequence[str]]:
    """From a stranger's login to a session; the phone and the recovery codes. Time passes, so that
    the next code is another one."""
    page = await half_way(browser, username)
    phone = Phone(browser.site, page)
    codes = shown_codes(await enter(browser, page, phone.code()))
    assert len(codes) == 10
    browser.site.now += 30
    return phone, codes
