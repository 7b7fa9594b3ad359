"""Who has entered the console: random cookies in the memory of this process, and one-time links.

A browser cannot send a bearer token by itself. A session stands for the token, or for the member of
the directory, that opened it, and ends with it: the token is looked up again at each request, the
member's groups every few minutes. After a restart of this process everybody enters anew.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.admin.callers import Caller, Callers
    from broker.admin.members import Members

_MOST = 64
_LINK = 3600.0  # seconds for which a link may be used
_GROUPS_AGAIN = 300.0  # seconds until a member's groups are read again


@dataclass(frozen=True, slots=True)
class _Session:
    caller: Caller
    ends: float
    looked_at: float


class ConsoleSessions:
    """``clock``: monotonic seconds; ``lifetime``: seconds of a session. ``members`` None: nobody of
    the directory may enter."""

    def __init__(
        self,
        callers: Callers,
        members: Members | None,
        clock: Callable[[], float],
        lifetime: float,
    ) -> None:
        self._callers = callers
        self._members = members
        self._clock = clock
        self._lifetime = lifetime
        self._sessions: dict[str, _Session] = {}
        self._links: dict[str, tuple[Caller, float]] = {}

    def open(self, caller: Caller) -> str:
        """The cookie's value for a new session."""
        now = self._clock()
        self._sessions = {key: each for key, each in self._sessions.items() if each.ends > now}
        while len(self._sessions) >= _MOST:
            del self._sessions[next(iter(self._sessions))]
        session = secrets.token_urlsafe(24)
        self._sessions[session] = _Session(caller, now + self._lifetime, now)
        return session

    def close(self, session: str) -> None:
        self._sessions.pop(session, None)

    async def caller(self, session: str) -> Caller | None:
        """Who has this session at this moment."""
        now = self._clock()
        known = self._sessions.get(session)
        if known is None or now >= known.ends:
            return None
        if known.caller.key:
            found = await self._callers.with_key(known.caller.key)
        elif self._members is not None and now - known.looked_at > _GROUPS_AGAIN:
            found = await self._members.still(known.caller)
        else:
            return known.caller
        if found is None:
            self.close(session)
        elif session in self._sessions:
            self._sessions[session] = replace(known, caller=found, looked_at=now)
        return found

    def link(self, caller: Caller) -> str:
        """A code that opens one session for ``caller``, once and within an hour."""
        now = self._clock()
        self._links = {code: each for code, each in self._links.items() if each[1] > now}
        while len(self._links) >= _MOST:
            del self._links[next(iter(self._links))]
        code = secrets.token_urlsafe(24)
        self._links[code] = caller, now + _LINK
        return code

    async def take_link(self, code: str) -> Caller | None:
        """Whom the code is for, once; the token it was made with must still be good, a member of
        the directory still be one."""
        caller, ends = self._links.pop(code, (None, 0.0))
        if caller is None or self._clock() >= ends:
            return None
        if caller.key:
            return await self._callers.with_key(caller.key)
        return None if self._members is None else await self._members.still(caller)
