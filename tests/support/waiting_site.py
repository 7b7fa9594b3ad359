"""Gateway, sync and portal of one worker in this process, on the twin of the ledger and at a time
that the test moves: for a real browser that waits, sleeps and comes back.

Nothing of the waiting room is played: the browser's TLS ends at the gateway, polls are answered
there, pages come from the portal. Only time and the directory are.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from typing import TYPE_CHECKING, Any, Self

import trustme
from aiohttp import web

from broker.gateway.plan import (
    DoorPlan,
    GatewayPlan,
    HostPlan,
    ListenerPlan,
    PoolPlan,
    RoutePlan,
    ServerPlan,
)
from broker.gateway.server import Gateway
from broker.policy.worker_book import WorkerBook
from broker.portal.app import Portal
from broker.portal.plan import PortalPlan
from broker.site.admission import Spending
from broker.site.claims import Claims
from broker.site.factors import Factors
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.sync import Sync
from broker.site.tokens import KeyRing, Tokens
from broker.site.waiting_room import WaitingRoom
from broker.telemetry.traffic import Traffic
from tests.support.portal_site import POPULATIONS, FakeDirectory
from tests.support.portal_tls import free_socket
from tests.support.stage import Recorder

if TYPE_CHECKING:
    from tests.support.portal_ledger import PortalLedger


class WaitingSite:
    """``ledger``: only its ``wall_ms`` makes time pass, with ``later``."""

    def __init__(self, ledger: PortalLedger) -> None:
        self.ledger = ledger
        self.ahead = 0.0

    def boot(self) -> float:
        return time.monotonic() + self.ahead

    def wall(self) -> float:
        return time.time() + self.ahead

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        backend = await self._serve(_application())
        bound = free_socket()
        port = bound.getsockname()[1]
        self.home, self.feed = f"https://localhost:{port}", f"https://feed.localhost:{port}"
        ring = KeyRing.from_json(KeyRing.generate())
        tokens, factors = Tokens(ring, "test", self.wall, 900), Factors(ring, "test", self.wall)
        plan = PortalPlan(self.home, (self.feed,), POPULATIONS, company="Example & Sons")
        portal = await self._serve(Portal(plan, self.ledger, FakeDirectory(), tokens, factors).app)
        wake = asyncio.Event()
        spending = Spending(64, wake.set, self.boot)
        ledger_time = LedgerTime(self.boot)
        sessions = SessionCache(
            tokens,
            self.ledger,
            ledger_time,
            str,
            clock=self.boot,
            wall_clock=self.wall,
            token_refresh=300,
            lifetime=43_200,
        )
        self.room = WaitingRoom(tokens, ledger_time, sessions.is_ended, self.boot)
        self.sync = Sync(
            WorkerBook("one"), self.ledger, spending, sessions, ledger_time, self.room, wake,
            self.boot,
        )  # fmt: skip
        pools = {
            "feed": PoolPlan("feed", (ServerPlan.parse(backend),)),
            "portal": PoolPlan("portal", (ServerPlan.parse(portal),), portal=True),
        }
        hosts = (
            HostPlan(self.home.encode(), home=True),
            HostPlan(self.feed.encode(), (RoutePlan(b"/", "feed"),)),
        )
        claims = Claims(self.ledger, self.room, clock=self.boot, idle=self.sync.idle)
        gateway = Gateway(
            GatewayPlan(DoorPlan(), hosts, pools), sessions, claims, spending, Traffic(),
            Recorder(), self.boot, self.wall,
        )  # fmt: skip
        self._stack.push_async_callback(gateway.drain, 0.0)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("localhost", "feed.localhost").configure_cert(context)
        await gateway.start([(bound, ListenerPlan("public"), context)])
        running = asyncio.create_task(self.sync.run())
        self._stack.push_async_callback(_ended, running)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def later(self, seconds: int, *present: str) -> None:
        """Time passes for all; these employees (of the ledger alone) go on polling."""
        for _ in range(seconds):
            self.ahead += 1
            self.ledger.wall_ms += 1000
            self.ledger.seats.apply_presence(present)
            await self.sync.once()

    async def _serve(self, app: web.Application) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"


def _application() -> web.Application:
    async def page(request: web.Request) -> web.Response:
        text = f"<title>application</title>{request.path_qs} {request.headers['X-Remote-User']}"
        return web.Response(text=text, content_type="text/html")

    async def healthy(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/healthz", healthy)
    app.router.add_route("*", "/{rest:.*}", page)
    return app


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
