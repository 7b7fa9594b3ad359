"""One employee's browser in green threads: cookies, cache, redirects, six kept connections a host.

HTTP by Locust's FastHttpUser client, which notes every request; the live WebSocket by
websocket-client over the same trust. Redirects are followed here, one request each, so that every
step of a login has a name of its own.
"""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit

import gevent.socket
import websocket
from gevent.pool import Pool

from broker.demo import pages
from broker.demo.pages import AT_A_TIME, NAVIGATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from locust.contrib.fasthttp import FastHttpSession

REDIRECTS = 12
#: Statuses that are an answer, not an error: waiting rooms, refusals, forms sent back.
SAID = frozenset((200, 204, 206, 302, 303, 304, 307, 308, 403, 503))


@dataclass(frozen=True, slots=True)
class Page(pages.Page):
    """``seconds``: of the navigation's last request alone; status 0: no answer."""

    seconds: float = 0.0


class Browser:
    """``session``: the user's own FastHttpSession."""

    def __init__(self, session: FastHttpSession, app: str, ca: str) -> None:
        self._session = session
        self._app = app
        self._ca = ca
        self._cache: set[str] = set()
        self._live: websocket.WebSocket | None = None
        # Not per request: assets are fetched side by side over one session.
        session.client.redirect_response_codes = frozenset()  # type: ignore[misc]

    def request(
        self,
        method: str,
        url: str,
        kind: str,
        *,
        headers: dict[str, str],
        body: Any = None,
        fine: frozenset[int] = SAID,
    ) -> Page:
        """One request, noted as ``kind``; an error when its status is not in ``fine``."""
        began = time.monotonic()
        with self._session.request(
            method, url, name=kind, data=body, headers=headers, catch_response=True
        ) as answer:
            seconds = time.monotonic() - began
            status = answer.status_code
            if status in fine:
                answer.success()
            elif status:
                answer.failure(f"{status} from {urlsplit(url).path or '/'}")
            found = answer.headers or {}
            kind_of_body = found.get("content-type") or ""
            readable = bool(status) and kind_of_body.startswith(("text/", "application/json"))
            where = found.get("location") or ""
            retry = found.get("retry-after") or ""
            return Page(
                urljoin(url, where) if 300 <= status < 400 else url,
                status,
                (answer.text or "") if readable else "",
                float(retry) if retry.isdigit() else None,
                seconds,
            )

    def navigate(
        self, url: str, kind: str, form: dict[str, str] | None = None, then: str = ""
    ) -> Page:
        """GET, or POST a form, and follow redirects. ``then``: what the requests after the first
        are called, ``kind`` when empty."""
        headers = dict(NAVIGATION)
        body = None
        method = "GET"
        if form is not None:
            method, body = "POST", urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["Origin"] = "/".join(url.split("/", 3)[:3])
            headers["Sec-Fetch-Site"] = "same-origin"
        page = self.request(method, url, kind, headers=headers, body=body)
        for _ in range(REDIRECTS):
            if not 300 <= page.status < 400 or page.status == 304:
                return page
            page = self.request("GET", page.url, then or kind, headers=dict(NAVIGATION))
        return Page(page.url, 0, "", seconds=page.seconds)

    def assets(self, page: Page, requests: int, warm: int) -> int:
        """What the page needs and the cache has not, six at a time; then as many revalidations as
        make up ``requests`` (for an empty cache) or ``warm`` in all. Returns how many failed."""
        every = list(page.assets())
        fresh = [url for url in every if url not in self._cache]
        wanted = requests if len(fresh) > len(every) / 2 else warm
        again = [url for url in every if url in self._cache]
        urls = fresh + again[: max(0, wanted - 1 - len(fresh))]

        def fetch(url: str) -> bool:
            got = self.request(
                "GET", url, "asset", headers={"Sec-Fetch-Mode": "no-cors", "Referer": page.url}
                , fine=frozenset((200, 304)),
            )  # fmt: skip
            if got.status == 200:
                self._cache.add(url)
            return got.status in (200, 304)

        return list(Pool(AT_A_TIME).imap_unordered(fetch, urls)).count(False)

    def wait_status(self) -> Page:
        headers = {"Accept": "application/json", "Sec-Fetch-Mode": "cors"}
        return self.request("GET", f"{self._app}/.broker/wait/status", "wait status",
                            headers=headers, fine=frozenset((200,)))  # fmt: skip

    # --- the live WebSocket

    def listen(self, path: str, heard: Callable[[str], None]) -> None:
        """Opens it and calls ``heard`` for each message until somebody closes it. Raises OSError
        or websocket.WebSocketException."""
        parts = urlsplit(self._app)
        cookies = "; ".join(
            f"{cookie.name}={cookie.value}"
            for cookie in self._session.cookiejar
            if cookie.domain == parts.hostname
        )
        live = websocket.WebSocket(sslopt={"context": trust(self._ca)}, enable_multithread=False)
        self._live = live
        try:
            live.connect(
                f"wss://{parts.netloc}{path}", origin=self._app, cookie=cookies, timeout=30
            )
            while True:
                text = live.recv()
                if not text:
                    return
                heard(str(text))
        except ValueError as gone:  # of gevent, when the socket was closed under a reader
            raise ConnectionAbortedError(str(gone)) from gone
        finally:
            self._live = None
            live.shutdown()

    def cut(self) -> None:
        """As when the network goes away: every connection is gone, without a word."""
        for client in list(self._session.client.clientpool.clients.values()):
            pool = client._connection_pool
            while not pool._socket_queue.empty():
                pool._socket_queue.get(block=False).close()
        if self._live is not None:
            self._live.shutdown()

    def close(self) -> None:
        if self._live is not None:
            self._live.shutdown()
        self._session.client.clientpool.close()


@cache
def trust(ca: str) -> ssl.SSLContext:
    """One context for all browsers of the process: a thousand of them would hold a thousand copies
    of the authorities."""
    return ssl.create_default_context(cafile=ca or None)


def context_factory(ca: str) -> Callable[..., ssl.SSLContext]:
    """For FastHttpUser, which names authorities of its own and makes a context for each host."""
    return lambda cafile=None: trust(ca)


def localhost_is_here() -> None:
    """Names under ``localhost`` are this machine (RFC 6761, 6.3), as in browsers; many resolvers do
    not know that. Replaces ``getaddrinfo`` of this process."""
    resolve = socket.getaddrinfo

    def here(host: Any, *rest: Any, **named: Any) -> Any:
        if isinstance(host, str) and host.endswith(".localhost"):
            host = "127.0.0.1"
        return resolve(host, *rest, **named)

    socket.getaddrinfo = here
    gevent.socket.getaddrinfo = here
