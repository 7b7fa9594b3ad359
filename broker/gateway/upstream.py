"""One server of a pool and the connections to it: used by one exchange at a time, kept idle.

A server whose requests fail is left alone for a while (``policy.ejection``). A kept connection that
its server closes meanwhile is noticed by the event loop and dropped; if that happens in the very
moment of reuse, the exchange asks again on a new connection (``journey``). This module moves bytes
and knows nothing of their meaning: they go to the *party* that uses the connection. Which server is
chosen, and who dials, is ``pool``.
"""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast

from broker.gateway.addresses import Addresses, is_name
from broker.gateway.deadlines import NO_SLOT
from broker.gateway.outbox import Connection
from broker.policy.ejection import Standing, can_spare

if TYPE_CHECKING:
    import asyncio

    from broker.gateway.ground import Ground
    from broker.gateway.plan import ServerPlan
    from broker.gateway.pool import Pool

FRESH: Final = 1.0  # seconds a kept connection is trusted with a request that must not be repeated

_log = logging.getLogger(__name__)


class Party(Protocol):
    """Who uses a server connection: an exchange, then perhaps a tunnel."""

    def server_data(self, data: memoryview) -> None:
        """Good only during the call: who keeps bytes copies them."""
        ...

    def server_gone(self, error: Exception | None) -> None:
        """The connection is closed; ``error`` is None when its peer ended it in an orderly way."""
        ...

    def server_ended(self) -> None:
        """It says no more, in an orderly way. That it is gone is told once it has taken what waits
        for it: a server that does not read never is."""
        ...

    def server_full(self) -> None: ...

    def server_drained(self) -> None: ...

    def server_late(self, now: float) -> None: ...


class ServerConnection(Connection):
    """One connection to one server."""

    __slots__ = ("address", "closed", "due", "idle_since", "made", "moved", "party", "paused",
                 "reused", "secure", "server", "slot")  # fmt: skip

    def __init__(self, ground: Ground, server: Server, address: str = "") -> None:
        super().__init__(ground)
        self.server = server
        self.address = address  # one of those the server's name had when this was dialled
        self.moved = False  # it has not any more
        self.secure = False
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
            self.keep_little()
            self.made = True
            if transport.get_extra_info("ssl_object") is not None:
                self.secure = True

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.ground.view

    def buffer_updated(self, nbytes: int) -> None:
        party = self.party
        if party is None:  # nobody asked for anything: it cannot be trusted any more
            self.drop()
        else:
            party.server_data(self.ground.view[:nbytes])

    def eof_received(self) -> bool:
        self.closed = True
        if self.party is not None:
            self.party.server_ended()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # Over TLS only the peer's own closure ends a message that says no length: anybody on the
        # way can send a FIN (RFC 9112 9.8).
        if self.secure and exc is None and not self.closed:
            exc = ConnectionResetError("ended without closing TLS")
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
        if self.closed or self.moved or server.draining or len(server.idle) >= server.most_idle:
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
        ground = pool.ground
        self.addresses = (
            Addresses(
                plan.host,
                lambda: pool.plan.resolve_every,
                ground.clock,
                ground.spawn,
                self._has_moved,
            )
            if plan.host and is_name(plan.host)
            else None
        )
        self.trouble = ""  # why it could not be reached, as last told
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
        spared = can_spare(left, len(able))
        if self.standing.failed(pool.ground.clock(), pool.plan.ejection, spared=spared):
            pool.unsettled = self.ejected = True
            self.close_idle()
            _log.warning("server %s fails requests: ejected for a while", self.name)

    async def where(self, patience: float) -> list[str]:
        """The addresses to try, in this order; one empty one for a Unix socket. Raises
        NameUnknown when there is none, after ``patience`` seconds at the latest."""
        if self.addresses is None:
            return [self.plan.host]
        return await self.addresses.get(patience)

    def _has_moved(self) -> None:
        """Its name has other addresses: what is in flight to an old one ends there, no more."""
        for connection in list(self.connections):
            if self.has_left(connection.address):
                connection.moved = True
                if connection in self.idle:
                    connection.drop()

    def has_left(self, address: str) -> bool:
        """Whether the server's name no longer has this address."""
        return self.addresses is not None and address not in self.addresses.known

    def reached(self, address: str) -> None:
        self.trouble = ""
        if self.addresses is not None:
            self.addresses.reached(address)

    def unreachable(self, address: str, error: BaseException) -> None:
        """Told once for each reason: certificates, refusals, silence are different work."""
        if self.addresses is not None:
            self.addresses.unreachable(address)
        why = told(error)
        if why != self.trouble:
            self.trouble = why
            where = "" if self.addresses is None else f" at {address}"
            _log.warning("server %s cannot be reached%s: %s", self.name, where, why)

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


def told(error: BaseException) -> str:
    """Why a server could not be reached, in some words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate cannot be believed: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if (
        isinstance(error, OSError)
        and not isinstance(error, ssl.SSLError)
        and (error.errno or 0) > 0
    ):
        return os.strerror(error.errno or 0)  # the event loop's own text repeats the address
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """One server at one moment. ``most``: exchanges in flight that this worker may have to it."""

    name: str
    healthy: bool
    draining: bool
    ejected: bool
    in_flight: int
    idle: int
    connections: int
    weight: int = 1
    most: int | None = None
