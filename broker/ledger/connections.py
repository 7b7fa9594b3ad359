"""From ``ledger.url`` to a client of redis-py: one node, a primary kept by Sentinel, or a Cluster.

Talks to redis-py alone and decides only how to find the node that may be written to. It must not
retry: a sync that was executed twice would be harmless, a hand-over code that was taken twice would
not. So every retry of redis-py is off here, and whoever was refused connects anew at the next call.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMS = (
    "redis://HOST, rediss://HOST, unix:///PATH, sentinel://HOST:PORT,HOST:PORT/NAME or"
    " cluster://HOST:PORT,HOST:PORT"
)
FAULTS = (RedisError, RedisClusterException, OSError)
"""All that redis-py raises when Redis is not there or refuses; finding no node of a Cluster is no
RedisError to it."""
_PORTS = {"sentinel": 26379, "cluster": 6379}
_BEHIND_AUTHORITY = re.compile(r"[/?#]")
_SUBSCRIPTIONS = 8
"""Connections beyond those of calls: each wake-up keeps one."""


@dataclass(frozen=True, slots=True)
class Address:
    """A ``ledger.url`` taken apart. ``scheme``: redis, rediss, unix, sentinel or cluster.

    ``hosts``: the Sentinels, or some nodes of the Cluster. ``name``: the primary, to Sentinels.
    ``options``: for connections to Redis itself; ``guards``: for those to the Sentinels.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    guards: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, url: str) -> Address:
        """Take ``url`` apart. Raises ConfigurationError, whose words never hold the password.

        User, password and query are those of redis-py's own URLs and are meant for Redis; of the
        query, ``sentinel_username`` and ``sentinel_password`` are for the Sentinels, ``ssl=true``
        and ``ssl_...`` for both.
        """
        try:
            address = cls._read(url)
            # Nothing connects here, but options that no connection knows are refused.
            open_client(address, deadline=1.0)
        except (ValueError, TypeError, *FAULTS) as error:
            raise ConfigurationError(f"should be {FORMS}, with options that exist") from error
        return address

    @classmethod
    def _read(cls, url: str) -> Address:
        scheme, _, rest = url.partition("://")
        if scheme in ("redis", "rediss", "unix"):
            return cls(scheme, options=dict(parse_url(url)))
        if scheme not in _PORTS:
            raise ValueError("no such scheme")
        # Several hosts are no authority of RFC 3986: newer Pythons refuse brackets among them.
        authority = _BEHIND_AUTHORITY.split(rest, 1)[0]
        user, at, listed = authority.rpartition("@")
        parts = urlsplit(f"redis://{rest[len(authority) :]}")
        options: dict[str, Any] = dict(parse_url(f"redis://{user}{at}?{parts.query}"))
        hosts = tuple(_host(one, _PORTS[scheme]) for one in listed.split(","))
        name = unquote(parts.path.strip("/"))
        if bool(name) != (scheme == "sentinel") or "/" in name:
            raise ValueError("a name where there should be none, or none")
        ssl = {key: value for key, value in options.items() if key.startswith("ssl")}
        if "ssl" in ssl:
            options["ssl"] = ssl["ssl"] = _yes(ssl["ssl"])
        guards = {
            key.removeprefix("sentinel_"): options.pop(key)
            for key in ("sentinel_username", "sentinel_password")
            if key in options
        }
        return cls(scheme, hosts, name, options, guards | ssl if scheme == "sentinel" else {})


@dataclass(frozen=True, slots=True)
class Client:
    """A client of redis-py and what its kind needs besides."""

    redis: Redis | RedisCluster
    address: Address
    sentinel: Sentinel | None = None

    async def ready(self) -> None:
        """A Cluster is asked once which node has which slots; otherwise nothing."""
        if isinstance(self.redis, RedisCluster):
            await self.redis.initialize()

    async def look_again(self) -> None:
        """The node refuses to be written to: let the next call ask anew who is the primary."""
        if isinstance(self.redis, Redis):
            await self.redis.connection_pool.disconnect(inuse_connections=False)

    def node(self, host: str, port: str | int, **more: Any) -> Redis:
        """A client of one node behind a Sentinel or in a Cluster, to be closed by the caller."""
        return Redis(
            host=host, port=int(port), **{**self.address.options, **more, "retry": _once()}
        )

    async def close(self) -> None:
        """Close every connection, the Sentinels' too."""
        if isinstance(self.redis, Redis):
            await self.redis.aclose(close_connection_pool=True)
        else:
            await self.redis.aclose()
            # After a fault redis-py regards its Cluster as not open and leaves connections behind.
            await self.redis.nodes_manager.aclose()
            await self.redis.nodes_manager.aclose("startup_nodes")
        for guard in self.sentinel.sentinels if self.sentinel is not None else ():
            await guard.aclose()


def open_client(address: Address, *, deadline: float, calls: int = 16, **more: Any) -> Client:
    """A client that connects at its first call. ``deadline``: seconds that its caller gives a call;
    ``calls``: the most at once. Raises what redis-py raises on options that it does not know."""
    options = {**address.options, **more, "retry": _once()}
    options["max_connections"] = calls + _SUBSCRIPTIONS
    if address.scheme == "cluster":
        # Below the deadline: only a time-out of its own makes redis-py ask who has the slots now.
        waits = {"socket_timeout": deadline * 0.8, "socket_connect_timeout": deadline * 0.5}
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return Client(RedisCluster(startup_nodes=nodes, **{**waits, **options}), address)
    if address.scheme == "sentinel":
        # They are asked in turn: one that is gone must leave time for the others and for Redis.
        wait = deadline / (len(address.hosts) + 1)
        guards = {**address.guards, "retry": _once()}
        guards |= {"socket_timeout": wait, "socket_connect_timeout": wait}
        sentinel = Sentinel(address.hosts, sentinel_kwargs=guards)  # type: ignore[no-untyped-call]
        redis: Redis = sentinel.master_for(address.name, **options)
    else:
        sentinel = None
        redis = Redis.from_pool(ConnectionPool(**options))
    redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return Client(redis, address, sentinel)


def _once() -> Retry:
    return Retry(NoBackoff(), 0)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or port


def _yes(text: str) -> bool:
    if text.lower() not in ("true", "yes", "1", "false", "no", "0"):
        raise ValueError("neither true nor false")
    return text.lower() in ("true", "yes", "1")
