"""Workers and the rest of a host's processes do not share a processor where that can be."""

from __future__ import annotations

import errno
import os

import pytest

from broker.wiring.processors import core, keep_to_share, share


@pytest.mark.parametrize(
    ("workers", "available", "of_workers", "of_others"),
    [
        (1, {0, 1}, {0}, {1}),
        (2, {0, 1, 2, 3, 4}, {0, 1}, {2, 3, 4}),
        (2, {9, 4, 6}, {4, 6}, {9}),  # a part of a machine
        (3, {0, 1, 2, 3}, {0, 1, 2}, {3}),
        (2, {0, 1}, {0, 1}, {0, 1}),
        (8, {0, 1}, {0, 1}, {0, 1}),
        (1, {3}, {3}, {3}),
        # room for the workers of other brokers, who count from the same end
        (2, set(range(8)), {0, 1, 2, 3}, {4, 5, 6, 7}),
        (1, set(range(9)), {0, 1, 2}, {3, 4, 5, 6, 7, 8}),
    ],
)
def test_shares(
    workers: int, available: set[int], of_workers: set[int], of_others: set[int]
) -> None:
    assert share("worker", workers, available, str) == of_workers
    assert share("portal", workers, available, str) == of_others
    assert share("admin", workers, available, str) == of_others


@pytest.mark.parametrize("cores", [["0,1", "0,1", "2,3", "2,3"], ["0,2", "1,3", "0,2", "1,3"]])
def test_workers_are_on_different_cores_before_they_share_one(cores: list[str]) -> None:
    mine = share("worker", 2, {0, 1, 2, 3}, cores.__getitem__)
    assert len({cores[each] for each in mine}) == 2


def test_a_processor_that_says_nothing_is_a_core() -> None:
    assert len({core(number) for number in (100_001, 100_002)}) == 2


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL])
def test_it_runs_all_the_same_where_it_may_not_choose(
    number: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """System call filters refuse it; EINVAL: what there was has been taken away meanwhile."""

    def refused(_: int, __: set[int]) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(os, "sched_setaffinity", refused)
    keep_to_share("worker", 1)
    assert os.strerror(number) in caplog.text
