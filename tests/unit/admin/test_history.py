"""Rates and rows of the console's charts."""

from __future__ import annotations

from broker.admin.history import KEPT_EVERY, ROWS, History, Rates, row
from broker.policy.guard import BOUNDS, Figures
from tests.unit.admin.fakes import USAGE


def figures(fast: int, slow: int = 0, failed: int = 0) -> Figures:
    """``fast`` responses within 1 ms, ``slow`` ones between 5 and 10 s."""
    buckets = [0] * (len(BOUNDS) + 1)
    buckets[0], buckets[BOUNDS.index(10.0)] = fast, slow
    return Figures(tuple(buckets), failed)


def test_rates_are_differences_over_the_last_seconds() -> None:
    rates = Rates()
    assert rates.hear(0.0, {"a": {"feed": figures(100)}}, {"ok": 5.0}) == ({}, {})
    pulses, logins = rates.hear(
        2.0, {"a": {"feed": figures(120, slow=20, failed=4)}}, {"ok": 9.0, "busy": 2.0}
    )
    assert (pulses["feed"].responses, pulses["feed"].failed) == (20.0, 2.0)
    assert 5.0 < (pulses["feed"].p95 or 0) <= 10.0
    assert pulses[""] == pulses["feed"]
    assert logins == {"ok": 2.0, "busy": 1.0}


def test_what_was_before_the_window_does_not_count() -> None:
    rates = Rates()
    for second in range(30):
        busy = 100 * min(second, 10)
        pulses, _ = rates.hear(float(second), {"a": {"feed": figures(busy)}}, {})
    assert pulses["feed"].responses == 0.0
    assert pulses["feed"].p95 is None


def test_workers_and_pools_add_up_and_a_new_worker_counts_from_nothing() -> None:
    rates = Rates()
    rates.hear(0.0, {"a": {"feed": figures(50)}}, {"ok": 90.0})
    readings = {"a": {"feed": figures(60)}, "b": {"feed": figures(5), "wiki": figures(7)}}
    pulses, logins = rates.hear(1.0, readings, {"ok": 3.0})
    assert (pulses["feed"].responses, pulses["wiki"].responses) == (15.0, 7.0)
    assert pulses[""].responses == 22.0
    assert logins["ok"] == 0.0  # a portal that started again, not a negative rate


def test_without_anybody_nothing_is_invented() -> None:
    rates = Rates()
    rates.hear(0.0, {}, {})
    pulses, _ = rates.hear(1.0, {}, {})
    assert pulses[""].p95 is None
    told = row(5.0, None, {}, {})
    assert {value for key, value in told.items() if key != "t"} == {None}


def test_a_row_tells_seats_taken_by_population() -> None:
    told = row(5.0, USAGE, {}, {"ok": 0.5, "busy": 0.25})
    assert told["seats"] == {"sales": 13, "everyone": 0}
    assert (told["seats_limit"], told["waiting"], told["connections"]) == (100, 3, 9)
    assert (told["logins"], told["logins_refused"]) == (0.5, 0.25)


def test_an_hour_is_kept_and_no_more() -> None:
    history = History()
    for second in range(2 * ROWS * int(KEPT_EVERY)):
        kept = history.add(float(second), {"t": second})
        assert kept == (second % KEPT_EVERY == 0)
    rows = history.rows()
    assert len(rows) == ROWS
    assert rows[-1]["t"] - rows[0]["t"] == (ROWS - 1) * KEPT_EVERY
