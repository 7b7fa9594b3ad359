"""The second factor on the whole demo: Redis, LDAP, gateway, portal, admin and command line.

The account that READY names sets one up on its way to the feed; then operations look at it, keys
are rotated, a recovery code is used, the factor is reset.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyotp
import pytest

from tests.support.running_demo import CHECKOUT, RunningDemo, command, running_demo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.demo.browser import Browser
    from broker.demo.pages import Page


@pytest.fixture(scope="module")
def demo() -> Iterator[RunningDemo]:
    with (
        tempfile.TemporaryDirectory(prefix="demo") as folder,
        running_demo(Path(folder), seats=10, workers=2) as running,
    ):
        yield running


async def broker(demo: RunningDemo, *words: object) -> str:
    known: dict[str, Any] = demo.known
    process = await asyncio.create_subprocess_exec(
        *command(*words),
        cwd=CHECKOUT,
        env={
            **os.environ,
            "BROKER_ADMIN_URL": known["admin"],
            "BROKER_ADMIN_TOKEN": known["admin_token"],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def entered(browser: Browser, page: Page, **field: str) -> Page:
    address = page.form_address()
    assert address is not None
    return await browser.navigate(address, {**page.hidden(), **field})


async def test_from_the_first_login_to_a_reset(demo: RunningDemo) -> None:
    who, password = demo.person("second_factor"), demo.known["password"]
    home, feed = demo.known["home"], demo.known["apps"]["feed"]
    async with demo.browser() as (browser, _):
        page = await browser.log_in(who, password)
        assert page.url == f"{home}/.broker/factor"
        assert "data:image/svg+xml" in page.text
        # The password alone opens no door.
        assert (await browser.navigate(f"{feed}/")).asks_for_login
        assert (await browser.navigate(f"{home}/.broker/me")).asks_for_login
        page = await browser.log_in(who, password)
        found = re.search(r'id="key">([A-Z2-7 ]+)<', page.text)
        assert found
        totp = pyotp.TOTP(found[1].replace(" ", ""))
        done = await entered(browser, page, code=totp.now())
        codes = re.findall(r"<li><code>([A-Z2-7-]+)</code>", done.text)
        assert len(codes) == 10
        onward = re.search(r'class="button" href="([^"]+)"', done.text)
        assert onward
        page = await browser.navigate(home + onward[1])
        assert page.url == f"{feed}/"
        page = page if page.status == 200 else await browser.wait_for_a_seat()
        assert page.outcome == "seated"
    assert "and 10 recovery codes" in await broker(demo, "factors", "show", who)
    assert '"factor": "totp"' in await broker(demo, "sessions", "list", who, "--json")

    await broker(demo, "keys", "rotate", demo.state / "keys.json", "--yes")
    checked = await broker(demo, "check", "-c", demo.state / "broker.yaml")
    assert "Redis is fit to be the ledger" in checked
    async with demo.browser() as (browser, _):
        page = await browser.log_in(who, password)
        used = await entered(browser, page, code="000000")
        assert (used.status, "not right" in used.text) == (401, True)
        # With the new keys, and from another process, the sealed secret is still read.
        fresh = await entered(browser, page, code=totp.at(int(time.time()) + 30))
        assert fresh.status in (200, 503), fresh.text
        assert fresh.url in (f"{feed}/", f"{feed}/.broker/wait")
    async with demo.browser() as (browser, _):
        page = await browser.log_in(who, password)
        page = await entered(browser, page, recovery=codes[0])
        assert page.url == f"{feed}/"
    assert "and 9 recovery codes" in await broker(demo, "factors", "show", who)

    told = await broker(demo, "factors", "reset", who, "--yes")
    assert "may set one up for 24 h" in told
    assert "second factor of" in await broker(demo, "audit")
    async with demo.browser() as (browser, _):
        page = await browser.log_in(who, password)
        assert 'id="key"' in page.text
        assert found[1] not in page.text


async def test_a_reload_says_who_needs_one_and_where_not(demo: RunningDemo) -> None:
    """A manager, from a network that is excepted, which then is not any more; and one who was
    logged in before managers needed one."""
    file = demo.state / "broker.yaml"
    before = file.read_text("utf-8")
    asked = "second_factor:\n  populations: [managers]\n"
    excepted = asked + "  except_from: ['127.0.0.0/8', '::1']\n"
    feed, home = demo.known["apps"]["feed"], demo.known["home"]
    early, inside = demo.person("managers", 0), demo.person("managers", 1)
    try:
        async with demo.browser() as (browser, _), demo.browser() as (other, _):
            assert (await demo.enter(browser, early)).outcome == "seated"
            file.write_text(before.replace("second_factor:\n", excepted), "utf-8")
            await broker(demo, "reload")
            assert (await demo.enter(other, inside)).outcome == "seated"
            assert '"factor": "excepted"' in await broker(
                demo, "sessions", "list", inside, "--json"
            )
            assert (await other.navigate(f"{feed}/")).url == f"{feed}/"

            file.write_text(before.replace("second_factor:\n", asked), "utf-8")
            await broker(demo, "reload")
            page = await other.navigate(f"{feed}/")
            assert page.asks_for_login, "the gateway takes it in that network only"
            assert (await other.log_in(inside, demo.known["password"])).url.startswith(
                f"{home}/.broker/factor"
            )
            await broker(demo, "sessions", "refresh", early)
            async with asyncio.timeout(30):
                while "is not logged in" not in await broker(demo, "sessions", "list", early):
                    await asyncio.sleep(0.1)
    finally:
        file.write_text(before, "utf-8")
        await broker(demo, "reload")


async def test_nobody_else_is_asked(demo: RunningDemo) -> None:
    async with demo.browser() as (browser, _):
        page = await browser.log_in(demo.person("sales"), demo.known["password"])
        assert page.url == f"{demo.known['apps']['feed']}/"
