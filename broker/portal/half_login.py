"""A login half done: the password was right, the second factor is still to come.

What is known of it (who, where to go, the secret that is offered) is noted in the ledger under an
unguessable name, for minutes and to be used once. The browser gets a cookie that names the note,
signed, with a ``typ`` of its own: it opens nothing, and it is worth nothing in another browser, for
it is bound to the login cookie, which all tabs share. What the directory said of the employee,
which may be a thousand groups, is kept once for all notes of a quarter of an hour.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Protocol

from broker.directory.port import Employee
from broker.portal import cookies

if TYPE_CHECKING:
    from aiohttp import web

    from broker.ledger.port import Ledger

KIND, OWNER = "half", "half-owner"
CODE_SECONDS = 300
ENROL_SECONDS = 900  # somebody may have to install an app first
OWNER_MS = (2 * ENROL_SECONDS + CODE_SECONDS) * 1000  # as long as any note that names it, and more
MOST_NOTES = 16_384
"""Each costs a right password; a thief of one must not be able to fill the ledger."""


class HalfLoginTokens(Protocol):
    """What is asked of ``site.tokens``."""

    def half_login(self, employee: str, note: str, browser: str, seconds: int) -> str: ...

    def read_half_login(self, cookie: str) -> tuple[str, str, str] | None:
        """Employee, note and browser, or None."""
        ...


@dataclass(frozen=True, slots=True)
class HalfLogin:
    """``proved_ms``: ledger time at which the password was right. ``offered``: the sealed secret of
    enrolment ``factor_id``, for who may set one up, or ""."""

    employee: Employee
    return_id: str
    proved_ms: int
    offered: str = ""
    factor_id: str = ""
    note: str = ""

    def encode(self) -> tuple[bytes, str, bytes]:
        """The note, and what it is about: its key and itself. The key is the same for all that are
        begun in one stretch of time as long as the directory says the same."""
        read = asdict(self)
        owner = json.dumps(read.pop("employee"), sort_keys=True).encode()
        stretch = self.proved_ms // (ENROL_SECONDS * 1000)
        key = sha256(b"%d %b" % (stretch, owner)).hexdigest()
        return json.dumps({**read, "owner": key}).encode(), key, owner

    @classmethod
    def decode(cls, stored: bytes, owner: bytes, note: str) -> HalfLogin:
        read, who = json.loads(stored), json.loads(owner)
        for name in ("groups", "filters"):
            who[name] = tuple(who[name])
        del read["owner"]
        return cls(**{**read, "employee": Employee(**who), "note": note})


class HalfLogins:
    def __init__(self, ledger: Ledger, tokens: HalfLoginTokens) -> None:
        self._ledger = ledger
        self._tokens = tokens

    async def begin(
        self, request: web.Request, response: web.StreamResponse, half: HalfLogin
    ) -> None:
        """Note it, and give the browser its cookie."""
        seconds = ENROL_SECONDS if half.offered else CODE_SECONDS
        note, login = cookies.fresh(), cookies.kept(request, cookies.LOGIN)
        assert login is not None, "the login form was bound to it"
        stored, key, owner = half.encode()
        await self._ledger.put_once(OWNER, key, owner, OWNER_MS, most=MOST_NOTES)
        await self._ledger.put_once(KIND, note, stored, seconds * 1000, most=MOST_NOTES)
        name = half.employee.name
        token = self._tokens.half_login(name, note, cookies.digest(login), seconds)
        cookies.plant(response, cookies.HALF, token, seconds)

    async def of(self, request: web.Request) -> HalfLogin | None:
        """That of this browser, while it lasts."""
        login = cookies.kept(request, cookies.LOGIN)
        claims = self._tokens.read_half_login(request.cookies.get(cookies.HALF, ""))
        if login is None or claims is None:
            return None
        employee, note, browser = claims
        if not compare_digest(browser, cookies.digest(login)) or not cookies.well_formed(note):
            return None
        stored = await self._ledger.peek_once(KIND, note)
        if stored is None:
            return None
        owner = await self._ledger.peek_once(OWNER, json.loads(stored).get("owner", ""))
        half = None if owner is None else HalfLogin.decode(stored, owner, note)
        return half if half is not None and half.employee.name == employee else None

    async def end(self, half: HalfLogin) -> bool:
        """Use it up: True for exactly one caller."""
        return await self._ledger.take_once(KIND, half.note) is not None
