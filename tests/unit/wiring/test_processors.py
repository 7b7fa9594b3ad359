"""Workers and the rest of a host's processes do not share a processor where that can be."""

from __future__ import annotations

import pytest

from broker.wiring.processors import share


@pytest.mark.parametrize(
    ("workers", "available", "of_workers", "of_others"),
    [
        (1, {0, 1}, {0}, {1}),
        (2, {0, 1, 2, 3, 4}, {0, 1}, {2, 3, 4}),
        (2, {9, 4, 6}, {4, 6}, {9}),  # a part of a machine
        (2, {0, 1}, {0, 1}, {0, 1}),
        (8, {0, 1}, {0, 1}, {0, 1}),
        (1, {3}, {3}, {3}),
    ],
)
def test_shares(
    workers: int, available: set[int], of_workers: set[int], of_others: set[int]
) -> None:
    assert share("worker", workers, available) == of_workers
    assert share("portal", workers, available) == of_others
    assert share("admin", workers, available) == of_others
