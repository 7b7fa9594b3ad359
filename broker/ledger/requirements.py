"""Whether a Redis is fit to be the ledger: ``serve`` refuses on a fault, ``check`` explains all.

Talks to the Redis named, with a connection of its own. It looks only; it changes nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Fault:
    """``fault``: this Redis must not be used. ``warning``: it may, and this is the price."""

    severity: Literal["fault", "warning"]
    text: str


_REFUSED = Fault("fault", "Redis refuses the user name or password of ledger.url, or wants one")


async def faults(url: str, *, deadline: float = 2.0) -> list[Fault]:
    """All that is wrong with the Redis at ``url``, unreachable included; within ``deadline`` s."""
    redis = Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0))
    try:
        async with asyncio.timeout(deadline):
            return await _look(redis)
    except TimeoutError:
        return [Fault("fault", f"Redis did not answer within {deadline:g} s")]
    except AuthenticationError:
        return [_REFUSED]
    except (RedisError, OSError) as error:
        if "authenticated" in str(error):  # how Redis answers HELLO without a password
            return [_REFUSED]
        return [Fault("fault", f"Redis cannot be used: {type(error).__name__}: {error}")]
    finally:
        await redis.aclose()


async def _look(redis: Redis) -> list[Fault]:
    found: list[Fault] = []
    info = await redis.info("everything")
    version = str(info.get("valkey_version") or info["redis_version"])
    numbers = tuple(int(part) for part in version.split(".")[:2])
    if "valkey_version" not in info and numbers < OLDEST:
        found.append(
            Fault("fault", f"Redis {version} is too old: 6.2 or later is needed, or Valkey")
        )
    if info.get("role") != "master":
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
    if not int(info.get("aof_enabled", 0)) and not await _saves(redis):
        found.append(
            Fault(
                "warning",
                "Redis keeps nothing on disk (no appendonly, no save): after a restart nobody new"
                " is admitted until the longest lease has passed",
            )
        )
    return found


async def _saves(redis: Redis) -> bool:
    """Whether snapshots are configured; a provider may forbid CONFIG, then nothing is said."""
    try:
        return bool((await redis.config_get("save")).get("save"))
    except RedisError:
        return True
