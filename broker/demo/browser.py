"""One employee's browser, as far as the demo needs one: cookies, redirects, the login form, the
waiting room, pages with their assets, the live WebSocket.

It goes through the real pages and knows nothing of the broker's inside. Also used by tests; time
and chance are the caller's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from broker.demo.pages import AT_A_TIME, NAVIGATION, Page

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


AGENT = {"User-Agent": "demo-arrive"}


class Browser:
    """``app`` is the origin of the application it works in (``https://feed.localhost:8443``)."""

    def __init__(self, session: aiohttp.ClientSession, app: str) -> None:
        self._session = session
        self._app = app
        self._cache: set[str] = set()

    async def navigate(self, url: str, form: dict[str, str] | None = None) -> Page:
        """GET, or POST a form, and follow redirects as a browser does."""
        headers = NAVIGATION | AGENT
        method = "GET"
        if form is not None:
            method = "POST"
            headers["Origin"] = "/".join(url.split("/", 3)[:3])
            headers["Sec-Fetch-Site"] = "same-origin"
        async with self._session.request(method, url, data=form, headers=headers) as answer:
            wait = answer.headers.get("Retry-After", "")
            return Page(
                str(answer.url),
                answer.status,
                await answer.text(errors="replace"),
                float(wait) if wait.isdigit() else None,
            )

    async def log_in(self, username: str, password: str) -> Page:
        """From a click on the application to whatever comes behind the login form; the form again
        when the password is wrong."""
        page = await self.navigate(f"{self._app}/")
        address = page.form_address()
        if page.outcome != "login" or address is None:
            return page
        return await self.navigate(
            address, {**page.hidden(), "username": username, "password": password}
        )

    async def wait_for_a_seat(self) -> Page:
        """Poll as politely as asked, and enter when called."""
        while True:
            status = await self._status()
            if status.get("state") in ("called", "seated", "not_admitted", "none", "gone"):
                page = await self.navigate(f"{self._app}/")
                if page.outcome != "waiting":
                    return page
            await asyncio.sleep(float(status.get("poll_seconds") or 3.0))

    async def view(self, path: str = "/") -> tuple[Page, int]:
        """A page with those of its assets that are not in the cache, six at a time. Returns the
        page and how many requests failed (the page included)."""
        page = await self.navigate(self._app + path)
        if page.outcome != "seated":
            return page, 1
        wanted = [url for url in page.assets() if url not in self._cache]
        gate = asyncio.Semaphore(AT_A_TIME)

        async def fetch(url: str) -> bool:
            async with gate, self._session.get(url, headers={"Sec-Fetch-Mode": "no-cors"}) as got:
                await got.read()
                if got.status == 200:
                    self._cache.add(url)
                return got.status == 200

        fetched = await asyncio.gather(*(fetch(url) for url in wanted))
        return page, fetched.count(False)

    async def listen(self) -> AsyncGenerator[str]:
        """The texts that come over the live WebSocket, until it closes."""
        headers = {"Origin": self._app}
        async with self._session.ws_connect(f"{self._app}/live", headers=headers) as live:
            async for message in live:
                if message.type is aiohttp.WSMsgType.TEXT:
                    yield message.data

    async def log_out(self) -> Page:
        return await self.navigate(f"{self._app}/.broker/logout", {})

    async def _status(self) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Sec-Fetch-Mode": "cors"}
        async with self._session.get(f"{self._app}/.broker/wait/status", headers=headers) as answer:
            if answer.status == 200:
                found: dict[str, Any] = await answer.json()
                return found
            if answer.status == 401:
                return {"state": "gone"}
            wait = answer.headers.get("Retry-After", "")
            return {"poll_seconds": float(wait) if wait.isdigit() else 3.0}
