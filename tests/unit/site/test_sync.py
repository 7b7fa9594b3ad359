"""The sync on the ledger's twin: what a worker tells, what it takes over, and what it owes."""

from __future__ import annotations

import asyncio

import pytest

from broker.errors import LedgerAway
from broker.ledger.memory import MemoryLedger
from broker.ledger.port import SessionRecord, SyncReply, SyncReport
from broker.policy.limits import LimitsDocument
from broker.policy.shares import PoolLimits, PopulationLimits, Share
from broker.policy.worker_book import WorkerBook
from broker.site.admission import Spending
from broker.site.claims import Claims
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.sync import TOUCH_EVERY, Sync
from broker.site.tokens import KeyRing, Tokens
from broker.site.waiting_room import WaitingRoom

HOST = "feed.localhost"
EPOCH_MS = 1_800_000_000_000


def document(seats: int = 10, idle_ms: int = 900_000) -> LimitsDocument:
    return LimitsDocument(
        number=0,
        digest="d",
        scale=1.0,
        seats_limit=seats,
        connections_limit=100,
        populations={"sales": PopulationLimits(admitted=True, seats_maximum=seats)},
        pools={"feed": PoolLimits(Share(100), {"sales": Share(100)})},
        idle_ms=idle_ms,
    )


class Worker:
    """One worker without its gateway; boot time and ledger time move together."""

    def __init__(self, ledger: MemoryLedger, world: World, name: str) -> None:
        self.world = world
        self.wake = asyncio.Event()
        self.spending = Spending(64, self.wake.set, world.boot)
        self.cell = self.spending.cell("feed", "sales")
        self.time = LedgerTime(world.boot)
        self.sessions = SessionCache(
            world.tokens,
            ledger,
            self.time,
            str,
            clock=world.boot,
            wall_clock=world.wall,
            token_refresh=300,
            lifetime=43_200,
        )
        self.room = WaitingRoom(world.tokens, self.time, self.sessions.is_ended, world.boot)
        self.sync = Sync(
            WorkerBook(name),
            ledger,
            self.spending,
            self.sessions,
            self.time,
            self.room,
            self.wake,
            world.boot,
        )
        self.claims = Claims(ledger, self.room, clock=world.boot, idle=self.sync.idle)

    async def settle(self) -> None:
        """A few ticks, until nothing is to follow at once."""
        for _ in range(6):
            self.world.advance(0.25)
            while await self.sync.once():
                pass


class World:
    def __init__(self) -> None:
        self.seconds = 1000.0
        self.ledger = MemoryLedger(lambda: EPOCH_MS + int(self.seconds * 1000))
        self.tokens = Tokens(KeyRing.from_json(KeyRing.generate()), "demo", self.wall, 900)

    def boot(self) -> float:
        return self.seconds

    def wall(self) -> float:
        return EPOCH_MS / 1000 + self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    async def log_in(self, employee: str) -> bytes:
        now = (await self.ledger.look(employee)).ledger_ms
        record = SessionRecord(
            f"id-{employee}", employee, employee, "sales", (), now, now + 43_200_000
        )
        await self.ledger.put_session(record, most=10)
        return self.tokens.session_cookie(record, HOST).encode()


@pytest.fixture
async def world() -> World:
    world = World()
    await world.ledger.publish(document(), if_match=0, first_start=True)
    return world


async def test_a_worker_gets_something_to_spend_and_says_which_limits_it_has(world: World) -> None:
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    assert worker.cell.cap > 0
    assert worker.cell.fence_at > world.boot() + 500
    (view,) = await world.ledger.workers()
    assert view.limits_known == 1


async def test_who_is_active_keeps_the_seat_and_who_is_not_loses_it_to_one_who_waits(
    world: World,
) -> None:
    await world.ledger.publish(document(seats=2, idle_ms=60_000), if_match=1)
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    sessions = {}
    for name in ("anna", "bert"):
        session = await worker.sessions.resolve(await world.log_in(name), HOST.encode())
        assert session is not None
        assert (await worker.claims.claim(session)).state == "seated"
        session.person.last_active = world.boot()
        sessions[name] = session
    closed: list[str] = []

    class Tunnel:
        def revoke(self) -> None:
            closed.append("bert")

    sessions["bert"].streams.add(Tunnel())
    sessions["bert"].person.in_flight = 1  # a tunnel holds its unit of the grant while it is open
    for _ in range(int(90 / 0.25)):
        sessions["anna"].person.last_active = world.boot()
        await worker.sync.once()
        world.advance(0.25)
    await world.ledger.admit("carol", "sales")
    for _ in range(int(TOUCH_EVERY / 0.25) + 2):
        sessions["anna"].person.last_active = world.boot()
        await world.ledger.look("carol", present=True)
        await worker.sync.once()
        world.advance(0.25)
    assert set(closed) == {"bert"}
    assert sessions["anna"].person.seat_until > world.boot()
    assert sessions["bert"].person.seat_until <= world.boot()
    assert (await world.ledger.admit("carol", "sales")).state == "seated"


async def test_revocations_arrive_with_the_next_sync(world: World) -> None:
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    session = await worker.sessions.resolve(await world.log_in("anna"), HOST.encode())
    assert session is not None
    await world.ledger.revoke("employee", "anna")
    await worker.sync.once()
    assert not session.valid


async def test_nothing_is_spent_less_while_the_ledger_is_away(world: World) -> None:
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    before = worker.cell.cap
    world.ledger.away = True
    for _ in range(40):
        world.advance(0.25)
        await worker.sync.once()
    assert not worker.sync.up
    assert worker.cell.cap == before


async def test_what_is_known_is_written_back_before_the_worker_is_heard(world: World) -> None:
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    session = await worker.sessions.resolve(await world.log_in("anna"), HOST.encode())
    assert session is not None
    await worker.claims.claim(session)
    session.person.last_active = world.boot()
    world.ledger.lose_memory()
    world.advance(0.25)
    assert await worker.sync.once()  # hears of the new epoch

    world.ledger.away = True
    assert not await worker.sync.once()
    world.ledger.away = False
    assert await world.ledger.sessions("anna") == ()
    await worker.sync.once()

    assert [record.id for record in await world.ledger.sessions("anna")] == ["id-anna"]
    usage = await world.ledger.usage()
    assert usage.occupied["sales"] == 1
    assert usage.limits.seats_limit == 10
    assert worker.sync.epoch_changes == 1


async def test_limits_that_redis_lost_after_they_were_in_force_are_written_back(
    world: World,
) -> None:
    """A lowered limit that every worker has acknowledged is not undone by a lost write."""
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    kept = world.ledger.state.grants.limits
    assert kept is not None
    await world.ledger.publish(document(seats=3), if_match=kept.number)
    await worker.settle()
    world.ledger.state.grants.put_limits(kept)  # the last write is lost
    world.ledger.restart()
    await worker.settle()
    limits = (await world.ledger.usage()).limits
    assert limits.seats_limit == 3
    assert limits.number > kept.number + 1, "no other worker takes it for what was lost"
    assert worker.sync.limits == limits


async def test_leaving_gives_everything_back(world: World) -> None:
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    await worker.sync.leave()
    assert worker.cell.cap == 0
    assert sum((await world.ledger.usage()).held.values()) == 0


async def test_what_was_used_is_told_and_told_again_after_an_outage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its new cookies: at first sight, and each time one is issued again."""
    worker = Worker(world.ledger, world, "one")
    await worker.settle()
    cookie = await world.log_in("anna")
    session = await worker.sessions.resolve(cookie, HOST.encode())
    assert session is not None
    heard = world.ledger.sync

    async def away(report: SyncReport) -> SyncReply:
        raise LedgerAway("Redis is away")

    async def last_seen() -> int:
        (record,) = await world.ledger.sessions("anna")
        return record.last_seen_ms

    monkeypatch.setattr(world.ledger, "sync", away)
    await worker.sync.once()
    assert await last_seen() == 0
    monkeypatch.setattr(world.ledger, "sync", heard)
    await worker.settle()
    first = await last_seen()
    assert first > 0
    for _ in range(400):
        world.advance(0.25)
        worker.sessions.peek(cookie, HOST.encode(), world.boot())
        await worker.sync.once()
    assert await last_seen() == first, "the fast path writes nothing down"
    world.advance(300.0)
    for _ in range(300):  # ledger time goes on by at most a second a call
        await world.ledger.look("anna")
        world.advance(1.0)
    assert worker.sessions.renewal(session, cookie, world.boot()) is not None
    await worker.settle()
    assert await last_seen() > first + 300_000
