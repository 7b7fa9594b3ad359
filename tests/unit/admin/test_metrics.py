"""What the ledger's snapshot becomes on the page of metrics, where it is not a plain number."""

from __future__ import annotations

from dataclasses import replace

from broker.admin.metrics import ends, ledger_page
from broker.policy.capacity import Capacity, Raise, Ramp
from tests.support.capacities import BASE
from tests.unit.admin.fakes import LIMITS, USAGE

RAMP = Ramp(start=1, target=6, factor=1.25, every_ms=60_000, step=1, stepped_ms=0, state="climbing")
RAISE = Raise(name=8, ramp=RAMP, author="anna", reason="lockdown", began_ms=0)


def test_a_raise_with_an_end_tells_it_and_one_without_does_not() -> None:
    site = replace(RAISE, ends_ms=1_600_000_500_000)
    capacity = Capacity(BASE, site=site, pools={"feed": RAISE})
    assert ends(capacity) == {("site",): 1_600_000_500.0}
    page = ledger_page(replace(USAGE, limits=replace(LIMITS, capacity=capacity)), 2)
    (line,) = [x for x in page.splitlines() if x.startswith("broker_capacity_ends_timestamp")]
    name, value = line.split(" ")
    assert name == 'broker_capacity_ends_timestamp_seconds{scope="site"}'
    assert float(value) == 1_600_000_500.0


def test_without_a_raise_nothing_ends() -> None:
    assert ends(None) == {}
    assert "broker_capacity_ends_timestamp_seconds{" not in ledger_page(USAGE, 2)
