"""Connections to the servers of the pools: dialled, used by one exchange at a time, kept idle.

A ``Pool`` chooses the server with the least connections in flight among the usable ones; one whose
requests fail is left alone for a while (``policy.ejection``). A kept
connection that its server closes meanwhile is noticed by the event loop and dropped; if that
happens in the very moment of reuse, the exchange asks again on a new connection (``journey``), as
far as the pool's budget of retries goes. This module moves bytes and knows nothing of their
meaning: they go to the *party* that uses the connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from broker.gateway.deadlines import NO_SLOT
from broker.gateway.doorstep import EXHAUSTED
from broker.gateway.outbox import Connection
from broker.policy import placing
from broker.policy.ejection import Standing
from broker.policy.retries import RetryBudget

if TYPE_CHECKING:
    from broker.gateway.ground import Ground, PoolTraffic
    from broker.gateway.plan import PoolPlan, ServerPlan

MOST_PLACED: Final = 65_536  # sessions whose order of servers is remembered
FRESH: Final = 1.0  # seconds a kept connection is trusted with a request that must not be repeated

_log = logging.getLogger(__name__)


class Party(Protocol):
    """Who uses a server connection: an exchange, then perhaps a tunnel."""

    def server_data(self, data: bytes) -> None: ...

    def server_gone(self, error: Exception | None) -> None:
        """The connection is closed; ``error`` is None when its peer ended it in an orderly way."""
        ...

    def server_full(self) -> None: ...

    def server_drained(self) -> None: ...

    def server_late(self, now: float) -> None: ...


class ServerConnection(Connection):
    """One connection to one server."""

    __slots__ = ("closed", "due", "idle_since", "made", "party", "paused", "reused", "server",
                 "slot")  # fmt: skip

    def __init__(self, ground: Ground, server: Server) -> None:
        super().__init__(ground)
        self.server = server
        self.party: Party | None = None
        self.due = 0.0
        self.slot = NO_SLOT
        self.closed = False
        self.made = False
        self.paused = False
        self.reused = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.closed:  # whoever dialled has left meanwhile
            self.transport.abort()
        else:
            self.server.connections.add(self)
            self.made = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.ground.view

    def buffer_updated(self, nbytes: int) -> None:
        party = self.party
        if party is None:  # nobody asked for anything: it cannot be trusted any more
            self.drop()
        else:
            party.server_data(self.ground.view[:nbytes].tobytes())

    def eof_received(self) -> bool:
        self.closed = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self.ground.deadlines.forget(self)
        self.server.forget(self)
        party, self.party = self.party, None
        if party is not None:
            party.server_gone(exc)

    def pause_writing(self) -> None:
        if self.party is not None:
            self.party.server_full()

    def resume_writing(self) -> None:
        if self.party is not None:
            self.party.server_drained()

    def expire(self, now: float) -> None:
        if self.party is None:
            self.drop()
        else:
            self.party.server_late(now)

    def hold_reading(self) -> None:
        if not self.paused and not self.closed:
            self.paused = True
            self.transport.pause_reading()

    def let_read(self) -> None:
        if self.paused:
            self.paused = False
            if not self.closed:
                self.transport.resume_reading()

    def abandon(self) -> None:
        """The dialling was given up, perhaps in the moment it succeeded: the loop then has a
        connection that nobody was told about."""
        if self.made:
            self.drop()
        self.closed = True

    def keep(self, now: float) -> None:
        """An exchange has ended cleanly: the connection may serve another."""
        server = self.server
        if self.closed or server.draining or len(server.idle) >= server.most_idle:
            self.drop()
            return
        self.party = None
        if self.paused:
            self.let_read()
        self.idle_since = now
        server.idle.append(self)
        self.ground.deadlines.watch(self, now + server.idle_timeout)

    def close(self) -> None:
        """Close after everything written has gone out, within the stall deadline."""
        self.party = None
        self.closed = True
        ground = self.ground
        ground.deadlines.watch(self, ground.clock() + ground.door.stall_timeout)
        self.flush()
        self.transport.close()

    def drop(self) -> None:
        """Close without ceremony and without telling the party."""
        self.party = None
        self.closed = True
        self.server.forget(self)
        self.ground.deadlines.forget(self)
        self.transport.abort()


class Server:
    """One server of a pool. ``in_flight`` counts exchanges and tunnels that have chosen it;
    ``strength`` is by what they are divided to compare it with others."""

    def __init__(self, plan: ServerPlan, pool: Pool) -> None:
        self.pool = pool
        self.name = plan.name
        self.use(plan)
        self.in_flight = 0
        self.healthy = True
        self.draining = False
        self.standing = Standing()
        self.ejected = False
        self.strength = float(plan.weight)
        self.most_idle = 0
        self.idle_timeout = 0.0
        self.idle: list[ServerConnection] = []
        self.connections: set[ServerConnection] = set()

    def use(self, plan: ServerPlan) -> None:
        """Take over a plan for the same address."""
        self.plan = plan
        self.most = float("inf") if plan.most is None else plan.most

    @property
    def is_open(self) -> bool:
        """Whether it may get another exchange."""
        return (
            self.healthy and not self.draining and not self.ejected and self.in_flight < self.most
        )

    def failed(self) -> None:
        """A request to it was not answered, and that was the server's fault."""
        pool = self.pool
        able = [each for each in pool.servers if each.healthy and not each.draining]
        left = sum(not each.ejected for each in able if each is not self)
        # Half of them stay: one request that no server survives is not to take away all but one.
        others = left > 0 and 2 * left >= len(able)
        if self.standing.failed(pool.ground.clock(), pool.plan.ejection, others=others):
            pool.unsettled = self.ejected = True
            self.close_idle()
            _log.warning("server %s fails requests: ejected for a while", self.name)

    def recovered(self) -> None:
        """It answers its health check again: it is used, at first a little."""
        self.healthy = True
        self.standing.returned(self.pool.ground.clock())
        self.pool.unsettled = True

    def forget(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)

    def take_idle(self, now: float, *, repeatable: bool) -> ServerConnection | None:
        """The connection used last, if there is one. What must not be sent twice gets only one
        that its server is most unlikely to have just given up."""
        idle = self.idle
        while idle:
            connection = idle[-1]
            if not repeatable and now - connection.idle_since > FRESH:
                return None
            idle.pop()
            if not connection.closed:
                connection.reused = True
                return connection
        return None

    def close_idle(self) -> None:
        for connection in list(self.idle):
            connection.drop()


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """One server at one moment."""

    name: str
    healthy: bool
    draining: bool
    ejected: bool
    in_flight: int
    idle: int
    connections: int


class Pool:
    """The servers of one application."""

    def __init__(self, plan: PoolPlan, ground: Ground, traffic: PoolTraffic) -> None:
        self.name = plan.name
        self.portal = plan.portal
        self.ground = ground
        self.traffic = traffic
        self.retries = RetryBudget(ground.clock())
        self.servers: deque[Server] = deque()
        self.drained: set[str] = set()  # names, kept over reloads, also of servers not in the plan
        self.unsettled = False  # whether a server is ejected or still coming back
        self.use(plan)

    def use(self, plan: PoolPlan) -> None:
        """Take over a plan, keeping the servers it still names; the others finish their work."""
        self.plan = plan
        self.deadlines = plan.deadlines
        self.sticky = plan.sticky
        self.forwarded = plan.forwarded
        # By the minor version the browser spoke (RFC 9110 7.6.3: the protocol as received).
        self.via = (
            tuple(b"Via: 1.%d %b\r\n" % (minor, plan.via) for minor in (0, 1)) if plan.via else None
        )
        known = {server.name: server for server in self.servers}
        self.servers = deque(
            known.pop(each.name) if each.name in known else Server(each, self)
            for each in plan.servers
        )
        self._orders: dict[str, tuple[Server, ...]] = {}
        self.unsettled = True  # weights may be others now
        for server, each in zip(self.servers, plan.servers, strict=True):
            server.use(each)
            server.draining = server.name in self.drained
            server.most_idle = plan.idle_connections
            server.idle_timeout = plan.idle_timeout
        for gone in known.values():
            gone.draining = True
            gone.close_idle()

    def choose(
        self,
        now: float,
        avoid: frozenset[Server] | set[Server] = frozenset(),
        session: str | None = None,
    ) -> Server | None:
        """The server of a sticky pool that ``session`` belongs to; else the usable server with the
        least connections in flight for its strength; equals take turns. When only ejected ones are
        left, one of them: failing perhaps is better than failing certainly."""
        if self.unsettled:
            self._settle(now)
        if session is not None and self.sticky:
            for server in self._order(session):
                if server.is_open and server not in avoid:
                    return server
        servers = self.servers
        if len(servers) == 1:
            server = servers[0]
            usable = (
                server.healthy
                and not server.draining
                and server.in_flight < server.most
                and server not in avoid
            )
            return server if usable else None
        servers.rotate(1)
        best: Server | None = None
        least = float("inf")
        for server in servers:
            if server.healthy and not server.draining and not server.ejected:
                load = (server.in_flight + 1) / server.strength
                if load < least and server.in_flight < server.most and server not in avoid:
                    best, least = server, load
        if best is None and self.unsettled:
            for server in servers:
                if (
                    server.healthy
                    and not server.draining
                    and server.in_flight < server.most
                    and server not in avoid
                ):
                    return server
        return best

    def _settle(self, now: float) -> None:
        """Let ejections end and shares grow; nothing to do any more once all are whole."""
        rule = self.plan.ejection
        unsettled = False
        for server in self.servers:
            server.ejected = server.standing.is_out(now)
            share = server.standing.share(now, rule)
            server.strength = server.plan.weight * share
            unsettled = unsettled or server.ejected or share < 1.0
        self.unsettled = unsettled

    def drain(self, name: str, *, drained: bool) -> bool:
        """Give the server no new exchanges, or give it some again; False when the pool has no such
        server. What is in flight to it goes on, sessions that stick to it move."""
        server = next((each for each in self.servers if each.name == name), None)
        if server is None:
            return False
        if drained:
            self.drained.add(name)
            server.draining = True
            server.close_idle()
        elif name in self.drained:
            self.drained.discard(name)
            server.draining = False
            server.standing.returned(self.ground.clock())
            self.unsettled = True
        return True

    def _order(self, session: str) -> tuple[Server, ...]:
        found = self._orders.get(session)
        if found is None:
            if len(self._orders) >= MOST_PLACED:
                self._orders.clear()
            servers = tuple(self.servers)
            names = [(server.name, server.plan.weight) for server in servers]
            found = tuple(servers[index] for index in placing.order(session, names))
            self._orders[session] = found
        return found

    def can_choose(self, avoid: set[Server] | None) -> bool:
        """Whether ``choose`` would find a server if none had too much to do."""
        return any(
            server.healthy and not server.draining and (avoid is None or server not in avoid)
            for server in self.servers
        )

    async def dial(self, server: Server) -> ServerConnection:
        """A new connection. Raises OSError, or TimeoutError after the pool's dial deadline."""
        loop = asyncio.get_running_loop()
        plan = server.plan

        connection = ServerConnection(self.ground, server)

        try:
            async with asyncio.timeout(self.deadlines.dial):
                if plan.path:
                    await loop.create_unix_connection(lambda: connection, plan.path)
                else:
                    await loop.create_connection(lambda: connection, plan.host, plan.port)
        except OSError as error:  # TimeoutError is one
            self.traffic.dial_failures += 1
            if error.errno not in EXHAUSTED:  # that is ours: it says nothing of the server
                server.failed()
            connection.abandon()
            raise
        except asyncio.CancelledError:
            connection.abandon()
            raise
        return connection

    def close(self) -> None:
        for server in self.servers:
            for connection in list(server.connections):
                connection.drop()

    def statistics(self) -> tuple[ServerStatistics, ...]:
        return tuple(
            ServerStatistics(
                each.name, each.healthy, each.draining, each.ejected, each.in_flight,
                len(each.idle), len(each.connections),
            )
            for each in sorted(self.servers, key=lambda server: server.name)
        )  # fmt: skip
