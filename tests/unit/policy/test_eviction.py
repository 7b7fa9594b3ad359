"""Idle seats that end on request: the decision, and the count of it that is told first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.policy.eviction import how_many, seats_to_end
from broker.policy.queueing import IdleSeat
from broker.policy.shares import PopulationLimits
from tests.support.ledgers import limits_document

NOW = 10_000_000
IDLE = 900_000


def seats(*idle_ms: int) -> list[IdleSeat]:
    return [IdleSeat(f"e{ms}", NOW - ms) for ms in sorted(idle_ms, reverse=True)]


def test_the_longest_idle_of_all_populations_first() -> None:
    limits = limits_document(seats=2)
    held = {"managers": 2, "sales": 2, "everyone": 0}
    idle = {"managers": seats(IDLE + 5, 10), "sales": seats(IDLE + 9, IDLE + 7), "everyone": []}
    ended = seats_to_end(limits, NOW, held, idle, 10)
    assert ended == (("sales", f"e{IDLE + 9}"), ("sales", f"e{IDLE + 7}"))
    assert seats_to_end(limits, NOW, held, idle, 1) == ended[:1]


def test_exactly_15_minutes_is_not_idle_yet() -> None:
    limits = limits_document(seats=0)
    assert not seats_to_end(limits, NOW, {"sales": 1}, {"sales": seats(IDLE)}, 10)
    assert seats_to_end(limits, NOW, {"sales": 1}, {"sales": seats(IDLE + 1)}, 10)


people = st.dictionaries(
    st.sampled_from(["managers", "sales", "gone"]),
    st.lists(st.integers(0, 2 * IDLE), max_size=8),
    min_size=1,
)


@given(people, st.integers(0, 12), st.integers(0, 6), st.integers(0, 3))
def test_never_an_active_seat_never_below_a_limit_and_as_many_as_told(
    idle_for: dict[str, list[int]], limit: int, maximum: int, called: int
) -> None:
    populations = {
        name: PopulationLimits(admitted=True, seats_maximum=maximum)
        for name in ("managers", "sales")
    }
    limits = limits_document(seats=limit, populations=populations)
    occupied = {name: seats(*idle) for name, idle in idle_for.items()}
    held = {name: len(each) + called for name, each in occupied.items()}
    ended = seats_to_end(limits, NOW, held, occupied, 100)
    reclaimable = {name: sum(ms > IDLE for ms in idle_for[name]) for name in occupied}
    assert len(ended) == how_many(limits, held, reclaimable)
    for name, each in occupied.items():
        gone = sum(population == name for population, _ in ended)
        assert gone <= reclaimable[name]
        longest = [seat.employee for seat in each[:gone]]
        assert [employee for population, employee in ended if population == name] == longest
    if ended:
        left = sum(held.values()) - len(ended)
        above_own = any(held[name] > maximum for name in held if name in populations)
        assert left >= limit or above_own
