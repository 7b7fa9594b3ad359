"""``/console/``: the page for people, who enters it, and the stream that keeps it live.

The page is a shell; its script asks the same operations as everybody, below ``/console/api/v1``, so
that the session cookie (HttpOnly, SameSite=Strict) never leaves this path. ``plain`` shows the most
important without a script. Nothing comes from elsewhere, nothing is inline.
"""

from __future__ import annotations

import contextlib
import json
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from broker.admin import guard, views
from broker.admin.guard import CONSOLE, COOKIE, problem
from broker.admin.health import readiness
from broker.admin.operations import Operation
from broker.errors import AccountRefused, BrokerError, WrongPassword

if TYPE_CHECKING:
    from broker.admin.api import Api
    from broker.admin.callers import Caller, Callers
    from broker.admin.console_sessions import ConsoleSessions
    from broker.admin.entrances import Entrances
    from broker.admin.live import Live
    from broker.admin.members import Members

_LOOK_AGAIN = 5  # samples after which a stream asks whether its viewer is still let in
_KINDS = {"js": "text/javascript", "css": "text/css"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " form-action 'self'; frame-ancestors 'none'; base-uri 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
_WRONG_TOKEN = "That is no token of this broker, or it was revoked or has ended."


class Console:
    """``members`` None: nobody of the directory may enter."""

    def __init__(
        self,
        site: str,
        api: Api,
        live: Live,
        callers: Callers,
        sessions: ConsoleSessions,
        members: Members | None,
        entrances: Entrances,
    ) -> None:
        self._site = site
        self._api = api
        self._live = live
        self._callers = callers
        self._sessions = sessions
        self._members = members
        self._entrances = entrances
        self._templates = Environment(
            loader=PackageLoader("broker.admin"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        folder = files("broker.admin").joinpath("static")
        self._static = {each.name: each.read_bytes() for each in folder.iterdir() if each.is_file()}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(CONSOLE, self._show),
            web.get(CONSOLE.rstrip("/"), self._to_console),
            web.post(CONSOLE, self._enter_by_token),
            web.post(f"{CONSOLE}directory", self._enter_by_directory),
            web.post(f"{CONSOLE}link", self._enter_by_link),
            web.post(f"{CONSOLE}leave", self._leave),
            web.get(f"{CONSOLE}plain", self._plain),
            web.get(f"{CONSOLE}live", self._stream),
            web.get(f"{CONSOLE}static/{{name}}", self._file),
        ]

    def open_paths(self) -> frozenset[str]:
        """Where nobody needs to be known."""
        doors = {CONSOLE.rstrip("/"), *(CONSOLE + each for each in ("", "directory", "link"))}
        return frozenset(
            doors | {f"{CONSOLE}leave"} | {f"{CONSOLE}static/{name}" for name in self._static}
        )

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "POST", "/console-links", "A link that opens the console once, as who asks",
                self._make_link, {201: "url: good for one hour and one browser"}, viewers=True,
            ),
        )  # fmt: skip

    async def _show(self, request: web.Request) -> web.Response:
        caller = guard.caller(request)
        if caller is None:
            return self._door(401)
        return self._page("console.html", 200, name=caller.name, role=caller.role)

    async def _plain(self, _: web.Request) -> web.Response:
        host, usage, known = await self._api.snapshot()
        return self._page(
            "plain.html",
            200,
            refresh=5,
            readiness=readiness(host, usage, known),
            capacity=views.capacity(usage) if usage else None,
            pools=views.pools(usage, host)["pools"] if usage else {},
            workers=views.workers(host, usage, known)["workers"],
        )

    async def _enter_by_token(self, request: web.Request) -> web.Response:
        """The token typed into the form. POST; another origin was refused before."""
        given = (await request.post()).get("token")
        caller = None
        if isinstance(given, str):
            caller = await self._callers.with_token(given.strip().encode("utf-8", "replace"))
        if caller is None:
            await self._entrances.refused(request, "a wrong token")
            return self._door(403, _WRONG_TOKEN)
        return await self._entered(request, caller, "with a token")

    async def _enter_by_directory(self, request: web.Request) -> web.Response:
        if self._members is None:
            return problem(404, "nobody of the directory may enter here (admin.operators)")
        form = await request.post()
        username, password = form.get("username"), form.get("password")
        if not isinstance(username, str) or not isinstance(password, str):
            return problem(400, "a form with username and password is needed")
        try:
            caller = await self._members.enter(username, password)
        except (WrongPassword, AccountRefused) as error:
            why = "a wrong password" if isinstance(error, WrongPassword) else error.reason
            await self._entrances.refused(request, why, username)
            return self._door(403, error.reason, username=username[:200])
        except BrokerError as error:
            await self._entrances.refused(request, error.reason, username)
            return self._door(error.status, error.reason, username=username[:200])
        return await self._entered(request, caller, "with a password")

    async def _enter_by_link(self, request: web.Request) -> web.Response:
        code = (await request.post()).get("code")
        caller = await self._sessions.take_link(code) if isinstance(code, str) else None
        if caller is None:
            await self._entrances.refused(request, "a link that opens nothing (any more)")
            return self._door(403, "This link was used already, or its hour is over.")
        return await self._entered(request, caller, "with a link")

    async def _make_link(self, request: web.Request) -> web.Response:
        caller = guard.caller(request)
        assert caller is not None
        # Behind #, so that it stands in no log and in no Referer.
        url = f"{request.scheme}://{request.host}{CONSOLE}#{self._sessions.link(caller)}"
        return web.json_response({"url": url}, status=201)

    async def _leave(self, request: web.Request) -> web.Response:
        self._sessions.close(request.cookies.get(COOKIE, ""))
        response = _to(CONSOLE)
        response.del_cookie(COOKIE, path=CONSOLE)
        return response

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: ``history`` once, then ``now`` with each sample; ``gone`` when the
        viewer is let in no more."""
        with self._live.watching():
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Content-Type-Options": "nosniff",
                    "X-Accel-Buffering": "no",
                }
            )
            with contextlib.suppress(ConnectionError):  # the browser left
                await response.prepare(request)
                await response.write(_event("history", self._live.history()))
                number = seen = 0
                while (sample := await self._live.newer(number)) is not None:
                    number, told = sample
                    seen += 1
                    if seen % _LOOK_AGAIN == 0 and not await self._still(request):
                        await response.write(_event("gone", json.dumps({})))
                        break
                    await response.write(_event("now", told))
            return response

    async def _still(self, request: web.Request) -> bool:
        caller = guard.caller(request)
        if COOKIE in request.cookies:
            return await self._sessions.caller(request.cookies[COOKIE]) is not None
        return caller is not None and await self._callers.with_key(caller.key) is not None

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        content = self._static.get(name)
        kind = _KINDS.get(name.rpartition(".")[2])
        if content is None or kind is None:
            return problem(404, "there is no such file")
        return web.Response(
            body=content, content_type=kind, charset="utf-8", headers={"Cache-Control": "no-cache"}
        )

    async def _to_console(self, _: web.Request) -> web.Response:
        return web.Response(status=308, headers={"Location": CONSOLE})

    async def _entered(self, request: web.Request, caller: Caller, how: str) -> web.Response:
        await self._entrances.entered(request, caller, how)
        response = _to(CONSOLE)
        response.set_cookie(
            COOKIE,
            self._sessions.open(caller),
            path=CONSOLE,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    def _door(self, status: int, wrong: str = "", username: str = "") -> web.Response:
        members = self._members is not None
        return self._page("enter.html", status, wrong=wrong, members=members, username=username)

    def _page(self, template: str, status: int, **values: object) -> web.Response:
        html = self._templates.get_template(template).render(
            site=self._site, path=CONSOLE, **values
        )
        return web.Response(
            text=html,
            status=status,
            content_type="text/html",
            headers={
                "Content-Security-Policy": _POLICY,
                # Not no-referrer: a form sent under it says Origin: null, and would be refused.
                "Referrer-Policy": "same-origin",
            },
        )


def _to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path})


def _event(name: str, data: str) -> bytes:
    """``data`` is one line."""
    return f"event: {name}\ndata: {data}\n\n".encode()
