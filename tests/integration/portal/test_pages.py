"""What every answer of the portal has in common: the assertion, headers, languages, size, style."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from multidict import CIMultiDict

from tests.support.portal_site import FEED, HOME, WIKI, Answer, Browser, PortalSite

if TYPE_CHECKING:
    from pathlib import Path

    from broker.directory.port import Employee
    from tests.support.portal_ledger import PortalLedger

LARGEST_PAGE = 30 * 1024


async def every_page(browser: Browser, ledger: PortalLedger) -> list[Answer]:
    """One of each."""
    pages = [await browser.visit(f"{FEED}/")]
    pages.append(await browser.fill_in(pages[0], "aminata", "no"))
    await browser.fill_in(pages[0], "odile")
    pages.append(await browser.visit(f"{FEED}/"))
    pages.append(await browser.visit(f"{HOME}/"))
    pages.append(await browser.post(f"{FEED}/x", {}))
    ledger.limit(0)
    await browser.follow(await browser.fill_in(pages[0], "aminata"))
    pages.append(await browser.visit(f"{FEED}/"))
    pages.append(await browser.post(f"{FEED}/x", {}))
    ledger.learn()
    pages.append(await browser.visit(f"{FEED}/"))
    ledger.learn(False)
    pages.append(await browser.get(f"{FEED}/.broker/wait"))
    ledger.limit(1)
    pages.append(await browser.get(f"{FEED}/.broker/wait?keep=1"))
    pages.append(await browser.get(f"{FEED}/.broker/logout"))
    pages.append(await browser.get(f"{FEED}/.broker/landing?code=x"))
    pages.append(await browser.visit(f"{HOME}/"))
    pages.append(await browser.get(f"{HOME}/nothing"))
    pages.append(await browser.request("PUT", f"{HOME}/.broker/me"))
    return pages


@pytest.mark.parametrize("language", ["en", "fr", "pl"])
async def test_every_page_keeps_the_rules(
    site: PortalSite, ledger: PortalLedger, language: str
) -> None:
    pages = await every_page(Browser(site, language), ledger)
    assert {page.status for page in pages} == {200, 400, 401, 403, 404, 405, 503}
    for page in pages:
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert f"form-action 'self' {HOME} {FEED} {WIKI};" in policy
        assert page.headers["Cache-Control"] == "no-store"
        assert page.headers["Referrer-Policy"] == "same-origin"
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        assert page.headers["Content-Language"] == language
        assert f'<html lang="{language}">' in page.text
        assert "Strict-Transport-Security" not in page.headers
        assert page.headers["Server"] == "broker"
        assert len(page.text.encode()) < LARGEST_PAGE
        scripts = re.findall(r"<script[^>]*>", page.text)
        assert all(re.fullmatch(r'<script src="[^"]+" defer>', script) for script in scripts)
        assert "style=" not in page.text
        assert page.visible.count("<h1>") == 1
        assert "Example &amp; Sons" in page.text
        sources = re.findall(r'(?:src|<link rel="stylesheet" href)="([^"]*)"', page.text)
        assert all(source.startswith("/.broker/static/") for source in sources)


async def test_redirects_are_not_kept_and_tell_no_address(browser: Browser) -> None:
    answer = await browser.get(f"{FEED}/secret")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/", "/.broker/login", "/.broker/page/enter", "/nothing"])
async def test_nothing_without_an_assertion(site: PortalSite, path: str) -> None:
    for headers in (
        {},
        {"X-Broker-Assertion": "x.y.z"},
        {"X-Broker-Assertion": site.tokens.portal_assertion({"host": "evil.example"})},
        {"X-Broker-Assertion": site.tokens.assertion("aminata", "s", "sales", (), "portal")},
    ):
        async with site.client.get(path, headers=headers, allow_redirects=False) as response:
            assert response.status == 403
            assert "Set-Cookie" not in response.headers


async def test_an_old_assertion_is_none(site: PortalSite) -> None:
    signed = site.tokens.portal_assertion({"host": "localhost:8443", "method": "GET"})
    site.now += 60
    async with site.client.get("/.broker/login", headers={"X-Broker-Assertion": signed}) as answer:
        assert answer.status == 403


async def test_the_style_sheet_is_kept_for_ever_under_its_name_only(browser: Browser) -> None:
    page = await browser.get(f"{HOME}/.broker/login")
    match = re.search(r'<link rel="stylesheet" href="([^"]+)"', page.text)
    assert match
    style = await browser.get(HOME + match[1])
    assert style.status == 200
    assert style.headers["Content-Type"].startswith("text/css")
    assert "immutable" in style.headers["Cache-Control"]
    assert "#2457c5" in style.text
    assert "$" not in style.text.replace("$:", "")
    assert "url(" not in style.text
    other = await browser.get(f"{HOME}/.broker/static/portal.0.css")
    assert other.headers["Cache-Control"] == "no-store"


async def test_the_key_set_is_public_and_holds_no_secret(browser: Browser) -> None:
    for host in (HOME, FEED):
        answer = await browser.get(f"{host}/.broker/jwks.json")
        assert answer.status == 200
        assert '"kid"' in answer.text
        assert '"d"' not in answer.text
        assert "max-age=300" in answer.headers["Cache-Control"]


async def test_the_language_switch_is_remembered(browser: Browser) -> None:
    page = await browser.get(f"{HOME}/.broker/login")
    assert "/.broker/login?lang=pl" in page.text
    assert "Zaloguj" in (await browser.get(f"{HOME}/.broker/login?lang=pl")).text
    assert "Zaloguj" in (await browser.get(f"{HOME}/.broker/login")).text
    assert (await browser.get(f"{HOME}/.broker/login?lang=xx")).cookie("__Host-broker-lang") is None
    assert "Se connecter" in (await browser.get(f"{HOME}/.broker/login?lang=fr")).text


async def test_a_lang_of_the_application_is_not_ours(browser: Browser) -> None:
    """``/news?lang=pl`` belongs to the application, also while the login stands in its place."""
    answer = await browser.get(f"{FEED}/news?lang=pl")
    assert answer.cookie("__Host-broker-lang") is None


async def test_names_out_of_the_directory_are_escaped(site: PortalSite, browser: Browser) -> None:
    from tests.support.portal_site import employee

    site.directory.employees["eve"] = employee("eve", "sales", '<img src="x" onerror=alert(1)>')
    page = await browser.log_in("eve")
    assert "<img" not in page.text
    assert "&lt;img" in page.text


async def test_a_pale_colour_and_a_long_name_do_no_harm(ledger: PortalLedger) -> None:
    company = "Towarzystwo <Przykład> " * 8
    async with PortalSite(ledger, company=company, color="#fff3b0") as site:
        page = await Browser(site).get(f"{site.home}/.broker/login")
        assert page.status == 200
        assert "<Przykład>" not in page.text


async def test_not_admitted_is_told_whoever_finds_out(site: PortalSite) -> None:
    """In place of the wanted page and in the waiting room: the page is the same."""
    claims = {"host": "feed.localhost:8443", "sub": "odile", "sid": "s", "pop": "everyone"}
    for path in ("/.broker/page/not-admitted", "/.broker/wait"):
        place = {"state": "not_admitted", "population": "everyone"}
        stated = claims | {"page": path.rpartition("page/")[2], "wait": place}
        answer = await site.ask(f"{FEED}/", "GET", path, stated, CIMultiDict())
        assert answer.status == 403
        assert "<b>everyone</b>" in answer.text


async def test_internal_pages_need_somebody(site: PortalSite) -> None:
    claims = {"host": "feed.localhost:8443"}
    for page in ("wait", "not-admitted"):
        answer = await site.ask(
            f"{FEED}/", "GET", f"/.broker/page/{page}", claims | {"page": page}, CIMultiDict()
        )
        assert answer.status == 403


async def test_a_browser_that_leaves_in_the_middle_of_a_form_is_no_fault_of_ours(
    ledger: PortalLedger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Served as in production: aiohttp's test server cancels handlers, a runner does not."""
    caplog.set_level("DEBUG")
    site = PortalSite(ledger)
    runner = web.AppRunner(site.portal.app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, str(tmp_path / "portal")).start()
        claims = {"host": HOME.removeprefix("https://"), "method": "POST"}
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "portal"))
        writer.write(
            b"POST /.broker/login HTTP/1.1\r\nHost: portal\r\nContent-Length: 500\r\n"
            b"Sec-Fetch-Site: same-origin\r\nX-Broker-Assertion: "
            + site.tokens.portal_assertion(claims).encode()
            + b"\r\n\r\nusername=amin"
        )
        async with asyncio.timeout(10):
            while not runner.server or runner.server.requests_count == 0:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while not any("the browser has left" in record.message for record in caplog.records):
                await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_broken_connection_behind_the_portal_is_a_failure_and_logged(
    site: PortalSite,
    browser: Browser,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(username: str, password: str) -> Employee:
        raise ConnectionResetError("not the browser's")

    form = await browser.visit(f"{FEED}/")
    monkeypatch.setattr(site.directory, "login", breaks)
    assert (await browser.fill_in(form, "aminata")).status == 500
    assert "a page of the portal failed" in caplog.text
