"""The Lua of escrow grants and its pure twin answer the same history alike, call by call.

Admission arithmetic exists twice, in ``policy/`` and in Lua; this is what keeps the two equal.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.ledger.memory import MemoryLedger
from broker.ledger.port import CellReport, SyncReport
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from tests.support.ledgers import LedgerClock, redis_ledger

if TYPE_CHECKING:
    from broker.ledger.port import Ledger, SyncReply
    from tests.support.redis_server import RedisServer

POOLS = ("a", "a-b", "c")
POPULATIONS = ("m", "s")
CELLS = [(pool, population) for pool in POOLS for population in POPULATIONS]
WORKERS = ("h/b/1", "h/b/2", "h/b/3")

shares = st.builds(
    Share,
    limit=st.integers(0, 12),
    guaranteed=st.integers(0, 6),
    lendable=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
documents = st.builds(
    LimitsDocument,
    number=st.just(0),
    digest=st.just(""),
    scale=st.just(1.0),
    seats_limit=st.just(0),
    connections_limit=st.one_of(st.integers(0, 20), st.just(200)),
    populations=st.fixed_dictionaries(
        {
            name: st.builds(
                PopulationLimits,
                admitted=st.just(True),
                seats_maximum=st.just(0),
                weight=st.integers(0, 3),
            )
            for name in POPULATIONS
        }
    ),
    pools=st.fixed_dictionaries(
        {},
        optional={
            name: st.builds(
                PoolLimits,
                connections=st.one_of(shares, st.just(Share(200))),
                cells=st.fixed_dictionaries(
                    {}, optional=dict.fromkeys(POPULATIONS, st.one_of(shares, st.just(Share(200))))
                ),
                lease_ms=st.sampled_from([1500, 5000]),
            )
            for name in POOLS
        },
    ),
)
cell_reports = st.builds(
    lambda cell, used, spare, want, age: CellReport(
        cell[0], cell[1], held=used + spare, used=used, want=want, want_age_ms=age
    ),
    st.sampled_from(CELLS),
    used=st.integers(0, 6),
    spare=st.integers(0, 2),
    want=st.one_of(st.integers(0, 4), st.just(40)),
    age=st.sampled_from([0, 1, 100, 260, 900]),
)
syncs = st.tuples(
    st.just("sync"),
    st.sampled_from(WORKERS),
    st.lists(cell_reports, max_size=6, unique_by=lambda row: (row.pool, row.population)),
    st.sampled_from(["new", "new", "new", "new", "again", "before"]),
    st.sampled_from(["known", "known", "known", "known", "none", "old"]),
    st.sampled_from([False, False, False, True]),
)
steps = st.one_of(
    syncs,
    syncs,
    syncs,
    st.tuples(st.just("time"), st.sampled_from([1, 250, 700, 1000, 90_000, -5000])),
    st.tuples(st.just("publish"), documents),
    st.tuples(st.just("tombstone"), st.sampled_from(WORKERS)),
    st.tuples(st.just("forget"), st.sampled_from(WORKERS)),
    st.tuples(st.just("restart")),
)


# Everything is taken and several wait: what is handed out, kept for others and taken back.
everybody = Share(100)
scarce_documents = st.builds(
    lambda site, pool, weights, guaranteed: LimitsDocument(
        number=0,
        digest="",
        scale=1.0,
        seats_limit=0,
        connections_limit=site,
        populations={
            name: PopulationLimits(True, 0, weight=weight)
            for name, weight in zip(POPULATIONS, weights, strict=True)
        },
        pools={
            "a": PoolLimits(Share(pool, guaranteed), dict.fromkeys(POPULATIONS, everybody)),
            "c": PoolLimits(everybody, {"m": everybody, "s": Share(100, guaranteed)}),
        },
    ),
    site=st.integers(10, 24),
    pool=st.integers(8, 20),
    weights=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    guaranteed=st.integers(0, 4),
)
busy_cells = st.builds(
    lambda cell, used, want, age: CellReport(
        cell[0], cell[1], held=used, used=used, want=want, want_age_ms=age
    ),
    st.sampled_from([cell for cell in CELLS if cell[0] != "a-b"]),
    used=st.integers(0, 6),
    want=st.integers(0, 6),
    age=st.sampled_from([1, 300, 400, 900]),
)
busy_steps = st.one_of(
    st.tuples(
        st.just("sync"),
        st.sampled_from(WORKERS),
        st.lists(busy_cells, min_size=1, max_size=2, unique_by=lambda r: (r.pool, r.population)),
        st.just("new"),
        st.just("known"),
        st.just(False),
    ),
    st.tuples(st.just("time"), st.sampled_from([10, 100])),
)


@pytest.mark.timeout(400)  # a failure is shrunk on a real Redis
@pytest.mark.parametrize("plenty", [True, False], ids=["anything", "everything is taken"])
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_same_history_same_answers(
    redis_server: RedisServer, plenty: bool, data: st.DataObject
) -> None:
    document = data.draw(documents if plenty else scarce_documents)
    history = data.draw(
        st.lists(steps, min_size=8, max_size=30)
        if plenty
        else st.lists(busy_steps, min_size=20, max_size=40)
    )
    asyncio.run(_replay(redis_server, document, history))


async def _replay(
    server: RedisServer, document: LimitsDocument, history: list[tuple[Any, ...]]
) -> None:
    clock = LedgerClock()
    with server.client() as client:
        client.flushall()
        clock.drive(client)
        twin = MemoryLedger(lambda: clock.now_ms)
        real = await redis_ledger(server.url, clock)
        both: tuple[Ledger, Ledger] = (twin, real)
        try:
            for ledger in both:
                await ledger.publish(document, if_match=0, first_start=True)
            sequences = dict.fromkeys(WORKERS, 1)
            for step in history:
                await _take(step, both, clock, sequences)
                if step[0] == "restart":
                    twin.restart()
                    client.hset("broker:{test}:meta", "run", "another")
                await _compare(twin, real)
                books = {
                    name.decode(): int(count)
                    for name, count in client.hgetall("broker:{test}:held").items()
                }
                assert books == {" ".join(cell): n for cell, n in twin.state.grants.held().items()}
        finally:
            await real.close()


async def _take(
    step: tuple[Any, ...],
    both: tuple[Ledger, Ledger],
    clock: LedgerClock,
    sequences: dict[str, int],
) -> None:
    match step:
        case ("time", ms):
            clock.advance(ms)
        case ("publish", document):
            for ledger in both:
                present = await ledger.limits()
                await ledger.publish(document, if_match=present.number if present else 0)
        case ("tombstone", who):
            assert len({await ledger.tombstone(who) for ledger in both}) == 1
        case ("forget", who):
            assert len({await ledger.forget_worker(who) for ledger in both}) == 1
        case ("sync", who, rows, order, epoch, leaving):
            if order == "new":
                sequences[who] += 1
            sequence = sequences[who] - (1 if order == "before" else 0)
            replies = []
            for ledger in both:
                known = (await ledger.usage()).epoch
                report = SyncReport(
                    who,
                    sequence,
                    {"known": known, "none": "", "old": "x"}[epoch],
                    cells=tuple(rows),
                    leaving=leaving,
                )
                replies.append(await ledger.sync(report))
            assert _told(replies[0]) == _told(replies[1])


def _told(reply: SyncReply) -> SyncReply:
    """Epochs are random: everything else must be equal."""
    return replace(reply, epoch="")


async def _compare(twin: Ledger, real: Ledger) -> None:
    assert await twin.workers() == await real.workers()
    one, other = await twin.usage(), await real.usage()
    assert replace(one, epoch="") == replace(other, epoch="")
