"""What second factors ask of Redis: that it keeps them."""

from __future__ import annotations

from contextlib import closing

import pytest

from broker.ledger.requirements import faults
from tests.support.redis_server import RedisServer

NOEVICTION = ("--maxmemory-policy", "noeviction")


@pytest.mark.parametrize(
    ("options", "severity", "words"),
    [
        ((), "fault", "would lose every second factor"),
        (("--save", "3600 1"), "warning", "since its last snapshot"),
        (("--appendonly", "yes"), None, ""),
    ],
)
@pytest.mark.usefixtures("redis_server")  # skips where there is none
async def test_who_keeps_second_factors_keeps_them_on_disk(
    options: tuple[str, ...], severity: str | None, words: str
) -> None:
    with closing(RedisServer(*NOEVICTION, *options)) as server:
        without = await faults(server.url)
        found = [each for each in await faults(server.url, factors=True) if each not in without]
    assert not any("second factor" in each.text for each in without)
    assert [each.severity for each in found] == ([severity] if severity else [])
    assert all(words in each.text for each in found)
