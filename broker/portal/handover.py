"""From an application host home to log in, and back: the hand-over.

Three steps, so that a login on the home host can be used on an application host and nowhere else,
by this browser and no other:

1. *enter* (application host): the browser gets ``__Host-broker-handover``; what it wanted is noted
   in the ledger under a return id, with the hash of that cookie; the browser is sent home.
2. *code* (home, once somebody is logged in): a signed code for that host, session, return id and
   cookie hash, good for 30 s and for one use.
3. *landing* (application host): the code must be for this host and this browser's cookie, and not
   used before. Then the host's own session cookie is planted.

The hand-over cookie lives 60 s, a person types longer: the note lives for ten minutes, and a
landing whose cookie is gone or replaced starts again at step 1, silently, since home knows the
browser by now. The same happens to a code in a foreign browser, which thereby gains nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING, Any, Protocol

from broker.portal import cookies
from broker.portal.pages import Pages, redirect, switch_here
from broker.portal.visit import VISIT, Visit
from broker.site.language import LANGUAGES, gettext

if TYPE_CHECKING:
    from aiohttp import web

    from broker.ledger.port import Ledger, SessionRecord
    from broker.portal.plan import PortalPlan

RETURN_MS = 600_000  # as long as a login may take
CODE_MS = 40_000  # the code's 30 s, and the leeway between clocks
MOST_RETURNS = 32_768
"""Notes kept at a time. Measured: 16 MiB of Redis with ordinary paths, 169 with the longest. At the
36 logins a second of a bad morning nobody's is pushed out before it ends by itself; a flood of
strangers costs return addresses, never the ledger's memory."""
MOST_ROUNDS = 3  # a browser that keeps no cookies would go round for ever
MOST_PATH = 4096
PATH = re.compile(r"/[\x21-\x7e]*\Z")


class HandoverTokens(Protocol):
    """What the hand-over asks of ``site.tokens``."""

    def session_cookie(self, record: SessionRecord, host: str) -> str: ...

    def handover_code(
        self, *, jti: str, host: str, cookie_hash: str, session_id: str, return_id: str
    ) -> str: ...

    def verify_handover(self, code: str, host: str) -> dict[str, Any] | None: ...


@dataclass(frozen=True, slots=True)
class Start:
    """Where somebody wanted to go: kept in the ledger, never in an address."""

    host: str
    path: str
    cookie_hash: str
    rounds: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, stored: bytes) -> Start:
        return cls(**json.loads(stored))


def safe_path(wanted: str) -> str:
    """A path and query to return to on the same host, or ``/``.

    It is only ever used behind our own origin, so ``//elsewhere`` stays a path; what would break a
    header, or lead back into the broker's own pages, becomes ``/``.
    """
    if len(wanted) > MOST_PATH or not PATH.match(wanted):
        return "/"
    if wanted.startswith("/.broker/") and wanted != "/.broker/wait":
        return "/"
    return wanted


class Handover:
    """The three steps, and the note they share."""

    def __init__(
        self, plan: PortalPlan, ledger: Ledger, tokens: HandoverTokens, pages: Pages
    ) -> None:
        self._plan = plan
        self._ledger = ledger
        self._tokens = tokens
        self._pages = pages

    # --- step 1

    async def enter(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        if visit.method not in ("", "GET", "HEAD"):
            return self._pages.page(visit, "body_lost.html", status=503, stranger=True)
        return await self._send_home(request, visit.return_path, rounds=0)

    async def _send_home(self, request: web.Request, path: str, rounds: int) -> web.Response:
        visit = request[VISIT]
        # One value per browser and host: several tabs that enter together share it.
        cookie = cookies.kept(request, cookies.HANDOVER) or cookies.fresh()
        start = Start(visit.host, safe_path(path), cookies.digest(cookie), rounds)
        return_id = cookies.fresh()
        await self._ledger.put_once(
            "return", return_id, start.encode(), RETURN_MS, most=MOST_RETURNS
        )
        response = redirect(f"{self._plan.home}/.broker/login?next={return_id}")
        cookies.plant(response, cookies.HANDOVER, cookie, cookies.HANDOVER_SECONDS)
        return response

    async def start(self, return_id: str | None) -> Start | None:
        """The note, while it lasts and its host is still ours."""
        if return_id is None or not cookies.well_formed(return_id):
            return None
        stored = await self._ledger.peek_once("return", return_id)
        if stored is None:
            return None
        start = Start.decode(stored)
        return start if start.host in self._plan.origins else None

    # --- step 2

    async def landing_address(
        self, return_id: str, start: Start, session_id: str, chosen: str
    ) -> str:
        """Where home sends the browser. ``chosen`` is the language chosen at home, if any: cookies
        do not cross hosts, so it travels with the code."""
        jti = cookies.fresh()
        note = chosen if chosen in LANGUAGES else "any"
        await self._ledger.put_once("code", jti, note.encode(), CODE_MS)
        code = self._tokens.handover_code(
            jti=jti,
            host=start.host,
            cookie_hash=start.cookie_hash,
            session_id=session_id,
            return_id=return_id,
        )
        return f"{self._plan.origins[start.host]}/.broker/landing?code={code}"

    # --- step 3

    async def landing(self, request: web.Request) -> web.StreamResponse:
        visit = request[VISIT]
        claims = self._tokens.verify_handover(request.query.get("code", ""), visit.host)
        if claims is None:
            return self._refuse(visit)
        start = await self.start(claims["ret"])
        if start is None or start.host != visit.host:
            return self._refuse(visit)
        cookie = cookies.kept(request, cookies.HANDOVER)
        if cookie is None or not compare_digest(cookies.digest(cookie), claims["hash"]):
            return await self._again(request, start)
        record = await self._ledger.session(claims["sid"])
        if record is None:  # logged out in the meantime
            return await self._again(request, start)
        # Taken last: if the ledger fails before, reloading the page can still use the code.
        chosen = await self._ledger.take_once("code", claims["jti"])
        if chosen is None:
            return self._refuse(visit)
        response = redirect(visit.origin + start.path)
        response.headers["Referrer-Policy"] = "no-referrer"
        token = self._tokens.session_cookie(record, visit.host)
        cookies.plant(response, cookies.SESSION, token)
        if (language := chosen.decode()) in LANGUAGES:
            cookies.plant(response, cookies.LANGUAGE, language, cookies.LANGUAGE_SECONDS)
        return response

    async def _again(self, request: web.Request, start: Start) -> web.StreamResponse:
        visit = request[VISIT]
        if start.rounds + 1 < MOST_ROUNDS:
            return await self._send_home(request, start.path, start.rounds + 1)
        translate = gettext(visit.language)
        return self._pages.message(
            visit,
            400,
            translate("Your browser keeps no cookies for this site"),
            translate("Please allow cookies for this address, then start again."),
            link=("/", translate("Start again")),
            switch=switch_here(visit),
        )

    def _refuse(self, visit: Visit) -> web.Response:
        translate = gettext(visit.language)
        return self._pages.message(
            visit,
            400,
            translate("This link has been used or is too old"),
            translate("Nothing was changed. Please start again; you need not log in twice."),
            link=("/", translate("Start again")),
            switch=switch_here(visit),
        )
