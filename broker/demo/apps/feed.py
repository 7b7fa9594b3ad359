"""The feed: an intranet's social network in small, using everything a broker must carry.

Pages with about two dozen assets, posts, uploads (multipart and raw, streamed and hashed, not
kept), downloads, server-sent events and a WebSocket. Posts live in a SQLite file that its servers
share.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, WSMsgType, web

from broker.demo.apps.identity import Visitor
from broker.demo.apps.oracle import Oracle, end_of_exchange
from broker.demo.apps.pictures import initials, landscape
from broker.demo.apps.posts import TEXT_LIMIT, Post, Posts
from broker.demo.apps.serving import HERE, environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMUNITIES = {
    "dakar": "Dakar",
    "warszawa": "Warszawa",
    "network": "Network",
    "sales": "Sales",
    "remote-work": "Working from home",
}
DOWNLOAD_LIMIT = 4 * 1024**3
BLOCK = 64 * 1024
LOOK_FOR_POSTS_EVERY = 0.5
FRESH = {"Cache-Control": "no-store"}
KEPT = {"Cache-Control": "private, max-age=600"}


class Feed:
    """One server of the feed; ``oracle.name`` (``feed-1``) is shown on every page."""

    def __init__(self, oracle: Oracle, posts: Posts) -> None:
        self._oracle = oracle
        self._posts = posts
        self._pages = environment()
        self._pages.filters["ago"] = _ago
        self._sockets: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_get("/", self.front)
        app.router.add_get("/communities/{name}", self.front)
        app.router.add_get("/photos/{name}.png", self.photo)
        app.router.add_get("/avatars/{name}.svg", self.avatar)
        app.router.add_static("/static/", HERE / "static", append_version=False)
        app.router.add_get("/api/whoami", self.who)
        app.router.add_get("/api/posts", self.posts)
        app.router.add_post("/api/posts", self.write)
        app.router.add_post("/upload", self.upload_form)
        app.router.add_put("/upload", self.upload_raw)
        app.router.add_put("/upload/{name}", self.upload_raw)
        app.router.add_get("/download", self.download)
        app.router.add_get("/events", self.events)
        app.router.add_get("/live", self.live)
        app.on_shutdown.append(self._close)
        return app

    # --- pages

    async def front(self, request: web.Request) -> web.Response:
        community = request.match_info.get("name")
        if community is not None and community not in COMMUNITIES:
            raise web.HTTPNotFound(text="There is no such community.\n")
        text = self._pages.get_template("feed.html").render(
            visitor=Visitor.of(request),
            server=self._oracle.name,
            communities=COMMUNITIES,
            community=community,
            posts=self._posts.latest(20, community),
        )
        return web.Response(text=text, content_type="text/html", headers=FRESH)

    async def photo(self, request: web.Request) -> web.Response:
        picture = await asyncio.to_thread(landscape, request.match_info["name"])
        return web.Response(body=picture, content_type="image/png", headers=KEPT)

    async def avatar(self, request: web.Request) -> web.Response:
        picture = initials(request.match_info["name"])
        return web.Response(text=picture, content_type="image/svg+xml", headers=KEPT)

    async def who(self, request: web.Request) -> web.Response:
        visitor = Visitor.of(request)
        return web.json_response(
            {
                "user": visitor.name,
                "population": visitor.population,
                "groups": visitor.groups,
                "server": self._oracle.name,
            },
            headers=FRESH,
        )

    # --- posts

    async def posts(self, request: web.Request) -> web.Response:
        found = [post.as_json() for post in self._posts.latest(50)]
        return web.json_response({"posts": found}, headers=FRESH)

    async def write(self, request: web.Request) -> web.Response:
        """A JSON object or a form with ``text`` (and ``community``)."""
        fields: Any = await (request.json if _is_json(request) else request.post)()
        text = str(fields.get("text", "")).strip()
        community = str(fields.get("community", "remote-work"))
        if not text or len(text) > TEXT_LIMIT or community not in COMMUNITIES:
            raise web.HTTPBadRequest(text=f"A post has 1 to {TEXT_LIMIT} characters.\n")
        post = self._posts.add(Visitor.of(request).shown, community, text, time.time())
        return web.json_response(post.as_json(), status=201)

    # --- files

    async def upload_form(self, request: web.Request) -> web.Response:
        """Multipart, any number of files; each is streamed, hashed and forgotten."""
        if not request.content_type.startswith("multipart/"):
            raise web.HTTPUnsupportedMediaType(text="multipart/form-data is wanted.\n")
        files = []
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.filename:
                size, digest = await _measure(_blocks_of(part))
                files.append({"name": part.filename, "size": size, "sha256": digest})
        if not files:
            raise web.HTTPBadRequest(text="No file came.\n")
        author = Visitor.of(request).shown
        for file in files:
            text = f"shared {file['name']} ({file['size']:,} bytes)"
            self._posts.add(author, "remote-work", text[:TEXT_LIMIT], time.time())
        return web.json_response({**files[0], "files": files})

    async def upload_raw(self, request: web.Request) -> web.Response:
        size, digest = await _measure(request.content.iter_chunked(BLOCK))
        name = request.match_info.get("name", "")
        return web.json_response({"name": name, "size": size, "sha256": digest})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """``bytes=N``; ``chunked=1`` leaves the length out; ``rate=N`` bytes per second."""
        try:
            total = int(request.query.get("bytes", "1048576"))
            rate = int(request.query.get("rate", "0"))
        except ValueError:
            raise web.HTTPBadRequest(text="bytes and rate are whole numbers.\n") from None
        if not 0 <= total <= DOWNLOAD_LIMIT or rate < 0:
            raise web.HTTPBadRequest(text=f"bytes is 0 to {DOWNLOAD_LIMIT}.\n")
        response = web.StreamResponse(headers={**FRESH, "Content-Type": "application/octet-stream"})
        if request.query.get("chunked"):
            response.enable_chunked_encoding()
        else:
            response.content_length = total
        await response.prepare(request)
        left = total
        while left:
            size = min(left, BLOCK, max(1, rate // 10) if rate else BLOCK)
            left -= size
            if not left:
                end_of_exchange(request)
            await response.write(PATTERN[:size])
            if rate and left:
                await asyncio.sleep(size / rate)
        end_of_exchange(request)
        await response.write_eof()
        return response

    # --- live

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events (WHATWG HTML, 9.2): hello, then every post, on whichever server it was
        written, and a sign of life every 5 s."""
        response = web.StreamResponse(headers={**FRESH, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        last_seen = request.headers.get("Last-Event-ID", "")
        number = int(last_seen) if last_seen.isdigit() else self._posts.last_number()
        hello = f'{{"server": "{self._oracle.name}"}}'
        await response.write(f"retry: 2000\nevent: hello\ndata: {hello}\n\n".encode())
        quiet = 0.0
        while True:
            new = self._posts.after(number)
            for post in new:
                await response.write(_event(post))
                number = post.number
            quiet = 0.0 if new else quiet + LOOK_FOR_POSTS_EVERY
            if quiet >= 5.0:
                await response.write(b": still here\n\n")
                quiet = 0.0
            await asyncio.sleep(LOOK_FOR_POSTS_EVERY)

    async def live(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket (RFC 6455): a message each second; what the browser sends comes back."""
        socket = web.WebSocketResponse(heartbeat=None, max_msg_size=16 * 1024 * 1024)
        await socket.prepare(request)
        self._sockets.add(socket)
        name = Visitor.of(request).name
        try:
            async with asyncio.TaskGroup() as tasks:
                ticking = tasks.create_task(self._tick(socket, name))
                await self._echo(socket)
                ticking.cancel()
        finally:
            self._sockets.discard(socket)
        return socket

    async def _tick(self, socket: web.WebSocketResponse, name: str) -> None:
        number = 0
        while not socket.closed:
            number += 1
            message = {
                "type": "tick",
                "number": number,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "server": self._oracle.name,
                "user": name,
                "online": len(self._sockets),
            }
            try:
                await socket.send_json(message)
            except ConnectionError:
                return
            await asyncio.sleep(1.0)

    async def _echo(self, socket: web.WebSocketResponse) -> None:
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await socket.send_json({"type": "echo", "text": message.data})
                elif message.type is WSMsgType.BINARY:
                    await socket.send_bytes(message.data)
        except ConnectionError:
            return

    async def _close(self, app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=1001, message=b"the server stops")
        self._posts.close()


PATTERN = bytes(range(256)) * (BLOCK // 256)


async def _blocks_of(part: BodyPartReader) -> AsyncIterator[bytes]:
    while block := await part.read_chunk(BLOCK):
        yield bytes(block)


async def _measure(blocks: AsyncIterator[bytes]) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    async for block in blocks:
        size += len(block)
        digest.update(block)
    return size, digest.hexdigest()


def _event(post: Post) -> bytes:
    return f"id: {post.number}\nevent: post\ndata: {json.dumps(post.as_json())}\n\n".encode()


def _is_json(request: web.Request) -> bool:
    return request.content_type == "application/json"


def _ago(written: float) -> str:
    minutes = max(0, int((time.time() - written) / 60))
    if minutes < 1:
        return "just now"
    return f"{minutes} min ago" if minutes < 90 else f"{minutes // 60} h ago"
