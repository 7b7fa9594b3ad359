"""A portal on a ledger in memory, and one browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.portal_ledger import PortalLedger
from tests.support.portal_site import Browser, PortalSite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def ledger() -> PortalLedger:
    return PortalLedger()


@pytest.fixture
async def site(ledger: PortalLedger) -> AsyncIterator[PortalSite]:
    async with PortalSite(ledger) as running:
        yield running


@pytest.fixture
def browser(site: PortalSite) -> Browser:
    return Browser(site)
