"""Every page that employees can meet, brought about one by one in a real browser.

For what must hold on all of them (no barriers, no page that sticks out) and for looking at them:

    python -m tests.support.portal_pages FOLDER    # screenshots, phone and desktop, light and dark
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp

from broker.errors import AccountRefused, Busy, DirectoryAway, PasswordExpired, TooManyGuesses
from broker.gateway.answers import NO_SERVER, Answers
from broker.ledger.port import SyncReport
from broker.policy.second_factor import FactorRules
from tests.support.chromium import chromium_started
from tests.support.phone import set_up
from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import PASSWORD, Browser, PortalSite
from tests.support.portal_tls import free_socket, on_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playwright.async_api import Page

PHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"
WORK = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36 Edg/120.0"


@dataclass
class Scene:
    """A new site and an empty browser."""

    page: Page
    site: PortalSite
    ledger: PortalLedger

    async def fill_in(self, username: str, password: str = PASSWORD) -> None:
        await self.page.fill("#username", username)
        await self.page.fill("#password", password)
        async with self.page.expect_navigation():
            await self.page.press("#password", "Enter")
        await self.page.wait_for_load_state()

    async def log_in(self, username: str = "aminata", path: str = "/news?page=2") -> None:
        await self.page.goto(self.site.feed + path)
        await self.fill_in(username)

    async def home(self, username: str = "aminata") -> None:
        await self.page.goto(f"{self.site.home}/.broker/login")
        await self.fill_in(username)

    async def send_form(self, origin: str, to: str = "", path: str = "/comment") -> None:
        """A form of an application, sent to it or to another origin."""
        await self.page.goto(f"{origin}/.broker/jwks.json")  # any address of that origin
        address = (to or origin) + path
        await self.page.set_content(f'<form method="post" action="{address}"><input></form>')
        async with self.page.expect_navigation():
            await self.page.locator("form").evaluate("form => form.submit()")

    async def enter_code(self) -> None:
        secret = (await self.page.locator("#key").inner_text()).replace(" ", "")
        await self.page.fill("#code", pyotp.TOTP(secret).at(int(self.site.now)))
        async with self.page.expect_navigation():
            await self.page.press("#code", "Enter")

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):  # ledger time goes on by at most a second a call
            self.ledger.wall_ms += 1000
            self.ledger._call()


async def login(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.feed}/news")


async def login_at_home(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.home}/.broker/login?out=all")


async def login_again(scene: Scene) -> None:
    await scene.home()
    scene.pass_time(42_000)
    await scene.page.goto(f"{scene.site.home}/.broker/login?again=1")


def failing(error: Exception) -> Callable[[Scene], Awaitable[None]]:
    async def bring(scene: Scene) -> None:
        await scene.page.goto(f"{scene.site.feed}/news")
        scene.site.directory.fails = error
        await scene.fill_in("aminata")

    return bring


async def wrong_password(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.feed}/news")
    await scene.fill_in("aminata", "wrong")


async def password_refused(scene: Scene) -> None:
    await failing(PasswordExpired("expired", may_change=True))(scene)
    await scene.page.fill("#password", PASSWORD)
    for field in ("#new", "#again"):
        await scene.page.fill(field, "short")
    async with scene.page.expect_navigation():
        await scene.page.press("#again", "Enter")


async def me(scene: Scene) -> None:
    """Three browsers; a seat."""
    for agent, address in ((PHONE, "2001:db8:85a3::8a2e:370:7334"), (WORK, "198.51.100.9")):
        other = Browser(scene.site)
        scene.site.address = address
        page = await other.visit(f"{scene.site.home}/")
        await other.fill_in(page, "aminata", User_Agent=agent)
        scene.pass_time(1500)
    scene.site.address = "192.0.2.7"
    used = scene.ledger.session_records()[0].id
    await scene.ledger.sync(SyncReport("w", 1, "", sessions_used=(used,)))
    await scene.home()


async def me_alone(scene: Scene) -> None:
    await scene.home()
    await scene.ledger.release("aminata")
    scene.pass_time(41_000)
    await scene.page.reload()


async def factor_set_up(scene: Scene) -> None:
    await scene.ledger.open_enrolment(86_400_000)
    await scene.home("marek")


async def factor_recovery_codes(scene: Scene) -> None:
    await factor_set_up(scene)
    await scene.enter_code()


async def factor_code(scene: Scene) -> None:
    browser = Browser(scene.site)
    await scene.ledger.open_enrolment(86_400_000)
    await set_up(browser)
    await scene.home("marek")


async def factor_wrong_recovery_code(scene: Scene) -> None:
    await factor_code(scene)
    await scene.page.locator("summary").click()
    await scene.page.fill("#recovery", "AAAA-AAAA-AAAA")
    async with scene.page.expect_navigation():
        await scene.page.press("#recovery", "Enter")


async def me_with_a_factor(scene: Scene) -> None:
    await factor_recovery_codes(scene)
    await scene.page.goto(f"{scene.site.home}/.broker/me")


async def me_not_admitted(scene: Scene) -> None:
    await scene.home("odile")


async def waiting(scene: Scene) -> None:
    await scene.ledger.wait_first(41)
    await scene.log_in()


async def learning(scene: Scene) -> None:
    await scene.log_in()
    await scene.ledger.release("aminata")
    scene.ledger.learn()
    await scene.page.goto(f"{scene.site.feed}/")


async def not_admitted(scene: Scene) -> None:
    await scene.log_in("odile")


async def no_population(scene: Scene) -> None:
    await scene.log_in("extern")


async def body_lost(scene: Scene) -> None:
    await scene.log_in()
    await scene.ledger.release("aminata")
    scene.ledger.limit(0)
    await scene.send_form(scene.site.feed)


async def body_lost_by_a_stranger(scene: Scene) -> None:
    await scene.send_form(scene.site.feed)


async def seat_ready(scene: Scene) -> None:
    await scene.log_in()
    await scene.page.goto(f"{scene.site.feed}/.broker/wait?keep=1")


async def log_out(scene: Scene) -> None:
    await scene.log_in()
    await scene.page.goto(f"{scene.site.feed}/.broker/logout")


async def logged_out_already(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.feed}/.broker/logout")


async def link_used(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.feed}/.broker/landing?code=x")


async def nothing_here(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.home}/nothing")


async def not_allowed(scene: Scene) -> None:
    """A logout from elsewhere."""
    await scene.log_in()
    await scene.send_form(scene.site.feed, scene.site.home, "/.broker/logout")


async def ledger_away(scene: Scene) -> None:
    await scene.page.goto(f"{scene.site.home}/.broker/login")
    scene.ledger.away = True
    await scene.page.goto(f"{scene.site.feed}/news")


async def gateways_own(scene: Scene) -> None:
    """What the gateway says itself when a server does not answer."""
    whole = Answers().answer(NO_SERVER, page=True, accept_language=b"en", here=b"/news", close=True)
    await scene.page.set_content(whole.partition(b"\r\n\r\n")[2].decode())


PLAN: dict[str, Any] = {"password_change": True, "factor": FactorRules(("managers",))}
PAGES: dict[str, Callable[[Scene], Awaitable[None]]] = {
    "login": login,
    "login-logged-out": login_at_home,
    "login-again": login_again,
    "login-wrong-password": wrong_password,
    "login-busy": failing(Busy("all places are taken")),
    "login-directory-away": failing(DirectoryAway("no server")),
    "login-banned": failing(TooManyGuesses("pair", seconds=600)),
    "login-locked": failing(AccountRefused("775", "locked")),
    "password-expired": failing(PasswordExpired("expired", may_change=True)),
    "password-expired-no-change": failing(PasswordExpired("expired", may_change=False)),
    "password-refused": password_refused,
    "me": me,
    "me-alone-ending": me_alone,
    "me-not-admitted": me_not_admitted,
    "factor-set-up": factor_set_up,
    "factor-recovery-codes": factor_recovery_codes,
    "factor-code": factor_code,
    "factor-wrong-recovery-code": factor_wrong_recovery_code,
    "me-with-a-factor": me_with_a_factor,
    "waiting": waiting,
    "learning": learning,
    "not-admitted": not_admitted,
    "no-population": no_population,
    "body-lost": body_lost,
    "body-lost-stranger": body_lost_by_a_stranger,
    "seat-ready": seat_ready,
    "logout": log_out,
    "logout-nobody": logged_out_already,
    "link-used": link_used,
    "error-404": nothing_here,
    "error-403": not_allowed,
    "error-503": ledger_away,
    "gateway-502": gateways_own,
}


async def shoot(folder: Path, wanted: list[str]) -> None:
    """Screenshots of all pages, or of those named."""
    async with chromium_started() as chromium:
        for name, bring in PAGES.items():
            if wanted and name not in wanted:
                continue
            bound = free_socket()
            ledger = PortalLedger()
            site = PortalSite(ledger, ports=bound.getsockname()[1], **PLAN)
            async with site, on_tls(site, bound):
                context = await chromium.new_context(ignore_https_errors=True, locale="en-GB")
                page = await context.new_page()
                await bring(Scene(page, site, ledger))
                for width, kind in ((390, "phone"), (1280, "desktop")):
                    await page.set_viewport_size({"width": width, "height": 800})
                    for scheme in ("light", "dark"):
                        await page.emulate_media(color_scheme=scheme)
                        await page.screenshot(
                            path=folder / f"{name}-{kind}-{scheme}.png", full_page=True
                        )
                await context.close()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(shoot(Path(sys.argv[1]), sys.argv[2:]))
