"""The gateway of one worker: listening sockets in, pools out, and everything in between put up and
taken down in order. ``wiring`` makes one and gives it its plan, its clocks and the site's doors.
"""

from __future__ import annotations

import asyncio
import contextlib
import random as random_module
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from broker.errors import NotFound
from broker.gateway import health
from broker.gateway.answers import Answers
from broker.gateway.browser import TUNNEL, BrowserConnection
from broker.gateway.deadlines import TICK
from broker.gateway.doorstep import Doorstep
from broker.gateway.ground import REST, Ground
from broker.gateway.journey import Journey
from broker.gateway.pool import Pool
from broker.gateway.relay import Exchange
from broker.gateway.route import RouteTable
from broker.telemetry.tracing import Tracing

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable, Mapping

    from broker.gateway.ground import AccessLog, Traffic
    from broker.gateway.plan import GatewayPlan, HealthPlan, ListenerPlan
    from broker.gateway.upstream import Server, ServerStatistics
    from broker.site.admission import Spending
    from broker.site.doors import SeatClaims, Sessions

BACKLOG = 4096


@dataclass(frozen=True, slots=True)
class GatewayStatistics:
    """The gateway at one moment. ``exchanges`` counts tunnels too, ``tasks`` journeys that wait."""

    browsers: int
    exchanges: int
    tunnels: int
    tasks: int
    draining: bool
    pools: Mapping[str, tuple[ServerStatistics, ...]]


class Gateway:
    """See the module. Used on one event loop only."""

    def __init__(
        self,
        plan: GatewayPlan,
        sessions: Sessions,
        claims: SeatClaims,
        spending: Spending,
        traffic: Traffic,
        access_log: AccessLog,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        *,
        random: random_module.Random | None = None,
    ) -> None:
        chance = random or random_module.SystemRandom()
        self._spending = spending
        self._ground = Ground(
            door=plan.door,
            clock=clock,
            wall_clock=wall_clock,
            random=chance,
            traffic=traffic,
            access_log=access_log,
            answers=Answers(plan.look),
            tracing=Tracing(random_module.Random(chance.getrandbits(128)).getrandbits),
        )
        self._ground.use_door(plan.door, plan.inside)
        self._browsers: set[BrowserConnection] = set()
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []
        self._drained: set[str] = set()  # names of servers, also of some that no plan has
        self._servers: list[asyncio.Server] = []
        self._doorsteps: list[tuple[ListenerPlan, Doorstep]] = []
        self._checks: dict[tuple[Server, HealthPlan], asyncio.Task[None]] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._journey = Journey(self._ground, self._table(plan), sessions, claims, spending)
        self._plan = plan

    # --- plan

    def _table(self, plan: GatewayPlan) -> RouteTable:
        pools: dict[str, Pool] = {}
        for name, each in plan.pools.items():
            pool = self._pools.pop(name, None)
            if pool is None:
                traffic = self._ground.traffic.pool(name)
                pool = Pool(each, self._ground, traffic, self._drained)
            else:
                pool.use(each)
            pools[name] = pool
        self._retired += self._pools.values()
        self._pools = pools
        return RouteTable(plan, pools, self._spending.cells)

    def replace(self, plan: GatewayPlan) -> None:
        """A new plan, from the next request on. What is in flight keeps the old one; servers that
        both plans name keep their connections."""
        self._ground.use_door(plan.door, plan.inside)
        self._journey.table = self._table(plan)
        self._plan = plan
        if self._ticking is not None:
            self._start_checks()

    def drain_server(self, name: str, *, drained: bool) -> None:
        """Give a server of the applications no new exchanges, or some again, in every pool that has
        it. Raises NotFound."""
        pools = [pool for pool in self._pools.values() if not pool.portal]
        if not any(server.name == name for pool in pools for server in pool.servers):
            raise NotFound(f"no pool has a server {name}")
        if drained:
            self.remember_drained({name})
        else:
            self._drained.discard(name)
            self._follow_drained()

    def remember_drained(self, names: Iterable[str]) -> None:
        """Drain these in every pool that has them, now or after a reload."""
        self._drained.update(names)
        self._follow_drained()

    def _follow_drained(self) -> None:
        for pool in self._pools.values():
            pool.follow_drained()

    def _start_checks(self) -> None:
        """One check per server of the plan in force; those of others end."""
        wanted = {
            (server, plan)
            for pool in self._pools.values()
            if (plan := pool.plan.health) is not None
            for server in pool.servers
        }
        for key in set(self._checks) - wanted:
            self._checks.pop(key).cancel()
        for server, plan in wanted - set(self._checks):
            self._checks[server, plan] = self._ground.spawn(health.watch(server, plan))

    # --- life

    async def start(
        self, listening: Iterable[tuple[socket.socket, ListenerPlan, ssl.SSLContext | None]]
    ) -> None:
        """Accept on these sockets (bound; listening or not)."""
        loop = asyncio.get_running_loop()
        for sock, listener, context in listening:
            factory = self._factory(listener)
            if context is None and not listener.proxy_protocol_from:
                server = await loop.create_server(factory, sock=sock, backlog=BACKLOG)
                self._servers.append(server)
            else:
                doorstep = Doorstep(
                    self._ground,
                    sock,
                    context,
                    factory,
                    backlog=BACKLOG,
                    senders=listener.proxy_protocol_from,
                )
                doorstep.open()
                self._doorsteps.append((listener, doorstep))
        self._ticking = self._ground.spawn(self._tick())
        self._start_checks()

    def use_hsts(self, name: str, seconds: int) -> None:
        """What new connections of the TLS listener of this name are told."""
        for listener, doorstep in self._doorsteps:
            if listener.name == name:
                doorstep.factory = self._factory(replace(listener, hsts=seconds))

    def _factory(self, listener: ListenerPlan) -> Callable[..., BrowserConnection]:
        return partial(BrowserConnection, self._ground, self._journey, listener, self._browsers)

    async def _tick(self) -> None:
        ground = self._ground
        aged_at = ground.clock()
        while True:
            await asyncio.sleep(TICK)
            now = ground.clock()
            if now - aged_at >= REST:
                aged_at = now
                ground.reader.age()
            ground.deadlines.expire(now)
            self._close_fenced(now)

    def _close_fenced(self, now: float) -> None:
        """A lease is about to lapse: what is in flight on it must be closed before it does."""
        fenced = {cell for cell in self._spending.all() if cell.used and now >= cell.fence_at}
        if not fenced:
            return
        for exchange in self._in_flight():
            if exchange.hold is not None and exchange.hold.cell in fenced:
                exchange.lapse()

    def _in_flight(self) -> list[Exchange]:
        found = []
        for browser in self._browsers:
            party = browser.party
            if isinstance(party, Exchange):
                found.append(party)
            elif party is not None:
                found.append(party.exchange)
        return found

    async def drain(self, deadline: float) -> None:
        """Stop accepting, let what is in flight end for ``deadline`` seconds, then close it all.
        Idle connections close at once. Afterwards nothing of the gateway is left on the loop."""
        ground = self._ground
        ground.draining = True
        for server in self._servers:
            server.close()
        for _, doorstep in self._doorsteps:
            doorstep.stop()
        for browser in list(self._browsers):
            browser.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                await self._emptied()
        for browser in list(self._browsers):
            browser.abort()
        await self._emptied()
        for pool in (*self._pools.values(), *self._retired):
            pool.close()
        tasks = list(ground.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._ticking = None
        self._checks.clear()
        for server in self._servers:
            await server.wait_closed()
        for _, doorstep in self._doorsteps:
            await doorstep.stopped()
        self._servers.clear()
        self._doorsteps.clear()

    async def _emptied(self) -> None:
        while self._browsers:
            self._ground.emptied.clear()
            await self._ground.emptied.wait()

    def statistics(self) -> GatewayStatistics:
        """An immutable snapshot."""
        phases = [browser.phase for browser in self._browsers if browser.party is not None]
        servers = [server for pool in self._pools.values() for server in pool.servers]
        asking = sum(each.addresses is not None and each.addresses.asking for each in servers)
        background = len(self._checks) + int(self._ticking is not None) + asking
        return GatewayStatistics(
            browsers=len(self._browsers),
            exchanges=len(phases),
            tunnels=sum(phase == TUNNEL for phase in phases),
            tasks=len(self._ground.tasks) - background,
            draining=self._ground.draining,
            pools={name: pool.statistics() for name, pool in self._pools.items()},
        )
