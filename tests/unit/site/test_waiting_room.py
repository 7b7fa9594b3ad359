"""The waiting room of one worker: what it tells without asking, and what it must ask."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from broker.errors import LedgerAway
from broker.ledger.port import FormerTicket
from broker.policy.shares import PopulationLimits
from tests.unit.site.test_sync import HOST, Worker, World, document

if TYPE_CHECKING:
    from broker.site.admission import Session
    from broker.site.doors import Standing


class Room:
    """A site of one seat, which ``boss`` has, and a worker."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.worker = Worker(world.ledger, world, "one")

    async def log_in(self, employee: str, worker: Worker | None = None) -> Session:
        chosen = worker or self.worker
        session = await chosen.sessions.resolve(await self.world.log_in(employee), HOST.encode())
        assert session is not None
        return session

    def poll(
        self, session: Session, cookie: bytes | None = None, worker: Worker | None = None
    ) -> Standing | None:
        return (worker or self.worker).room.standing(session, cookie, self.world.boot())


@pytest.fixture
async def room(world: World) -> Room:
    await world.ledger.publish(document(seats=1), if_match=1)
    room = Room(world)
    await room.worker.settle()
    await world.ledger.admit("boss", "sales")
    return room


@pytest.fixture
async def world() -> World:
    world = World()
    await world.ledger.publish(document(), if_match=0, first_start=True)
    return world


def value(standing: Standing | None) -> bytes:
    """Of the ticket cookie that an answer sets."""
    assert standing is not None
    assert standing.cookie is not None
    return standing.cookie.removeprefix(b"__Host-broker-ticket=").partition(b";")[0]


async def test_a_place_is_told_without_asking_the_ledger(room: Room) -> None:
    sessions = [await room.log_in(name) for name in ("anna", "bert", "carl")]
    for session in sessions:
        assert (await room.worker.claims.claim(session)).state == "waiting"
    await room.worker.settle()
    room.world.ledger.away = True
    told = [room.poll(session) for session in sessions]
    assert [each and (each.state, each.position) for each in told] == [
        ("waiting", 1), ("waiting", 2), ("waiting", 3),
    ]  # fmt: skip
    assert told[0] is not None
    assert (told[0].population, told[0].claim_seconds) == ("sales", 90)


async def test_any_worker_answers_from_the_cookie_alone(room: Room) -> None:
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    other = Worker(room.world.ledger, room.world, "two")
    await other.settle()
    there = await room.log_in("anna", other)
    assert room.poll(there, None, other) is None, "without the cookie it has to ask"
    room.world.ledger.away = True
    told = room.poll(there, cookie, other)
    assert told is not None
    assert (told.state, told.position, told.cookie) == ("waiting", 1, None)


async def test_a_called_ticket_is_asked_for_by_whichever_worker_is_met(room: Room) -> None:
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    other = Worker(room.world.ledger, room.world, "two")
    there = await room.log_in("anna", other)
    await room.world.ledger.release("boss")
    await other.settle()
    assert room.poll(there, cookie, other) is None
    told = await other.claims.look(there, cookie)
    assert (told.state, told.claim_seconds) == ("called", 88)
    assert (await other.claims.claim(there, cookie)).cookie is not None  # it is forgotten


async def test_a_poll_is_presence_that_travels_with_the_sync(room: Room) -> None:
    session = await room.log_in("anna")
    await room.worker.claims.claim(session)
    for _ in range(100):
        room.world.advance(1)
        await room.worker.sync.once()
    assert (await room.world.ledger.usage()).waiting["sales"] == 0, "absent"
    assert room.poll(session) is not None
    await room.worker.settle()
    assert (await room.world.ledger.usage()).waiting["sales"] == 1


async def test_presence_is_kept_while_the_ledger_is_away(room: Room) -> None:
    session = await room.log_in("anna")
    await room.worker.claims.claim(session)
    await room.worker.settle()
    assert room.poll(session) is not None
    room.world.ledger.away = True
    await room.worker.sync.once()
    assert room.worker.room.present() == ("anna",)
    room.world.ledger.away = False
    await room.worker.sync.once()
    assert room.worker.room.present() == ()


async def test_a_ticket_that_the_ledger_does_not_have_is_asked_for(room: Room) -> None:
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    await room.world.ledger.remove_ticket("anna")
    assert room.poll(session, cookie) is not None, "not known here yet"
    await room.worker.settle()
    assert room.poll(session, cookie) is None
    gone = await room.worker.claims.look(session, cookie)
    assert gone.state == "gone"
    assert gone.cookie is not None
    assert b"Max-Age=0" in gone.cookie
    assert room.poll(session, cookie) is None, "the old cookie is not believed"
    assert (await room.worker.claims.claim(session, cookie)).position == 1


async def test_who_never_had_a_ticket_is_told_none(room: Room) -> None:
    session = await room.log_in("anna")
    assert room.poll(session) is None
    assert (await room.worker.claims.look(session)).state == "none"


async def test_a_population_no_longer_admitted_is_asked_for(room: Room) -> None:
    session = await room.log_in("anna")
    await room.worker.claims.claim(session)
    closed = {"sales": PopulationLimits(admitted=False, seats_maximum=1)}
    await room.world.ledger.publish(replace(document(1), populations=closed), if_match=2)
    await room.worker.settle()
    assert room.poll(session) is None
    assert (await room.worker.claims.look(session)).state == "not_admitted"


async def test_the_ticket_of_somebody_else_or_of_an_ended_session_is_worth_nothing(
    room: Room,
) -> None:
    anna, bert = await room.log_in("anna"), await room.log_in("bert")
    cookie = value(await room.worker.claims.claim(anna))
    assert room.poll(bert, cookie) is None
    assert room.poll(bert, b"no.ticket.at.all") is None
    assert room.worker.room.former(bert.person, cookie) is None
    other = Worker(room.world.ledger, room.world, "two")
    await other.settle()
    again = await room.log_in("anna", other)
    await room.world.ledger.end_session(anna.id)
    await other.settle()
    assert room.poll(again, cookie, other) is None


async def test_a_cookie_is_signed_again_now_and_then_and_one_for_all_browsers(room: Room) -> None:
    session = await room.log_in("anna")
    first = value(await room.worker.claims.claim(session))
    await room.worker.settle()
    told = room.poll(session, first)
    assert told is not None
    assert told.cookie is None
    assert value(room.poll(session, b"another browser's")) == first
    for _ in range(601):
        room.world.advance(1)
        room.poll(session, first)
        await room.worker.sync.once()
    second = value(room.poll(session, first))
    assert second != first
    read = room.world.tokens.read_ticket(second)
    assert read is not None
    assert (read.employee, read.session_id, read.number) == ("anna", session.id, 1)


async def test_while_learning_that_is_what_is_told(room: Room) -> None:
    session = await room.log_in("anna")
    await room.worker.claims.claim(session)
    room.world.ledger.lose_memory()
    await room.worker.sync.once()
    told = room.poll(session)
    assert told is not None
    assert (told.state, told.position) == ("learning", None)
    assert told.poll_seconds is not None


async def test_after_lost_memory_a_worker_writes_the_queue_back(room: Room) -> None:
    sessions = [await room.log_in(name) for name in ("anna", "bert")]
    for session in sessions:
        await room.worker.claims.claim(session)
    await room.world.ledger.publish(document(seats=0), if_match=2)
    await room.worker.settle()
    room.world.ledger.lose_memory()
    await room.worker.settle()
    before = [(await room.world.ledger.look(name)).position for name in ("anna", "bert")]
    assert before == [1, 2]
    for _ in range(700):  # nobody is known to be dead: the longest lease has to pass
        room.world.advance(1)
        for session in sessions:
            room.poll(session)
        await room.worker.settle()
    told = [room.poll(session) for session in sessions]
    assert [each and (each.state, each.position) for each in told] == [
        ("waiting", 1), ("waiting", 2),
    ]  # fmt: skip


async def forgotten(room: Room) -> tuple[Worker, Session]:
    """The memory is lost, and another worker has met a newcomer, who is the first now."""
    room.world.ledger.lose_memory()
    await room.world.ledger.publish(document(seats=1), if_match=0, first_start=True)
    other = Worker(room.world.ledger, room.world, "two")
    await other.settle()
    await room.world.ledger.admit("boss", "sales")
    newcomer = await room.log_in("zoe", other)
    assert (await other.claims.claim(newcomer)).position == 1
    return other, newcomer


async def test_a_new_worker_puts_back_the_ticket_that_the_browser_shows(room: Room) -> None:
    """Worker and memory both lost: only the browser still knows."""
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    other, newcomer = await forgotten(room)
    there = await room.log_in("anna", other)
    told = await other.claims.claim(there, cookie)
    assert (told.state, told.position) == ("waiting", 1)
    assert value(told) != cookie, "it names the new epoch"
    await other.settle()
    told_newcomer = room.poll(newcomer, None, other)
    assert told_newcomer is not None
    assert told_newcomer.position == 2


async def test_a_worker_that_has_not_heard_of_the_lost_memory_keeps_the_old_place(
    room: Room,
) -> None:
    """The ledger gives a number of the new epoch; the browser still holds the better one."""
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    await forgotten(room)
    told = await room.worker.claims.claim(session, cookie)
    assert (told.state, told.cookie) == ("learning", None)
    await room.worker.settle()
    after = await room.worker.claims.claim(session, cookie)
    assert (after.state, after.position) == ("waiting", 1)


async def test_a_poll_puts_it_back_as_well(room: Room) -> None:
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    room.world.ledger.lose_memory()
    await room.world.ledger.publish(document(seats=0), if_match=0, first_start=True)
    other = Worker(room.world.ledger, room.world, "two")
    await other.settle()
    there = await room.log_in("anna", other)
    assert room.poll(there, cookie, other) is None
    assert (await other.claims.look(there, cookie)).position == 1


async def test_how_long_somebody_was_silent_is_said(room: Room) -> None:
    session = await room.log_in("anna")
    cookie = value(await room.worker.claims.claim(session))
    room.world.ledger.restart()
    other = Worker(room.world.ledger, room.world, "two")
    await other.settle()
    there = await room.log_in("anna", other)
    former = other.room.former(there.person, cookie)
    assert isinstance(former, FormerTicket)
    assert (former.number, former.population) == (1, "sales")
    assert 1000 <= former.silent_ms <= 3000


async def test_an_estimate_is_promised_once(room: Room) -> None:
    session = await room.log_in("anna")
    for number in range(40):
        await room.world.ledger.admit(f"e{number}", "sales")
    await room.worker.claims.claim(session)
    first = await room.world.ledger.look("boss")
    assert first.state == "seated"
    seated = "boss"
    for number in range(20):  # a seat every five seconds
        for _ in range(20):
            room.world.advance(0.25)
            polled = tuple(f"e{each}" for each in range(40))
            room.world.ledger.seats.apply_presence(polled)
            room.poll(session)
            await room.worker.sync.once()
        await room.world.ledger.release(seated)
        seated = f"e{number}"
        assert (await room.world.ledger.admit(seated, "sales")).state == "seated"
    await room.worker.sync.once()
    told = room.poll(session)
    assert told is not None
    assert told.p50 is not None
    assert told.p90 is not None
    assert told.position == 21
    assert 60 <= told.p50 <= 180
    assert told.p50 < told.p90 <= 300
    ticket = room.world.ledger.seats._tickets["anna"]
    promised = ticket.promised_ms
    assert promised is not None
    newcomer = room.worker.room.estimates()["sales"]
    assert newcomer is not None
    assert newcomer.p50 >= told.p50
    for _ in range(8):
        room.world.advance(0.25)
        room.poll(session)
        await room.worker.sync.once()
    assert ticket.promised_ms == promised


async def test_who_asks_at_the_same_time_shares_a_call(world: World) -> None:
    room = Room(world)
    await room.worker.settle()
    sizes: list[int] = []
    ask = world.ledger.admit_all
    gate = asyncio.Event()

    async def counted(asking):  # type: ignore[no-untyped-def]
        sizes.append(len(asking))
        await gate.wait()
        return await ask(asking)

    world.ledger.admit_all = counted  # type: ignore[method-assign]
    sessions = [await room.log_in(f"e{number}") for number in range(9)]
    tasks = [asyncio.create_task(room.worker.claims.claim(each)) for each in sessions]
    await asyncio.sleep(0)
    tasks[3].cancel()
    await asyncio.sleep(0)
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sizes == [1, 7]
    assert isinstance(done[3], asyncio.CancelledError)
    assert {each.state for each in done if not isinstance(each, BaseException)} == {"seated"}
    assert (await room.worker.claims.claim(sessions[3])).state == "seated"


@pytest.mark.parametrize("cancelled", [0, 1])
async def test_when_the_one_who_carries_a_call_leaves_the_others_are_answered(
    world: World, cancelled: int
) -> None:
    room = Room(world)
    await room.worker.settle()
    ask = world.ledger.admit_all
    gate = asyncio.Event()

    async def slow(asking):  # type: ignore[no-untyped-def]
        await gate.wait()
        return await ask(asking)

    world.ledger.admit_all = slow  # type: ignore[method-assign]
    sessions = [await room.log_in(f"e{number}") for number in range(4)]
    tasks = [asyncio.create_task(room.worker.claims.claim(each)) for each in sessions]
    for _ in range(3):
        await asyncio.sleep(0)
    if cancelled == 1:  # the carrier of the second call, at the moment it is chosen
        gate.set()
        while not tasks[0].done():
            await asyncio.sleep(0)
    tasks[cancelled].cancel()
    await asyncio.sleep(0)
    gate.set()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(each, asyncio.CancelledError) for each in done) <= 1
    assert {each.state for each in done if not isinstance(each, BaseException)} == {"seated"}


async def test_a_ledger_that_is_away_is_told_to_all_who_share_the_call(world: World) -> None:
    room = Room(world)
    await room.worker.settle()
    sessions = [await room.log_in(f"e{number}") for number in range(4)]
    world.ledger.away = True
    tasks = [asyncio.create_task(room.worker.claims.claim(each)) for each in sessions]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, LedgerAway) for each in done)
    world.ledger.away = False
    assert (await room.worker.claims.claim(sessions[0])).state == "seated"
