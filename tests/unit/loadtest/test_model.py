"""The load model gives the figures that the case was sized with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.model import LoadModel

BASE = LoadModel()
BUSIER = replace(BASE, activity=1.25)
SIXFOLD = replace(BASE, activity=1.25 * 6)


@pytest.mark.parametrize(
    ("model", "day", "hour", "minute", "burst"),
    [
        (BASE, 209e3, 10, 21, 31),
        (BUSIER, 261e3, 13, 26, 39),
        (SIXFOLD, 1.57e6, 78, 157, 235),
    ],
)
def test_page_views(model: LoadModel, day: float, hour: float, minute: float, burst: float) -> None:
    assert model.views_a_day() == pytest.approx(day, rel=0.005)
    assert round(model.views_peak_hour()) == hour
    assert round(model.views_peak_minute()) == minute
    assert round(model.views_burst()) == burst


@pytest.mark.parametrize(
    ("model", "cold", "warm"), [(BASE, 836, 314), (BUSIER, 1045, 392), (SIXFOLD, 6270, 2351)]
)
def test_requests_in_the_peak_minute(model: LoadModel, cold: int, warm: int) -> None:
    assert round(model.requests(model.views_peak_minute())) == cold
    assert model.requests(model.views_peak_minute(), warm=True) == pytest.approx(warm, abs=1)


@pytest.mark.parametrize(("model", "seats"), [(BASE, 5.5e3), (BUSIER, 6.8e3), (SIXFOLD, 41e3)])
def test_seats(model: LoadModel, seats: float) -> None:
    assert model.seats() == pytest.approx(seats, rel=0.01)


def test_the_idle_time_is_the_strongest_lever() -> None:
    assert BASE.seats(9240) == pytest.approx(42e3, rel=0.01)
    assert BASE.think_seconds(900) == pytest.approx(231, rel=0.01)
    assert BASE.think_seconds(5000) == pytest.approx(92, rel=0.01)


def test_storms() -> None:
    assert round(BASE.logins_storm()) == 36
    assert round(BASE.reconnects(41_000)) == 683
