"""Whether a Redis is fit to be the ledger: ``serve`` refuses on a fault, ``check`` explains all.

Talks to the Redis named, with connections of its own: behind Sentinel to the primary and to every
replica that may take its place, in a Cluster to every primary. It looks only; it changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import AuthenticationError, RedisError

from broker.errors import ConfigurationError
from broker.ledger.connections import FAULTS, Address, open_client
from broker.policy.worker_book import FENCE_MARGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.ledger.connections import Client

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Fault:
    """``fault``: this Redis must not be used. ``warning``: it may, and this is the price."""

    severity: Literal["fault", "warning"]
    text: str


_REFUSED = Fault("fault", "Redis refuses the user name or password of ledger.url, or wants one")


async def faults(url: str, *, deadline: float = 2.0, factors: bool = False) -> list[Fault]:
    """All that is wrong with the Redis at ``url``, unreachable included; within ``deadline`` s.
    ``factors``: it keeps second factors, which cannot be made again from what workers know."""
    try:
        client = open_client(Address.read(url), deadline=deadline, decode_responses=True)
    except ConfigurationError as error:
        return [Fault("fault", f"ledger.url {error.reason}")]
    try:
        async with asyncio.timeout(deadline):
            return [fault async for fault in _look_everywhere(client, factors)]
    except TimeoutError:
        return [Fault("fault", f"Redis did not answer within {deadline:g} s")]
    except MasterNotFoundError:
        return [
            Fault(
                "fault",
                f"no Sentinel of ledger.url names a healthy primary for {client.address.name}: none"
                " answers, they want a sentinel_password, or the name or the primary is wrong",
            )
        ]
    except AuthenticationError:
        return [_REFUSED]
    except FAULTS as error:
        if "authenticated" in str(error):  # how Redis answers HELLO without a password
            return [_REFUSED]
        return [Fault("fault", f"Redis cannot be used: {type(error).__name__}: {error}")]
    finally:
        await client.close()


async def _look_everywhere(client: Client, factors: bool) -> AsyncIterator[Fault]:
    """Every node that is, or may become, the one written to; each fault names its node."""
    if client.sentinel is not None:
        host, port = await client.sentinel.discover_master(client.address.name)
        async with client.node(host, port, decode_responses=True) as node:
            for fault in await _look(node, factors) + await _lags(node):
                yield _at("primary", host, port, fault)
        for address in await client.sentinel.discover_slaves(client.address.name):
            host, port = str(address[0]), str(address[1])
            async with client.node(host, port, decode_responses=True) as node:
                try:
                    found = await _look(node, factors, primary=False) + await _lags(node)
                except FAULTS as error:
                    found = [Fault("warning", f"cannot be looked at: {type(error).__name__}")]
            for fault in found:
                yield _at("replica", host, port, fault)
    elif isinstance(client.redis, RedisCluster):
        await client.ready()
        for member in client.redis.get_primaries():
            async with client.node(member.host, member.port, decode_responses=True) as node:
                for fault in await _look(node, factors):
                    yield _at("primary", member.host, member.port, fault)
    else:
        for fault in await _look(client.redis, factors):
            yield fault


def _at(kind: str, host: str, port: str | int, fault: Fault) -> Fault:
    return Fault(fault.severity, f"{kind} {host}:{port}: {fault.text}")


async def _look(redis: Redis, factors: bool, *, primary: bool = True) -> list[Fault]:
    found: list[Fault] = []
    info = await redis.info("everything")
    version = str(info.get("valkey_version") or info["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if "valkey_version" not in info and numbers < OLDEST:
        found.append(
            Fault("fault", f"Redis {version} is too old: 6.2 or later is needed, or Valkey")
        )
    if primary and info.get("role") != "master":
        found.append(Fault("fault", "this Redis is a replica: the ledger needs the primary"))
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            Fault(
                "fault",
                f"maxmemory-policy is {policy}: Redis would throw seats and grants away when its"
                " memory is full; set it to noeviction",
            )
        )
    appends, saves = bool(int(info.get("aof_enabled", 0))), await _saves(redis)
    if not appends and not saves:
        found.append(
            Fault(
                "warning",
                "Redis keeps nothing on disk (no appendonly, no save): after a restart nobody new"
                " is admitted until the longest lease has passed",
            )
        )
    if factors and not appends:
        found.append(_factors_at_risk(saves))
    return found


def _factors_at_risk(saves: bool) -> Fault:
    if not saves:
        return Fault(
            "fault",
            "a restart of Redis would lose every second factor, and who has one could not log in"
            " any more: set appendonly yes",
        )
    return Fault(
        "warning",
        "a restart of Redis loses the second factors that were set up, and forgets the codes that"
        " were used, since its last snapshot: set appendonly yes",
    )


async def _lags(redis: Redis) -> list[Fault]:
    """Whether a primary that Sentinel has replaced stops by itself before that does harm.

    Until it stops it may extend leases of which the new primary knows nothing. Those end at most
    so much later than the new one believes; workers stop ``FENCE_MARGIN`` before the end of theirs.
    """
    try:
        # By pattern: before 7.0 Redis takes one argument.
        wanted = await redis.config_get("min-replicas-*")
        replicas = int(wanted["min-replicas-to-write"] or 0)
        lag = int(wanted["min-replicas-max-lag"] or 0)
    except (RedisError, KeyError):
        return [
            Fault(
                "warning",
                "does not tell its configuration: make sure that min-replicas-to-write is at least"
                f" 1 and min-replicas-max-lag above 0 and below {FENCE_MARGIN:g}",
            )
        ]
    found: list[Fault] = []
    if replicas < 1:
        found.append(
            Fault(
                "fault",
                f"min-replicas-to-write is {replicas}: a primary that is cut off would go on giving"
                " seats and connections while Sentinel has made another; set it to 1 or more",
            )
        )
    if not 0 < lag < FENCE_MARGIN:
        found.append(
            Fault(
                "fault",
                f"min-replicas-max-lag is {lag}"
                + (" (never)" if lag == 0 else " s")
                + ": a primary that is cut off could extend leases for longer than the"
                f" {FENCE_MARGIN:g} s by which workers stop early; set it to 1",
            )
        )
    return found


async def _saves(redis: Redis) -> bool:
    """Whether snapshots are configured; a provider may forbid CONFIG, then nothing is said."""
    try:
        return bool((await redis.config_get("save")).get("save"))
    except RedisError:
        return True
