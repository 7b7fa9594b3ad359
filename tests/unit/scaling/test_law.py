"""The law as a formula: what it says about a load is what its literature says."""

from __future__ import annotations

import math

import pytest

from broker.scaling.law import Law

LAWS = [
    Law(20.0, 0.03, 0.0004),
    Law(1.0, 0.2, 0.0),
    Law(7.0, 0.0, 0.001),
    Law(3.0, 0.5, 1e-12),
    Law(3.0, 0.001, 0.2),
]


@pytest.mark.parametrize("law", LAWS)
def test_the_knee_has_the_most_power(law: Law) -> None:
    """Throughput over time, looked for by trying."""
    loads = [10 ** (step / 2000) for step in range(12_000)]
    best = max(loads, key=lambda n: law.throughput(n) / law.seconds(n))
    assert max(1.0, law.knee()) == pytest.approx(best, rel=0.002)


@pytest.mark.parametrize("law", [law for law in LAWS if law.coherency > 1e-6])
def test_nothing_exceeds_the_peak(law: Law) -> None:
    peak = max(1.0, law.peak())
    assert law.throughput(peak) == pytest.approx(law.ceiling())
    assert law.throughput(peak) >= max(
        law.throughput(peak * 1.01), law.throughput(peak * 0.99 + 0.01)
    )


def test_without_coherency_it_is_amdahls_law() -> None:
    law = Law(10.0, 0.1, 0.0)
    assert law.throughput(1e9) == pytest.approx(law.ceiling())
    assert law.ceiling() == pytest.approx(100.0)
    assert law.knee() == pytest.approx(9.0)
    assert law.peak() == math.inf


def test_without_anything_it_is_a_line() -> None:
    law = Law(10.0, 0.0, 0.0)
    assert (law.throughput(7.0), law.efficiency(7.0)) == (70.0, 1.0)
    assert law.knee() == law.peak() == law.ceiling() == math.inf


def test_one_alone_makes_what_it_makes() -> None:
    for law in LAWS:
        assert law.throughput(1.0) == law.alone
        assert law.throughput(5.0) * law.seconds(5.0) == pytest.approx(5.0)
