"""A pool: which server an exchange goes to, what a second attempt costs, and the dialling.

The server with the least connections in flight for its strength among the usable ones; of a sticky
pool the one a session belongs to (``policy.placing``). A second attempt is paid from the pool's
budget (``policy.retries``); the attempt itself is ``journey``'s.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from broker.gateway.addresses import NameUnknown
from broker.gateway.doorstep import EXHAUSTED
from broker.gateway.upstream import Server, ServerConnection, ServerStatistics
from broker.policy import placing
from broker.policy.retries import RetryBudget

if TYPE_CHECKING:
    from broker.gateway.ground import Ground, PoolTraffic
    from broker.gateway.plan import PoolPlan

MOST_PLACED: Final = 65_536  # sessions whose order of servers is remembered


class Pool:
    """The servers of one application."""

    def __init__(
        self, plan: PoolPlan, ground: Ground, traffic: PoolTraffic, drained: set[str]
    ) -> None:
        """``drained``: names of servers that get no new exchanges, the same set for all pools; also
        of servers that no plan has at present."""
        self.name = plan.name
        self.portal = plan.portal
        self.ground = ground
        self.traffic = traffic
        self.retries = RetryBudget(ground.clock())
        self.servers: deque[Server] = deque()
        self.drained = drained
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

    def follow_drained(self) -> None:
        """``drained`` has changed: who is in it gets no new exchanges, who has left it gets some
        again. What is in flight goes on, sessions that stick to a drained server move."""
        for server in self.servers:
            drained = server.name in self.drained
            if drained and not server.draining:
                server.draining = True
                server.close_idle()
            elif server.draining and not drained:
                server.draining = False
                server.standing.returned(self.ground.clock())
                self.unsettled = True

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
        """A new connection, to one of the server's addresses after the other. Raises OSError, or
        TimeoutError after the pool's dial deadline. That its name cannot be resolved, or that we
        have no descriptor left, says nothing of the server; anything else does."""
        try:
            addresses = await server.where(self.deadlines.dial)
        except NameUnknown:
            self.traffic.dial_failures += 1
            raise
        clock = self.ground.clock
        ends = clock() + self.deadlines.dial
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                connection = await self._attempt(server, address, (ends - clock()) / left)
            except OSError as error:  # TimeoutError is one
                exhausted = error.errno in EXHAUSTED
                if not exhausted:
                    server.unreachable(address, error)
                if left > 1 and not exhausted:
                    continue
                self.traffic.dial_failures += 1
                if not exhausted:
                    server.failed()
                raise
            server.reached(address)
            connection.moved = server.has_left(address)  # while this was dialled
            return connection
        raise NameUnknown(server.name)  # nobody returns an empty list

    async def _attempt(self, server: Server, address: str, seconds: float) -> ServerConnection:
        loop = asyncio.get_running_loop()
        plan = server.plan
        connection = ServerConnection(self.ground, server, address)
        try:
            async with asyncio.timeout(seconds):
                if plan.path:
                    await loop.create_unix_connection(lambda: connection, plan.path)
                elif plan.tls is not None:
                    await loop.create_connection(
                        lambda: connection, address, plan.port, ssl=plan.tls,
                        server_hostname=plan.server_name or plan.host,
                    )  # fmt: skip
                else:
                    await loop.create_connection(lambda: connection, address, plan.port)
        except BaseException:
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
