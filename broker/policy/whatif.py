"""What would happen if a capacity were in force: who gets in when, and what runs out first. Pure.

It asks the code that applies (``levels.in_force`` for the limits of each step, ``ramp`` for the
steps, ``queueing.next_calls`` for who is called), so that the same snapshot gives the same answer.
What was not measured is not guessed: it is None, and ``not_known`` says why. Everybody who waits is
taken for present, and the turns of the populations begin anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.policy.levels import in_force, raises, with_raise
from broker.policy.needs import (
    descriptors_needed,
    ledger_need,
    need,
    need_of_site,
    not_known,
    people,
    per_seats,
    saturation,
    shares,
)
from broker.policy.queueing import IdleSeat, Strides, Waiter, next_calls
from broker.policy.ramp import pace_ms, steps
from broker.policy.situation import Forecast, Step

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.policy.capacity import Capacity, Raise
    from broker.policy.limits import LimitsDocument
    from broker.policy.situation import LedgerNeed, Situation


def forecast(document: LimitsDocument, situation: Situation) -> Forecast:
    """What follows if ``document`` (with the capacity it was made from) were in force from now."""
    capacity = document.capacity
    assert capacity is not None
    measured = per_seats(situation)
    known = {pool: each for pool, each in measured.items() if pool in document.pools}
    way = list(_steps(document, capacity, situation, known))
    last = way[-1][1]
    taken = tuple(step for step, _ in way)
    waiting_at_end = taken[-1].waiting
    admitted = {name for name, each in last.populations.items() if each.admitted}
    left = sum(count for name, count in waiting_at_end.items() if name in admitted)
    called = sum(sum(step.called.values()) for step in taken)
    ledger = ledger_need(situation, called)
    return Forecast(
        steps=taken,
        drained_seconds=_drained(taken, admitted, ledger),
        left_waiting=left,
        turned_away=sum(waiting_at_end.values()) - left,
        seats_needed=people(situation) - (sum(waiting_at_end.values()) - left),
        seats=last.seats_limit,
        pools={pool: need(pool, last, situation, known) for pool in last.pools},
        connections=need_of_site(last, known),
        saturation=saturation(document, capacity, situation, known),
        idle=tuple(
            (after / 60_000, sum(counts[at] for counts in situation.idle.values()))
            for at, after in enumerate(situation.idle_after)
        ),
        ledger=ledger,
        descriptors=descriptors_needed(situation, last.seats_limit + left),
        not_known=tuple(not_known(document, situation, left)),
    )


def _steps(
    document: LimitsDocument,
    capacity: Capacity,
    situation: Situation,
    per_seat: Mapping[str, float],
) -> Iterator[tuple[Step, LimitsDocument]]:
    held = {
        name: situation.occupied.get(name, 0) + situation.called.get(name, 0)
        for name in {**document.populations, **situation.occupied, **situation.called}
    }
    waiting = dict(situation.waiting)
    idle = {name: counts[0] if counts else 0 for name, counts in situation.idle.items()}
    strides = Strides()
    for at_ms, then in _ahead(capacity, situation.now_ms):
        limits = in_force(then, document)
        called: dict[str, int] = {}
        calls = next_calls(
            limits,
            situation.now_ms,
            held,
            {name: [Waiter("", situation.now_ms)] * count for name, count in waiting.items()},
            _idle_seats(limits, situation.now_ms, idle),
            strides,
            sum(waiting.values()) + sum(idle.values()) + 1,
        )
        strides = calls.strides
        for name, _ in calls.call:
            called[name] = called.get(name, 0) + 1
            held[name] = held.get(name, 0) + 1
            waiting[name] -= 1
        for name, _ in calls.reclaim:
            held[name] -= 1
            idle[name] -= 1
        fullest = max(
            shares(limits, limits.seats_limit, situation, per_seat),
            key=lambda found: found[1],
            default=None,
        )
        yield (
            Step(
                at_seconds=at_ms / 1000,
                scale=limits.scale,
                seats=limits.seats_limit,
                connections=limits.connections_limit,
                called=called,
                waiting=dict(waiting),
                fullest=None if fullest is None else fullest[0],
                fullest_share=None if fullest is None else fullest[1],
            ),
            limits,
        )


def _ahead(capacity: Capacity, now_ms: int) -> Iterator[tuple[int, Capacity]]:
    """(ms from now, what is in force then): now, and each step of every ramp that climbs."""
    changes: list[tuple[int, str, int]] = []
    for scope, change in raises(capacity):
        ramp = change.ramp
        if ramp.state in ("climbing", "paused"):
            ahead = len(steps(ramp)) - ramp.step
            pace = pace_ms(capacity, scope, change)
            changes += [
                (max(0, ramp.stepped_ms + number * pace - now_ms), scope, number)
                for number in range(1, ahead + 1)
            ]
    yield 0, capacity
    began = dict(raises(capacity))
    for at_ms, scope, number in sorted(changes):
        capacity = with_raise(capacity, scope, _at_step(began[scope], number))
        yield at_ms, capacity


def _at_step(change: Raise, ahead: int) -> Raise:
    return replace(change, ramp=replace(change.ramp, step=change.ramp.step + ahead))


def _idle_seats(
    limits: LimitsDocument, now_ms: int, idle: Mapping[str, int]
) -> Mapping[str, Sequence[IdleSeat]]:
    seat = IdleSeat("", now_ms - limits.idle_ms - 1)
    return {name: [seat] * idle.get(name, 0) for name in {**limits.populations, **idle}}


def _drained(taken: Sequence[Step], admitted: set[str], ledger: LedgerNeed | None) -> float | None:
    called = 0
    for step in taken:
        called += sum(step.called.values())
        if not any(count for name, count in step.waiting.items() if name in admitted):
            calls = called / ledger.admissions_per_second if ledger is not None else 0.0
            return max(step.at_seconds, calls)
    return None
