"""The lag of a loop, with a clock and a sleep of our own."""

from __future__ import annotations

import asyncio

import pytest

from broker.telemetry.exposition import Exposition
from broker.telemetry.loop_lag import LoopLag


async def test_it_measures_how_late_each_timer_was() -> None:
    now = 100.0
    late = iter([0.0, 0.03, 2.0])

    async def sleep(seconds: float) -> None:
        nonlocal now
        try:
            now += seconds + next(late)
        except StopIteration:
            raise asyncio.CancelledError from None

    lag = LoopLag(lambda: now, sleep, every=0.1)
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    exposition = Exposition()
    lag.export(exposition)
    text = exposition.render().decode()
    assert 'broker_event_loop_lag_seconds_bucket{le="0.001"} 1.0' in text
    assert 'broker_event_loop_lag_seconds_bucket{le="0.05"} 2.0' in text
    assert 'broker_event_loop_lag_seconds_bucket{le="2.5"} 3.0' in text
    assert "broker_event_loop_lag_seconds_count 3.0" in text
    assert lag.seconds == pytest.approx(2.03)
