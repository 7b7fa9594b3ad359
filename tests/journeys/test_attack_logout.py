"""A logout ends the session it travels on: its own answer must still arrive."""

from __future__ import annotations

import pytest

from tests.support.stage import FEED, HOME, Stage, get

REDIRECT = (
    b"HTTP/1.1 303 See Other\r\nLocation: https://home.test:8443/.broker/login?out=1\r\n"
    b"Set-Cookie: __Host-broker=; Path=/; Max-Age=0; Secure\r\nContent-Length: 0\r\n\r\n"
)


@pytest.mark.parametrize("host", [HOME, FEED])
@pytest.mark.parametrize("path", ["/.broker/logout", "/.broker/login"])
async def test_the_portal_s_answer_outlives_the_session(host: bytes, path: str) -> None:
    """The revocation comes by the ledger and may be here before the portal's answer is: the portal
    knows of it, it is its doing. (A login in a browser that is logged in ends the old session.)"""
    if host == FEED and path == "/.broker/login":
        pytest.skip("home only")
    async with Stage() as stage:
        cookie = stage.sessions.log_in("ada", host=host)
        browser = await stage.browser()
        await browser.send(get(path, "Content-Length: 0", cookie=cookie, host=host, method="POST"))
        portal = await stage.portal.connection()
        await portal.head()
        stage.sessions.revoke(cookie, host)
        await portal.send(REDIRECT)
        status, fields, _ = await browser.response()
        assert status == 303
        assert fields[b"set-cookie"].startswith(b"__Host-broker=;")
