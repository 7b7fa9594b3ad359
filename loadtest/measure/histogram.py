"""Latencies in buckets that grow by 4 %: small, addable, and exact to 2 % anywhere."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SMALLEST = 1e-4  # seconds
_GROWTH = math.log(1.04)


def bucket(seconds: float) -> int:
    return 0 if seconds <= _SMALLEST else 1 + int(math.log(seconds / _SMALLEST) / _GROWTH)


def middle(index: int) -> float:
    """The seconds a bucket stands for."""
    return _SMALLEST * math.exp(_GROWTH * (index - 0.5)) if index else _SMALLEST


def add(into: dict[int, int], other: Mapping[int, int]) -> None:
    for index, count in other.items():
        into[index] = into.get(index, 0) + count


def total(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    whole: dict[int, int] = {}
    for each in histograms:
        add(whole, each)
    return whole


def quantile(histogram: Mapping[int, int], q: float) -> float | None:
    """Nearest rank (Hyndman and Fan 1996, definition 1), None when nothing was measured."""
    count = sum(histogram.values())
    if not count:
        return None
    rank = max(1, math.ceil(q * count))
    for index in sorted(histogram):
        rank -= histogram[index]
        if rank <= 0:
            return middle(index)
    raise AssertionError("a histogram's counts do not add up")
