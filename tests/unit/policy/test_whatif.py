"""What-if: the steps of a raise, who gets in, what runs out first, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy.capacity import Capacity
from broker.policy.guard import Load
from broker.policy.levels import in_force
from broker.policy.needs import peak
from broker.policy.orders import level, raise_to
from broker.policy.ramp import hold
from broker.policy.situation import Descriptors, Forecast, ServerSeen, Situation
from broker.policy.whatif import forecast
from tests.support.capacities import BARE, BASE, CAPACITY, order

NOW = order(factor=None)
EMPTY = Situation(1_000, {}, {}, {})
LOADS = {"feed": Load(300, 10.0, 1.2, 18), "wiki": Load(60, 2.0, 0.75, 0)}
CROWD = Situation(
    now_ms=1_000,
    occupied={"managers": 20, "sales": 40},
    called={},
    waiting={"sales": 140, "everyone": 800},
    idle_after=(900_000, 600_000, 300_000),
    idle={"managers": (2, 5, 9), "sales": (0, 1, 4)},
    used={"feed": 28, "wiki": 1},
    loads=LOADS,
    servers={"feed": (ServerSeen("http://a"), ServerSeen("http://b", weight=3))},
    workers=4,
    script_seconds=0.0001,
    descriptors=Descriptors(2_000, 65_536),
)


def ahead(capacity: Capacity, situation: Situation = CROWD) -> Forecast:
    return forecast(in_force(capacity, BARE), situation)


def raised(scale: float = 6.0, **more: object) -> Capacity:
    return raise_to(CAPACITY, order(), scale, **more)  # type: ignore[arg-type]


def test_who_gets_in_step_by_step() -> None:
    """60 seats x 1.5 are 90: 30 come in, and 2 for the seats idle longest. A minute later there are
    135, but sales may have 113 of them and hold 72."""
    told = ahead(raised())
    assert [(step.at_seconds, step.seats) for step in told.steps] == [
        (0.0, 90), (60.0, 135), (120.0, 203), (180.0, 304), (240.0, 360),
    ]  # fmt: skip
    assert [step.called for step in told.steps] == [
        {"sales": 32}, {"sales": 41}, {"sales": 56}, {"sales": 11}, {},
    ]  # fmt: skip
    assert [step.waiting["sales"] for step in told.steps] == [108, 67, 11, 0, 0]
    assert told.drained_seconds == 180.0
    assert (told.left_waiting, told.turned_away) == (0, 800)
    assert told.seats_needed == 200


def test_opened_to_all_the_rest_waits_for_who_leaves() -> None:
    told = ahead(raised(open_to=["everyone"]))
    assert told.drained_seconds is None
    assert (told.turned_away, told.seats, told.seats_needed) == (0, 360, 1000)
    assert told.left_waiting == 1000 - 360 - 2
    assert f"when the last {told.left_waiting} get in: that depends on who leaves" in told.not_known


def test_called_tickets_hold_seats_and_nobody_is_called_above_the_limit() -> None:
    told = ahead(CAPACITY, replace(CROWD, called={"sales": 9}, idle={}))
    assert told.steps[0].called == {}
    assert told.left_waiting == 140
    assert told.seats_needed == 209


def test_the_turns_of_the_populations_go_on_from_step_to_step() -> None:
    """One seat, two, one: managers, then sales and managers, then it is the turn of sales."""
    populations = {
        name: replace(each, seats_guaranteed=0, seats_maximum=10)
        for name, each in BASE.populations.items()
    }
    base = replace(BASE, seats_limit=10, populations=populations)
    raised = raise_to(Capacity(base), order(factor=1.1), 1.331)
    people = {"managers": 5, "sales": 5}
    told = ahead(raised, replace(EMPTY, occupied=people, waiting=people))
    assert [step.called for step in told.steps] == [
        {"managers": 1}, {"sales": 1, "managers": 1}, {"sales": 1},
    ]  # fmt: skip


def test_a_held_ramp_goes_nowhere_and_a_paused_one_is_taken_to_go_on() -> None:
    move = hold(raised(), "site", "lunch")
    assert move is not None
    assert [step.scale for step in ahead(move.capacity).steps] == [1.5]
    assert len(ahead(raised()).steps) == 5
    later = ahead(raised(), replace(CROWD, now_ms=31_000))
    assert [step.at_seconds for step in later.steps][:2] == [0.0, 30.0]
    overdue = ahead(raised(), replace(CROWD, now_ms=100_000))
    assert [step.at_seconds for step in overdue.steps][:3] == [0.0, 0.0, 21.0]


def test_two_ramps_at_once() -> None:
    both = raise_to(raised(4.0), order(factor=2.0, every=30_000), 4.0, pool="wiki")
    told = ahead(both)
    assert [(step.at_seconds, step.scale) for step in told.steps] == [
        (0.0, 1.5), (30.0, 1.5), (60.0, 2.25), (120.0, 3.375), (180.0, 4.0),
    ]  # fmt: skip


def test_no_step_comes_before_the_guard_can_have_seen_a_window() -> None:
    """Steps of 10 s were ordered; the windows last 30 s."""
    hurried = raise_to(CAPACITY, order(every=10_000), 2.0)
    assert [step.at_seconds for step in ahead(hurried).steps] == [0.0, 30.0]
    unguarded = replace(hurried, base=replace(BASE, guards={}))
    assert [step.at_seconds for step in ahead(unguarded).steps] == [0.0, 10.0]


def test_connections_by_little_or_by_what_is_in_use_whichever_is_more() -> None:
    """feed: 10/s x 1.2 s + 18 WebSockets = 30 on 60 seats; wiki 1.5. At 6x: 180 and 9."""
    told = ahead(raise_to(CAPACITY, NOW, 6.0))
    feed, wiki = told.pools["feed"], told.pools["wiki"]
    assert (feed.per_seat, feed.mean, feed.peak, feed.limit) == (0.5, 180.0, peak(180.0), 1800)
    assert wiki.mean == pytest.approx(9.0)
    assert wiki.limit == 480
    assert (feed.exchanges, feed.per_second, feed.seconds, feed.websockets) == (300, 10.0, 1.2, 18)
    assert told.connections.mean == pytest.approx(189.0)
    busy = ahead(raise_to(CAPACITY, NOW, 6.0), replace(CROWD, used={"feed": 60}))
    assert busy.pools["feed"].mean == 360.0, "long streams end in no window"


def test_the_peak_is_the_99th_percentile_of_a_poisson_variable() -> None:
    import math

    for mean in (0.0, 9.0, 180.0, 600.0):
        below, term, found = 0.0, math.exp(-mean), 0
        while below + term < 0.99:
            below += term
            found += 1
            term *= mean / found
        assert abs(peak(mean) - found) <= 2


def test_a_low_ceiling_of_a_pool_runs_out_first() -> None:
    """wiki stops at 4 x 120 = 480; 60 seats use 90 of it, so 480 are used at 5.33x."""
    told = ahead(raised(), replace(CROWD, loads={**LOADS, "wiki": Load(60, 60.0, 1.5, 0)}))
    assert told.saturation is not None
    assert (told.saturation.what, told.saturation.upto) == ("pool wiki", 10.0)
    assert told.saturation.scale == pytest.approx(5.36, abs=0.05)
    assert told.steps[-1].fullest == "pool wiki"
    assert told.steps[-1].fullest_share == pytest.approx(540 / 480)


def test_a_server_runs_out_before_its_pool_by_its_weight() -> None:
    """b takes three quarters of 30 connections on 60 seats: 22.5; 90 at 4x."""
    servers = {
        "feed": (
            ServerSeen("http://a", most=90),
            ServerSeen("http://b", weight=3, most=90),
            ServerSeen("http://c", weight=9, most=1, usable=False),
        )
    }
    told = ahead(raise_to(CAPACITY, NOW, 2.0), replace(CROWD, servers=servers))
    assert told.saturation is not None
    assert told.saturation.what == "server http://b of pool feed"
    assert told.saturation.scale == pytest.approx(4.04, abs=0.05)
    assert not any("max_connections" in each for each in told.not_known)


def test_the_site_s_connections_run_out() -> None:
    low = Capacity(replace(BASE, connections_limit=20, connections_ceiling=8.0))
    told = ahead(low)
    assert told.saturation is not None
    assert (told.saturation.what, told.saturation.scale) == ("the site's connections", 1.0)
    assert told.saturation.upto == 8.0


def test_nothing_runs_out_up_to_the_ceiling() -> None:
    told = ahead(level(CAPACITY, NOW, "crisis"))
    assert told.saturation is not None
    assert (told.saturation.what, told.saturation.scale) == (None, None)
    covered = ahead(raise_to(level(CAPACITY, NOW, "crisis"), NOW, 2.0))
    assert covered.saturation is not None
    assert covered.saturation.what is None


def test_a_pool_with_nothing_to_give_is_full() -> None:
    pools = {name: replace(each, connections=replace(each.connections, limit=0, guaranteed=0))
             for name, each in BASE.pools.items()}  # fmt: skip
    loads = {"feed": Load(300, 10.0, 1.2, 18), "wiki": Load(0, 0.0, 0.0, 0)}
    told = ahead(Capacity(replace(BASE, pools=pools)), replace(CROWD, used={}, loads=loads))
    assert told.saturation is not None
    assert (told.saturation.what, told.saturation.scale) == ("pool feed", 1.0)
    assert "what a seat uses of pool wiki: nothing was asked of it in the last window" in (
        told.not_known
    )


def test_what_the_ledger_can_admit_and_file_descriptors() -> None:
    """A call takes 100 us: 10,000 a second, 20 of them for 4 workers."""
    told = ahead(raise_to(CAPACITY, NOW, 6.0))
    assert told.ledger is not None
    assert told.ledger.admissions_per_second == pytest.approx(9980)
    assert told.ledger.seconds == pytest.approx(140 / 9980)
    assert told.drained_seconds == pytest.approx(140 / 9980)
    assert told.descriptors is not None
    assert (told.descriptors.open, told.descriptors.limit) == (2_000, 65_536)
    assert told.descriptors.needed == 720  # 1,000 people have 2,000 open; 360 seats, nobody waits
    assert ahead(CAPACITY, replace(CROWD, script_seconds=1.0)).ledger is None


def test_shorter_idle_times_would_give_so_many_seats() -> None:
    assert ahead(CAPACITY).idle == ((15.0, 2), (10.0, 6), (5.0, 13))


def test_nothing_is_guessed() -> None:
    told = ahead(raised(), EMPTY)
    assert told.saturation is None
    assert told.ledger is None
    assert told.descriptors is None
    assert told.pools["feed"].mean is None
    assert told.connections.mean is None
    assert told.steps[0].fullest is None
    assert told.drained_seconds == 0.0
    assert told.not_known == (
        "how many of managers will come: none of them has a seat or waits at present",
        "how many of sales will come: none of them has a seat or waits at present",
        "what a seat uses of each pool: no seat is taken at present",
        "how many the ledger can admit a second: Redis does not tell what a call takes",
        "the file descriptors needed: no browser is connected to a worker of this host",
    )
    half = ahead(raised(), replace(CROWD, loads={"feed": LOADS["feed"], "gone": LOADS["wiki"]}))
    assert half.connections.mean is None
    assert half.pools["wiki"].mean is None
    assert "what a seat uses of pool wiki: the guard has not seen a whole window yet" in (
        half.not_known
    )
    many = tuple(ServerSeen(f"http://{name}") for name in "abcde")
    text = next(t for t in ahead(CAPACITY, replace(CROWD, servers={"feed": many})).not_known
                if "max_connections" in t)  # fmt: skip
    assert text.endswith("for http://a, http://b, http://c and 2 more")
    idle = Load(0, 0.0, 0.0, 0)
    unused = ahead(CAPACITY, replace(CROWD, used={}, loads={"feed": idle, "wiki": idle}))
    assert unused.saturation is None


counts = st.fixed_dictionaries(
    {name: st.integers(0, 35) for name in ("managers", "sales", "everyone")}
)


@settings(deadline=None, max_examples=50)
@given(counts, counts, counts, st.sampled_from([0.5, 1.0, 2.0, 6.0]), st.booleans())
def test_invariant_11_what_if_is_what_apply_does(
    occupied: dict[str, int],
    called: dict[str, int],
    waiting: dict[str, int],
    scale: float,
    opened: bool,  # hypothesis gives it
) -> None:
    """The twin of the ledger, given the same seats and tickets and the limits of each step, calls
    exactly as many of each population as was foreseen; and the same snapshot, the same answer."""
    import asyncio

    from broker.ledger.memory import MemoryLedger

    capacity = CAPACITY if scale < 1 else raised(scale, open_to=["everyone"] if opened else [])
    seen = replace(EMPTY, occupied=occupied, called=called, waiting=waiting)
    told = ahead(capacity, seen)
    assert told == ahead(capacity, seen)

    async def apply() -> None:
        ledger = MemoryLedger(lambda: 1_000)
        document = in_force(capacity, BARE)
        closed = replace(document, seats_limit=0)
        wide = {name: replace(each, admitted=True) for name, each in document.populations.items()}
        await ledger.publish(replace(closed, populations=wide), if_match=0, first_start=True)
        book = ledger.seats
        for name, count in occupied.items():
            for number in range(count + called[name]):
                book.occupy(f"{name}-{number}", name, 1_000)
        for name, count in waiting.items():
            for number in range(count):
                await ledger.admit(f"{name} waits {number}", name)
        present = await ledger.usage()
        assert dict(present.waiting) == waiting
        await ledger.publish(document, if_match=present.limits.number)
        for _ in range(3):  # a call script has a bound
            await ledger.look("nobody", present=True)
            await ledger.release("nobody")
            ledger.seats.run_calls()
        after = await ledger.usage()
        first = told.steps[0]
        assert {name: count for name, count in after.called.items() if count} == first.called

    asyncio.run(apply())
