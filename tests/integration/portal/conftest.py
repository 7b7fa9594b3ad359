"""A portal on a ledger in memory, and one browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.ledgers import limits_document, redis_ledger
from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broker.ledger.port import Ledger


@pytest.fixture
def ledger() -> PortalLedger:
    return PortalLedger()


@pytest.fixture(params=["memory", "redis"])
async def portal_ledger(request: pytest.FixtureRequest) -> AsyncIterator[Ledger]:
    """For what must hold on both: the twin, and a real Redis."""
    if request.param == "memory":
        yield PortalLedger()
        return
    real = await redis_ledger(request.getfixturevalue("redis_url"))
    await real.publish(limits_document(seats=100), if_match=0, first_start=True)
    yield real
    await real.close()


@pytest.fixture
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    async with PortalSite(ledger) as running:
        yield running


@pytest.fixture
def browser(site: PortalSite) -> Browser:
    return Browser(site)
