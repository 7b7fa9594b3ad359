"""``/oracle``: asking the witness, and breaking a backend on purpose.

``GET /oracle`` answers what the witness saw and the behaviour in force, with ``?changes_after=N``
only how the count in flight changed since the N-th change; ``POST /oracle`` changes
the behaviour of all further requests until it is changed again (``mend`` ends all of it), or resets
the counts. Only who can reach the backend itself may do that: through the broker (``X-Remote-User``
is there) a POST is refused. Faults are made on the transport, below aiohttp, where it would not
make them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from broker.demo.apps.witness import Tap, Witness

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Where = Literal["before-head", "after-head", "mid-body"]
END = web.RequestKey[Callable[[], None]]("end")
HALF_BODY = b"half of what was promised, " * 10


class Behaviour(BaseModel):
    """How this backend misbehaves; all off: it behaves.

    ``delay_seconds``: wait before answering. ``turn_seconds``: after that wait so long again, one
    request at a time, as a lock makes them. ``status``: answer this instead. ``abort``: close the
    connection there. ``hang``: say nothing more from there on (true: before the head). ``garbage``:
    answer bytes that are not HTTP. ``unhealthy``: ``/healthz`` answers 503. ``every``: only each
    n-th request meets the fault, the others are served well. ``path``: only requests below it do.
    """

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    delay_seconds: float = Field(default=0.0, ge=0, le=3600)
    turn_seconds: float = Field(default=0.0, ge=0, le=60)
    status: int | None = Field(default=None, ge=200, le=599)
    abort: Where | None = None
    hang: Where | bool = False
    garbage: bool = False
    unhealthy: bool = False
    every: int = Field(default=1, ge=1)
    path: str = Field(default="/", pattern="^/")


class Oracle:
    """One backend's witness and behaviour, as an aiohttp middleware and two handlers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.witness = Witness()
        self.behaviour = Behaviour()
        self._seen = 0
        self._turn = asyncio.Lock()

    def tap(self, server: web.Server) -> Tap:
        """The protocol of one accepted connection."""
        return Tap(server(), self.witness)

    def install(self, app: web.Application) -> None:
        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._around(request, handler)

        app.middlewares.append(around)
        app.router.add_get("/oracle", self._ask)
        app.router.add_post("/oracle", self._change)
        app.router.add_get("/healthz", self._health)

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Between the tap and the application: tie the two, apply the behaviour, end the count."""
        tap = self.witness.taps.get(request.protocol)
        exchange = tap.next_exchange() if tap else None
        if tap is None or exchange is None:
            return await handler(request)
        request[END] = lambda: tap.finish(exchange)
        try:
            if exchange.counts and request.path != "/oracle":
                fault = await self._misbehave(request)
                if fault is not None:
                    return fault
            return await handler(request)
        finally:
            tap.finish(exchange)

    async def _misbehave(self, request: web.Request) -> web.Response | None:
        behave = self.behaviour
        if not request.path.startswith(behave.path):
            return None
        self._seen += 1
        if self._seen % behave.every:
            return None
        if behave.delay_seconds:
            await asyncio.sleep(behave.delay_seconds)
        if behave.turn_seconds:
            async with self._turn:
                await asyncio.sleep(behave.turn_seconds)
        if behave.garbage:
            await self._write_and_stay(request, b"this is not HTTP at all\r\n\r\n", close=True)
        where = behave.hang if behave.hang else behave.abort
        if where:
            await self._write_and_stay(
                request, _beginning("before-head" if where is True else where), not behave.hang
            )
        if behave.status is not None:
            return web.Response(status=behave.status, text=f"{self.name} was told to say so\n")
        return None

    @staticmethod
    async def _write_and_stay(request: web.Request, data: bytes, close: bool) -> None:
        """Write under aiohttp's hands, close if wanted, and wait to be cancelled by the end of the
        connection, so that aiohttp writes nothing after it."""
        transport = request.transport
        if transport is not None:
            if data:
                transport.write(data)
            if close:
                transport.close()
        await asyncio.Event().wait()

    async def _ask(self, request: web.Request) -> web.Response:
        after = request.query.get("changes_after", "")
        if after.isdecimal() and after.isascii():
            changes = self.witness.changes_after(int(after))
            return web.json_response({"backend": self.name, **changes})
        report = self.witness.report()
        report = {"backend": self.name, **report, "behaviour": self.behaviour.model_dump()}
        return web.json_response(report)

    async def _change(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Remote-User"):
            raise web.HTTPForbidden(text="Changed at the backend only, not from outside.\n")
        try:
            wish = await request.json()
            if not isinstance(wish, dict):
                raise TypeError
        except (ValueError, TypeError):
            raise web.HTTPBadRequest(text="A JSON object is wanted.\n") from None
        try:
            self._apply(wish)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            known = ", ".join([*Behaviour.model_fields, "reset", "mend"])
            return web.json_response({"faults": faults, "known": known}, status=400)
        return await self._ask(request)

    def _apply(self, wish: dict[str, Any]) -> None:
        """All of it or nothing: the new behaviour is validated before the counts are touched."""
        reset, mend = bool(wish.pop("reset", False)), bool(wish.pop("mend", False))
        for key in ("abort", "hang"):
            if isinstance(wish.get(key), str):
                wish[key] = wish[key].replace("_", "-").replace(" ", "-")
        if wish.get("abort") is True:
            wish["abort"] = "mid-body"
        elif wish.get("abort") is False:
            wish["abort"] = None
        now = Behaviour() if mend else self.behaviour
        self.behaviour = Behaviour.model_validate({**now.model_dump(), **wish})
        self._seen = 0
        if reset:
            self.witness.reset()

    async def _health(self, request: web.Request) -> web.Response:
        if self.behaviour.unhealthy:
            return web.json_response({"status": "told to be unhealthy"}, status=503)
        return web.json_response({"status": "ok", "backend": self.name})


def end_of_exchange(request: web.Request) -> None:
    """Called by a streaming handler right before its last write: from then on it counts no more."""
    end = request.get(END)
    if end is not None:
        end()


def _beginning(where: Where) -> bytes:
    """What is written before the fault."""
    if where == "before-head":
        return b""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n"
    return head if where == "after-head" else head + HALF_BODY
