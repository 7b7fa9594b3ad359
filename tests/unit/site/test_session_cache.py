"""Who is behind a cookie: memory, signature, record, revocation, and a ledger that is away."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from broker.errors import LedgerAway, LedgerLearning
from broker.ledger.port import Ledger, Revocation, SeatAnswer, SessionRecord
from broker.site.claims import Claims, trusted_for
from broker.site.identity import identity_headers
from broker.site.ledger_time import LedgerTime
from broker.site.session_cache import SessionCache
from broker.site.tokens import KeyRing, SeatClaim, Tokens
from broker.site.waiting_room import WaitingRoom

HOST = b"feed.localhost:8443"
HOURS_12 = 43_200_000


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Records:
    """The two calls of the ledger that sessions and seats need."""

    def __init__(self) -> None:
        self.known: dict[str, SessionRecord] = {}
        self.away = False
        self.learning = False
        self.asked = 0
        self.admitted = 0
        self.gate: asyncio.Event | None = None
        self.answer = SeatAnswer("seated", "sales")

    async def session(self, session_id: str) -> SessionRecord | None:
        self.asked += 1
        if self.away:
            raise LedgerAway("Redis is away")
        if self.learning and session_id not in self.known:
            raise LedgerLearning("perhaps not written back yet")
        return self.known.get(session_id)

    async def admit_all(self, asking: list[tuple[str, str]]) -> list[SeatAnswer]:
        self.admitted += len(asking)
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise LedgerAway("Redis is away")
        return [self.answer for _ in asking]


class Closed:
    def __init__(self) -> None:
        self.times = 0

    def revoke(self) -> None:
        self.times += 1


class World:
    """One worker's session cache with clocks that a test moves."""

    def __init__(self) -> None:
        self.boot = Clock(1000.0)
        self.wall = Clock(1_800_000_000.0)
        self.records = Records()
        self.time = LedgerTime(self.boot)
        self.time.heard("epoch-1", 5_000_000, 1000.0)
        self.tokens = Tokens(KeyRing.from_json(KeyRing.generate()), "demo", self.wall, 900)
        ledger = cast("Ledger", self.records)
        self.cache = SessionCache(
            self.tokens,
            ledger,
            self.time,
            str.upper,
            clock=self.boot,
            wall_clock=self.wall,
            token_refresh=300,
            lifetime=43_200,
        )
        room = WaitingRoom(self.tokens, self.time, self.cache.is_ended, self.boot)
        self.claims = Claims(ledger, room, clock=self.boot, idle=lambda: 900.0)

    def record(self, employee: str = "anna", session_id: str = "s1") -> SessionRecord:
        record = SessionRecord(
            session_id,
            employee,
            employee.title(),
            "sales",
            ("cn=sales,dc=example",),
            4_000_000,
            4_000_000 + HOURS_12,
        )
        self.records.known[session_id] = record
        return record

    def cookie(self, record: SessionRecord, seat: SeatClaim | None = None) -> bytes:
        return self.tokens.session_cookie(record, HOST.decode(), seat).encode()


@pytest.fixture
def world() -> World:
    return World()


async def test_a_stranger_is_nobody_and_is_not_remembered(world: World) -> None:
    assert world.cache.peek(b"nonsense", HOST, 1000.0) is None
    assert await world.cache.resolve(b"nonsense", HOST) is None
    assert await world.cache.resolve(b"\xff\xfe", HOST) is None
    assert world.records.asked == 0


async def test_once_resolved_it_is_found_without_asking(world: World) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert world.cache.peek(cookie, HOST, 1001.0) is session
    assert session.person.log_name == "ANNA"
    assert world.records.asked == 1


async def test_a_cookie_is_good_on_its_own_host_only(world: World) -> None:
    cookie = world.cookie(world.record())
    await world.cache.resolve(cookie, HOST)
    assert world.cache.peek(cookie, b"wiki.localhost:8443", 1001.0) is None
    assert await world.cache.resolve(cookie, b"wiki.localhost:8443") is None


async def test_a_session_without_a_record_is_logged_out(world: World) -> None:
    record = world.record()
    world.records.known.clear()
    assert await world.cache.resolve(world.cookie(record), HOST) is None


async def test_with_redis_away_the_signature_is_enough(world: World) -> None:
    cookie = world.cookie(world.record(), SeatClaim("epoch-1", 5_600_000))
    world.records.away = True
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert session.person.seat_until == pytest.approx(1600.0)


async def test_with_redis_away_an_old_token_of_an_unknown_session_cannot_be_decided(
    world: World,
) -> None:
    cookie = world.cookie(world.record())
    world.records.away = True
    world.wall.now += 901
    with pytest.raises(LedgerAway):
        await world.cache.resolve(cookie, HOST)


async def test_an_old_token_is_no_logout_while_its_record_lives(world: World) -> None:
    cookie = world.cookie(world.record())
    world.wall.now += 3600
    world.boot.now += 3600
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert world.cache.renewal(session, cookie, world.boot.now) is not None


async def test_a_wall_clock_that_jumps_logs_nobody_out_and_extends_no_seat(world: World) -> None:
    cookie = world.cookie(world.record(), SeatClaim("epoch-1", 5_060_000))
    for jump in (3600.0, -3600.0):
        world.wall.now += jump
        session = await world.cache.resolve(cookie, HOST)
        assert session is not None
        assert session.person.seat_until <= 1060.0


async def test_a_seat_stated_in_another_epoch_is_not_trusted(world: World) -> None:
    cookie = world.cookie(world.record(), SeatClaim("epoch-0", 9_000_000))
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert session.person.seat_until == 0.0


async def test_a_token_is_reissued_after_five_minutes_and_only_then(world: World) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert world.cache.renewal(session, cookie, 1299.0) is None
    renewed = world.cache.renewal(session, cookie, 1301.0)
    assert renewed is not None
    assert renewed == world.cache.renewal(session, cookie, 1302.0)
    assert renewed.startswith(b"__Host-broker=")
    assert renewed.endswith(b"; Path=/; Secure; HttpOnly; SameSite=Lax")


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("session", "s1"), ("employee", "anna"), ("population", "sales"), ("everybody", "")],
)
async def test_a_revocation_ends_the_session_and_closes_what_is_open(
    world: World, kind: str, subject: str
) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    tunnel = Closed()
    session.streams.add(tunnel)
    world.cache.revoke(Revocation(1, kind, subject, 5_000_000))  # type: ignore[arg-type]
    assert tunnel.times == 1
    assert world.cache.peek(cookie, HOST, 1001.0) is None
    assert await world.cache.resolve(cookie, HOST) is None


async def test_a_revocation_of_somebody_else_changes_nothing(world: World) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    world.cache.revoke(Revocation(1, "employee", "bert", 5_000_000))
    assert world.cache.peek(cookie, HOST, 1001.0) is session


async def test_a_login_after_the_revocation_is_not_concerned(world: World) -> None:
    world.cache.revoke(Revocation(1, "employee", "anna", 3_999_999))
    assert await world.cache.resolve(world.cookie(world.record()), HOST) is not None


async def test_expired_cookies_and_ended_sessions_are_forgotten(world: World) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    world.cache.sweep(session.ends + 1)
    assert world.cache.records() == []
    assert world.cache.person("anna") is None
    assert not session.valid


async def test_forty_requests_of_one_employee_ask_once(world: World) -> None:
    session = await world.cache.resolve(world.cookie(world.record()), HOST)
    assert session is not None
    world.records.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(world.claims.claim(session)) for _ in range(40)]
        await asyncio.sleep(0)
        world.records.gate.set()
    assert {task.result().state for task in asked} == {"seated"}
    assert world.records.admitted == 1
    assert session.person.seat_until == 1000.0 + trusted_for(900.0)


async def test_when_the_asker_leaves_the_next_one_asks(world: World) -> None:
    session = await world.cache.resolve(world.cookie(world.record()), HOST)
    assert session is not None
    world.records.gate = asyncio.Event()
    first = asyncio.create_task(world.claims.claim(session))
    await asyncio.sleep(0)
    second = asyncio.create_task(world.claims.claim(session))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    world.records.gate.set()
    assert (await second).state == "seated"
    assert world.records.admitted == 2


async def test_a_ledger_that_is_away_is_told_to_all_who_wait(world: World) -> None:
    session = await world.cache.resolve(world.cookie(world.record()), HOST)
    assert session is not None
    world.records.gate = asyncio.Event()
    asked = [asyncio.create_task(world.claims.claim(session)) for _ in range(3)]
    await asyncio.sleep(0)
    world.records.away = True
    world.records.gate.set()
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, LedgerAway) for result in results)


def test_no_directory_entry_can_break_a_header() -> None:
    block = identity_headers("józef\r\nX-Evil: 1", ("cn=a;cn=b", 'cn="c"%'), "sales")
    assert block.count(b"\r\n") == 3
    assert b"X-Remote-User: j%C3%B3zef%0D%0AX-Evil: 1\r\n" in block
    assert b"X-Remote-Groups: cn=a%3Bcn=b;cn=%22c%22%25\r\n" in block


async def test_a_seat_keeps_the_population_it_was_taken_under(world: World) -> None:
    session = await world.cache.resolve(world.cookie(world.record()), HOST)
    assert session is not None
    world.records.answer = SeatAnswer("seated", "managers")
    await world.claims.claim(session)
    assert session.person.population == "managers"
    assert b"X-Remote-Population: managers\r\n" in session.headers


async def test_a_token_that_states_no_seat_is_reissued_as_soon_as_the_seat_is_known(
    world: World,
) -> None:
    cookie = world.cookie(world.record())
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert world.cache.renewal(session, cookie, 1000.0) is None
    await world.claims.claim(session)
    renewed = world.cache.renewal(session, cookie, 1000.0)
    assert renewed is not None
    token = renewed.decode().removeprefix("__Host-broker=").partition(";")[0]
    claims = world.tokens.read_session(token, HOST.decode())
    assert claims is not None
    assert (claims.seat_epoch, claims.seat_until_ms) == ("epoch-1", 5_885_000)
    await world.cache.resolve(token.encode(), HOST)
    assert world.cache.renewal(session, token.encode(), 1000.0) is None


async def test_in_a_new_epoch_the_seat_is_stated_anew(world: World) -> None:
    cookie = world.cookie(world.record(), SeatClaim("epoch-1", 5_600_000))
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert world.cache.renewal(session, cookie, 1000.0) is None
    world.time.heard("epoch-2", 5_000_000, 1000.0)
    assert world.cache.renewal(session, cookie, 1000.0) is not None


async def test_a_ledger_that_is_learning_logs_nobody_out(world: World) -> None:
    record = world.record()
    world.records.known.clear()
    world.records.learning = True
    session = await world.cache.resolve(world.cookie(record), HOST)
    assert session is not None
    assert world.cache.records() == []  # a guess is not written back
    old = world.cookie(SessionRecord("s2", "bert", "Bert", "sales", (), 1, HOURS_12))
    world.wall.now += 901
    with pytest.raises(LedgerLearning):
        await world.cache.resolve(old, HOST)


async def test_what_the_signature_could_not_say_is_read_when_redis_answers_again(
    world: World,
) -> None:
    cookie = world.cookie(world.record())
    world.records.away = True
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    assert session.display_name == "anna"
    world.records.away = False
    world.boot.now += 16
    assert world.cache.peek(cookie, HOST, world.boot.now) is None
    assert await world.cache.resolve(cookie, HOST) is session
    assert session.display_name == "Anna"
    assert [record.id for record in world.cache.records()] == ["s1"]


async def test_a_session_known_by_signature_ends_when_the_record_says_so(world: World) -> None:
    cookie = world.cookie(world.record())
    world.records.away = True
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    world.records.away = False
    world.records.known.clear()
    world.boot.now += 16
    assert await world.cache.resolve(cookie, HOST) is None
    assert not session.valid


async def test_a_shorter_idle_time_shortens_the_trust_in_seats(world: World) -> None:
    session = await world.cache.resolve(world.cookie(world.record()), HOST)
    assert session is not None
    await world.claims.claim(session)
    session.person.last_active = 1000.0
    world.cache.shorten_seats(trusted_for(30.0))
    assert session.person.seat_until == 1022.5


# --- what the directory says anew


CHANGED = Revocation(1, "changed", "anna", 5_000_000)


async def test_changed_records_are_read_again_and_nobody_is_logged_out(world: World) -> None:
    record = world.record()
    cookie = world.cookie(record)
    session = await world.cache.resolve(cookie, HOST)
    assert session is not None
    world.cache.assertion(session, "feed", 1000.0)
    fresh = replace(record, groups=("cn=new",), display_name="Anna N.")
    world.records.known["s1"] = fresh
    world.cache.revoke(CHANGED)
    assert world.cache.peek(cookie, HOST, 1001.0) is session
    await world.cache.reread()
    assert session.groups == ("cn=new",)
    assert session.display_name == "Anna N."
    assert session.headers == identity_headers("anna", ("cn=new",), "sales")
    assert session.assertions == {}
    assert world.cache.records() == [fresh]
    assert world.cache.revocations() == [], "nothing to write back"
    asked = world.records.asked
    await world.cache.reread()
    assert world.records.asked == asked, "once"


async def test_another_population_is_asked_for_with_the_next_claim(world: World) -> None:
    record = world.record()
    session = await world.cache.resolve(world.cookie(record), HOST)
    assert session is not None
    await world.claims.claim(session)
    assert session.person.seat_until > 1000.0
    world.records.known["s1"] = replace(record, population="managers")
    world.cache.revoke(CHANGED)
    await world.cache.reread()
    assert session.person.population == "managers"
    world.records.answer = SeatAnswer("seated", "sales")
    await world.claims.claim(session)
    assert world.records.admitted == 2
    assert session.person.population == "sales", "the seat held keeps its own"


async def test_while_the_ledger_is_away_they_stay_as_they_are_and_are_read_later(
    world: World,
) -> None:
    record = world.record()
    session = await world.cache.resolve(world.cookie(record), HOST)
    assert session is not None
    world.records.known["s1"] = replace(record, groups=("cn=new",))
    world.cache.revoke(CHANGED)
    world.records.away = True
    await world.cache.reread()
    assert session.groups == record.groups
    world.records.away = False
    await world.cache.reread()
    assert session.groups == ("cn=new",)


async def test_of_strangers_nothing_is_read_and_only_so_many_at_once(world: World) -> None:
    world.cache.revoke(CHANGED)
    await world.cache.reread()
    assert world.records.asked == 0
    for number in range(60):
        record = world.record(f"e{number}", f"s{number}")
        await world.cache.resolve(world.cookie(record), HOST)
        world.cache.revoke(Revocation(number + 2, "changed", f"e{number}", 5_000_000))
    asked = world.records.asked
    await world.cache.reread()
    assert world.records.asked == asked + 50
    await world.cache.reread()
    assert world.records.asked == asked + 60


@pytest.mark.parametrize("away", [False, True])
async def test_a_session_that_was_excepted_from_a_second_factor_is_tied(
    world: World, away: bool
) -> None:
    """By its record, and by its signature while Redis is away."""
    tied = replace(world.record(), factor="excepted")
    world.records.known["s1"] = tied
    cookie, other = world.cookie(tied), world.cookie(world.record("bea", "s2"))
    world.records.away = away
    for each, expected in ((cookie, True), (other, False)):
        session = await world.cache.resolve(each, HOST)
        assert session is not None
        assert session.tied is expected
    world.records.away = False
    world.records.known["s1"] = replace(tied, factor="")
    world.cache.revoke(CHANGED)
    await world.cache.reread()
    found = await world.cache.resolve(cookie, HOST)
    assert found is not None
    assert not found.tied
